package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"

	"github.com/soulbox/soulbox/sandbox/agent/agentpb"
	"github.com/soulbox/soulbox/sandbox/agent/agentpb/agentpbconnect"
	"github.com/soulbox/soulbox/sandbox/agent/client"
)

// envdClient speaks to a session as E2B's clients do: JSON, over HTTP/1.
func envdClient(t *testing.T) (*client.Client, agentpbconnect.ProcessClient, *http.Client) {
	t.Helper()
	c := openSession(t)
	web := &http.Client{Transport: c.Transport()}
	return c, agentpbconnect.NewProcessClient(web, "http://agent", connect.WithProtoJSON()), web
}

// start is a request for a command line of the shell.
func start(line string) *connect.Request[agentpb.StartRequest] {
	no := false
	return connect.NewRequest(&agentpb.StartRequest{Process: &agentpb.ProcessConfig{Cmd: "/bin/sh", Args: []string{"-c", line}}, Stdin: &no})
}

// told is what the events of a process say.
type told struct {
	PID                 uint32
	Stdout, Stderr, PTY string
	Keepalives          int
	End                 *agentpb.ProcessEvent_EndEvent
}

func (w *told) add(e *agentpb.ProcessEvent) {
	switch {
	case e.GetStart() != nil:
		w.PID = e.GetStart().GetPid()
	case e.GetData() != nil:
		w.Stdout += string(e.GetData().GetStdout())
		w.Stderr += string(e.GetData().GetStderr())
		w.PTY += string(e.GetData().GetPty())
	case e.GetKeepalive() != nil:
		w.Keepalives++
	case e.GetEnd() != nil:
		w.End = e.GetEnd()
	}
}

// toEnd reads a stream of Start to its end.
func toEnd(t *testing.T, s *connect.ServerStreamForClient[agentpb.StartResponse], w *told) {
	t.Helper()
	for s.Receive() {
		w.add(s.Msg().GetEvent())
	}
	if err := s.Err(); err != nil {
		t.Fatalf("%v; so far %+v", err, w)
	}
}

func selector(pid uint32) *agentpb.ProcessSelector {
	return &agentpb.ProcessSelector{Selector: &agentpb.ProcessSelector_Pid{Pid: pid}}
}

func TestEnvdStart(t *testing.T) {
	_, p, _ := envdClient(t)
	for _, tt := range []struct {
		name, line string
		want       told
		exit       int32
		status     string
	}{
		{"fine", "echo out; echo err >&2", told{Stdout: "out\n", Stderr: "err\n"}, 0, "exit status 0"},
		{"fails", "exit 7", told{}, 7, "exit status 7"},
		{"killed", "kill -9 $$", told{}, -1, "signal: killed"},
		{"no input", "cat; echo end", told{Stdout: "end\n"}, 0, "exit status 0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := p.Start(t.Context(), start(tt.line))
			if err != nil {
				t.Fatal(err)
			}
			var got told
			toEnd(t, s, &got)
			end := got.End
			if end.GetExitCode() != tt.exit || end.GetStatus() != tt.status || end.GetExited() != (tt.exit >= 0) || (end.Error != nil) != (tt.exit != 0) {
				t.Errorf("the end is %v, want %d and %q", end, tt.exit, tt.status)
			}
			if got.End, tt.want.PID = nil, got.PID; got.PID == 0 || cmp.Diff(tt.want, got) != "" {
				t.Errorf("told %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestEnvdRefuses(t *testing.T) {
	_, p, _ := envdClient(t)
	for _, tt := range []struct {
		name string
		edit func(*connect.Request[agentpb.StartRequest])
		code connect.Code
		text string
	}{
		{"directory", func(r *connect.Request[agentpb.StartRequest]) { dir := "/nope"; r.Msg.Process.Cwd = &dir }, connect.CodeInvalidArgument, "cwd '/nope' does not exist"},
		{"program", func(r *connect.Request[agentpb.StartRequest]) { r.Msg.Process.Cmd = "nope" }, connect.CodeInvalidArgument, "no such file"},
		{"user", func(r *connect.Request[agentpb.StartRequest]) {
			r.Header().Set("Authorization", "Basic bm9ib2R5MTIzOg==")
		}, connect.CodeUnauthenticated, "invalid username: 'nobody123'"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := start("true")
			tt.edit(r)
			s, err := p.Start(t.Context(), r)
			if err == nil {
				s.Receive()
				err = s.Err()
			}
			if connect.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("Start = %v, want %v with %q", err, tt.code, tt.text)
			}
		})
	}
	missing := selector(4000)
	_, update := p.Update(t.Context(), connect.NewRequest(&agentpb.UpdateRequest{Process: missing}))
	_, input := p.SendInput(t.Context(), connect.NewRequest(&agentpb.SendInputRequest{Process: missing}))
	_, signal := p.SendSignal(t.Context(), connect.NewRequest(&agentpb.SendSignalRequest{Process: missing, Signal: agentpb.Signal_SIGNAL_SIGKILL}))
	_, closed := p.CloseStdin(t.Context(), connect.NewRequest(&agentpb.CloseStdinRequest{Process: missing}))
	s, connected := p.Connect(t.Context(), connect.NewRequest(&agentpb.ConnectRequest{Process: missing}))
	if connected == nil {
		s.Receive()
		connected = s.Err()
	}
	for name, err := range map[string]error{"Update": update, "SendInput": input, "SendSignal": signal, "CloseStdin": closed, "Connect": connected} {
		if connect.CodeOf(err) != connect.CodeNotFound {
			t.Errorf("%s of an absent process = %v, want not_found", name, err)
		}
	}
}

// TestEnvdProcess takes one process with a tag through all that envd can do with it.
func TestEnvdProcess(t *testing.T) {
	_, p, _ := envdClient(t)
	ctx := t.Context()
	r := start("while read x; do echo got $x; done; trap 'echo term; exit 3' TERM; echo waiting; while :; do sleep 0.05; done")
	yes, tag := true, "mine"
	r.Msg.Stdin, r.Msg.Tag = &yes, &tag
	r.Header().Set("Keepalive-Ping-Interval", "1")
	s, err := p.Start(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	var got told
	until := func(text string) {
		t.Helper()
		for !strings.Contains(got.Stdout, text) {
			if !s.Receive() {
				t.Fatalf("%v before %q; so far %+v", s.Err(), text, got)
			}
			got.add(s.Msg().GetEvent())
		}
	}
	for got.PID == 0 && s.Receive() {
		got.add(s.Msg().GetEvent())
	}
	byTag := &agentpb.ProcessSelector{Selector: &agentpb.ProcessSelector_Tag{Tag: tag}}
	if _, err := p.SendInput(ctx, connect.NewRequest(&agentpb.SendInputRequest{Process: byTag, Input: &agentpb.ProcessInput{Input: &agentpb.ProcessInput_Stdin{Stdin: []byte("a\n")}}})); err != nil {
		t.Fatal(err)
	}
	until("got a\n")
	list, err := p.List(ctx, connect.NewRequest(&agentpb.ListRequest{}))
	if err != nil || len(list.Msg.GetProcesses()) != 1 || list.Msg.GetProcesses()[0].GetPid() != got.PID || list.Msg.GetProcesses()[0].GetTag() != tag {
		t.Errorf("List() = %v, %v", list, err)
	}
	in := p.StreamInput(ctx)
	for _, m := range []*agentpb.StreamInputRequest{
		{Event: &agentpb.StreamInputRequest_Start{Start: &agentpb.StreamInputRequest_StartEvent{Process: selector(got.PID)}}},
		{Event: &agentpb.StreamInputRequest_Keepalive{Keepalive: &agentpb.StreamInputRequest_KeepAlive{}}},
		{Event: &agentpb.StreamInputRequest_Data{Data: &agentpb.StreamInputRequest_DataEvent{Input: &agentpb.ProcessInput{Input: &agentpb.ProcessInput_Stdin{Stdin: []byte("b\n")}}}}},
	} {
		if err := in.Send(m); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := in.CloseAndReceive(); err != nil {
		t.Fatal(err)
	}
	until("got b\n")
	if _, err := p.CloseStdin(ctx, connect.NewRequest(&agentpb.CloseStdinRequest{Process: selector(got.PID)})); err != nil {
		t.Fatal(err)
	}
	until("waiting\n")
	for got.Keepalives == 0 { // a second of silence
		if !s.Receive() {
			t.Fatal(s.Err())
		}
		got.add(s.Msg().GetEvent())
	}
	other, err := p.Connect(ctx, connect.NewRequest(&agentpb.ConnectRequest{Process: byTag}))
	if err != nil {
		t.Fatal(err)
	}
	if !other.Receive() || other.Msg().GetEvent().GetStart().GetPid() != got.PID {
		t.Fatalf("Connect begins with %v, %v", other.Msg(), other.Err())
	}
	if _, err := p.SendSignal(ctx, connect.NewRequest(&agentpb.SendSignalRequest{Process: byTag, Signal: agentpb.Signal_SIGNAL_SIGTERM})); err != nil {
		t.Fatal(err)
	}
	toEnd(t, s, &got)
	var late told
	for other.Receive() {
		late.add(other.Msg().GetEvent())
	}
	if got.End.GetExitCode() != 3 || late.End.GetExitCode() != 3 || late.Stdout != "term\n" {
		t.Errorf("the end is told as %v, and to who came later as %+v", got.End, late)
	}
}

// TestEnvdDeadline: the deadline of a caller ends its process; a caller that goes away does not.
func TestEnvdDeadline(t *testing.T) {
	c, p, _ := envdClient(t)
	short, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	s, err := p.Start(short, start("sleep 1000"))
	if err != nil {
		t.Fatal(err)
	}
	for s.Receive() {
	}
	if connect.CodeOf(s.Err()) != connect.CodeDeadlineExceeded {
		t.Errorf("after the deadline: %v", s.Err())
	}
	gone, leave := context.WithCancel(t.Context())
	left, err := p.Start(gone, start("sleep 1000"))
	if err != nil {
		t.Fatal(err)
	}
	left.Receive()
	leave()
	for left.Receive() {
	}
	for ended := 0; ended < 1; { // of the two, only the first
		list, err := c.Processes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ended = 0
		for i, k := range list {
			if k.Exit != nil {
				ended++
			}
			if i == 1 && k.Exit != nil {
				t.Fatal("a caller that went away took its process with it")
			}
		}
	}
}

func TestEnvdTerminal(t *testing.T) {
	_, p, _ := envdClient(t)
	r := start("read x; stty size; echo got $x")
	r.Msg.Pty, r.Msg.Stdin = &agentpb.PTY{Size: &agentpb.PTY_Size{Cols: 100, Rows: 30}}, nil
	s, err := p.Start(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	var got told
	for got.PID == 0 && s.Receive() {
		got.add(s.Msg().GetEvent())
	}
	if _, err := p.Update(t.Context(), connect.NewRequest(&agentpb.UpdateRequest{Process: selector(got.PID), Pty: &agentpb.PTY{Size: &agentpb.PTY_Size{Cols: 90, Rows: 20}}})); err != nil {
		t.Fatal(err)
	}
	if _, err := p.CloseStdin(t.Context(), connect.NewRequest(&agentpb.CloseStdinRequest{Process: selector(got.PID)})); connect.CodeOf(err) != connect.CodeFailedPrecondition {
		t.Errorf("CloseStdin of a terminal = %v, want failed_precondition", err)
	}
	if _, err := p.SendInput(t.Context(), connect.NewRequest(&agentpb.SendInputRequest{Process: selector(got.PID), Input: &agentpb.ProcessInput{Input: &agentpb.ProcessInput_Pty{Pty: []byte("abc\r")}}})); err != nil {
		t.Fatal(err)
	}
	toEnd(t, s, &got)
	if !strings.Contains(got.PTY, "20 90") || !strings.Contains(got.PTY, "got abc") || got.End.GetExitCode() != 0 {
		t.Errorf("told %+v, want the new size and the input", got)
	}
}

// TestEnvdHTTP asks what envd answers without RPCs.
func TestEnvdHTTP(t *testing.T) {
	_, _, web := envdClient(t)
	get := func(path string, status int) []byte {
		t.Helper()
		resp, err := web.Get("http://agent" + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != status {
			t.Fatalf("GET %s: %d, %q, %v, want %d", path, resp.StatusCode, b, err, status)
		}
		return b
	}
	get("/health", http.StatusNoContent)
	var env map[string]string
	if err := json.Unmarshal(get("/envs", http.StatusOK), &env); err != nil || env["SESSION"] != "yes" {
		t.Errorf("/envs: %v, %v", env, err)
	}
	var m struct {
		TS       int64 `json:"ts"`
		CPUs     int   `json:"cpu_count"`
		MemTotal int64 `json:"mem_total"`
		Disk     int64 `json:"disk_total"`
	}
	if err := json.Unmarshal(get("/metrics", http.StatusOK), &m); err != nil || m.TS == 0 || m.CPUs == 0 || m.MemTotal == 0 || m.Disk == 0 {
		t.Errorf("/metrics: %+v, %v", m, err)
	}
	if got := string(get("/files?path=/etc/passwd&username=root", http.StatusOK)); !strings.Contains(got, "user:x:1000") {
		t.Errorf("/files: %q", got)
	}
	get("/files?path=/nope", http.StatusNotFound)
}

// TestEnvdWithoutSession asks an agent that has no session.
func TestEnvdWithoutSession(t *testing.T) {
	c := startBox(t)
	web := &http.Client{Transport: c.Transport()}
	p := agentpbconnect.NewProcessClient(web, "http://agent", connect.WithProtoJSON())
	if _, err := p.List(t.Context(), connect.NewRequest(&agentpb.ListRequest{})); connect.CodeOf(err) != connect.CodeFailedPrecondition {
		t.Errorf("List without a session = %v, want failed_precondition", err)
	}
	for _, path := range []string{"/envs", "/metrics", "/files?path=/", "/wait"} {
		resp, err := web.Get("http://agent" + path)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("%s without a session: %d, %v, want 503", path, resp.StatusCode, err)
		}
	}
	if err := c.Wait(t.Context()); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("Wait without a session = %v", err)
	}
}
