package main_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net"
	"net/http"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
	"github.com/soulbox/soulbox/rpc/soulboxpb/soulboxpbconnect"
)

// open sends a GET whose answer is read as it comes.
func (d *daemon) open(ctx context.Context, t testing.TB, path string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-API-Key", testKey)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// linesOf yields the objects of a body, one a line.
func linesOf(t testing.TB, r io.Reader) iter.Seq[object] {
	return func(yield func(object) bool) {
		in := bufio.NewScanner(r)
		for in.Scan() {
			var line object
			if err := json.Unmarshal(in.Bytes(), &line); err != nil {
				t.Errorf("line %q: %v", in.Bytes(), err)
				return
			}
			if !yield(line) {
				return
			}
		}
		if err := in.Err(); err != nil {
			t.Errorf("read lines: %v", err)
		}
	}
}

// boxes returns a client of the sandboxes as it is generated.
func (d *daemon) sandboxes(over *http.Transport, opts ...connect.ClientOption) soulboxpbconnect.SandboxServiceClient {
	d.t.Cleanup(over.CloseIdleConnections)
	return soulboxpbconnect.NewSandboxServiceClient(&http.Client{Transport: &keyed{over, testKey}}, d.url, opts...)
}

// execution is one StreamExec of a test's.
type execStream = connect.BidiStreamForClientSimple[pb.StreamExecRequest, pb.StreamExecResponse]

// printed is what a stream told.
type printed struct {
	pid      uint32
	text     string // stdout, or the terminal's
	stderr   string
	exit     *pb.ProcessExited
	first    int64 // offset of the first piece
	offset   int64 // after the last piece
	received bool
}

// receive reads events until one makes stop true, or the stream's end, whose error it returns.
func (p *printed) receive(s *execStream, stop func() bool) error {
	for stop == nil || !stop() {
		m, err := s.Receive()
		if err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		data := append(append(m.GetStdout(), m.GetTerminal()...), m.GetStderr()...)
		if len(data) > 0 {
			if !p.received {
				p.received, p.first = true, m.GetOffset()
			}
			p.offset = m.GetOffset() + int64(len(data))
		}
		p.text += string(m.GetStdout()) + string(m.GetTerminal())
		p.stderr += string(m.GetStderr())
		if m.GetStarted() != nil {
			p.pid = m.GetStarted().GetPid()
		}
		if m.GetExited() != nil {
			p.exit = m.GetExited()
		}
	}
	return nil
}

// TestStreamExec does everything that a stream of a program can, over each protocol that has streams both ways.
func TestStreamExec(t *testing.T) {
	t.Parallel()
	d := startDaemon(t)
	unix := func() *http.Transport {
		over := twoOnly()
		over.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", d.socket())
		}
		return over
	}
	for _, p := range []struct {
		name string
		over func() *http.Transport
		opts []connect.ClientOption
	}{
		{"Connect", twoOnly, nil},
		{"gRPC", twoOnly, []connect.ClientOption{connect.WithGRPC()}},
		{"gRPC on the socket", unix, []connect.ClientOption{connect.WithGRPC()}},
	} {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			c := d.sandboxes(p.over(), p.opts...)
			s, err := c.CreateSandbox(t.Context(), &pb.CreateSandboxRequest{})
			if err != nil {
				t.Fatal(err)
			}
			x := &streams{t, d, c, s.GetId()}
			for name, run := range map[string]func(*streams){
				"input": (*streams).input, "terminal": (*streams).terminal, "signal": (*streams).signal, "detach and attach": (*streams).detach,
				"client gone": (*streams).gone, "refused": (*streams).refused, "files": (*streams).files, "watch": (*streams).watch, "stats": (*streams).stats,
			} {
				t.Run(name, func(t *testing.T) { run(&streams{t, d, c, s.GetId()}) })
			}
			if _, err := c.DeleteSandbox(t.Context(), &pb.DeleteSandboxRequest{Id: x.id}); err != nil {
				t.Error(err)
			}
		})
	}
}

// streams are the streams of one sandbox.
type streams struct {
	t  *testing.T
	d  *daemon
	c  soulboxpbconnect.SandboxServiceClient
	id string
}

// start opens a stream and sends its first message.
func (x *streams) start(ctx context.Context, m *pb.StreamExecRequest) *execStream {
	x.t.Helper()
	s, err := x.c.StreamExec(ctx)
	if err != nil {
		x.t.Fatal(err)
	}
	if err := s.Send(m); err != nil {
		x.t.Fatal(err)
	}
	return s
}

func startShell(id, line string, more func(*pb.StartProcess)) *pb.StreamExecRequest {
	start := &pb.StartProcess{Id: id, Shell: line}
	if more != nil {
		more(start)
	}
	return &pb.StreamExecRequest{Message: &pb.StreamExecRequest_Start{Start: start}}
}

func attachTo(id string, pid uint32, offset int64) *pb.StreamExecRequest {
	return &pb.StreamExecRequest{Message: &pb.StreamExecRequest_Attach{Attach: &pb.AttachProcess{Id: id, Pid: pid, Offset: offset}}}
}

// send sends messages that must go out.
func (x *streams) send(s *execStream, messages ...*pb.StreamExecRequest) {
	x.t.Helper()
	for _, m := range messages {
		if err := s.Send(m); err != nil {
			x.t.Errorf("Send(%v): %v", m, err)
		}
	}
}

func (x *streams) input() {
	s := x.start(x.t.Context(), startShell(x.id, "cat; echo err >&2; exit 4", func(p *pb.StartProcess) { p.Stdin = true }))
	for range 3 {
		x.send(s, &pb.StreamExecRequest{Message: &pb.StreamExecRequest_Stdin{Stdin: []byte("line\n")}})
	}
	x.send(s, &pb.StreamExecRequest{Message: &pb.StreamExecRequest_CloseStdin{CloseStdin: true}})
	var p printed
	if err := p.receive(s, nil); err != nil || p.text != "line\nline\nline\n" || p.stderr != "err\n" || p.exit.GetExitCode() != 4 || p.pid == 0 {
		x.t.Errorf("%+v, %v", p, err)
	}
	if err := s.CloseRequest(); err != nil {
		x.t.Error(err)
	}
	// One that was told of no input reads none, and a client that sends nothing more still gets everything.
	s = x.start(x.t.Context(), startShell(x.id, "cat; head -c 1000000 /dev/zero", nil))
	if err := s.CloseRequest(); err != nil {
		x.t.Error(err)
	}
	p = printed{}
	if err := p.receive(s, nil); err != nil || len(p.text) != 1_000_000 || p.first != 0 || p.exit.GetExitCode() != 0 {
		x.t.Errorf("%d bytes from %d, %v, %v", len(p.text), p.first, p.exit, err)
	}
}

func (x *streams) terminal() {
	s := x.start(x.t.Context(), startShell(x.id, "stty size; read a; stty size; echo got $a", func(p *pb.StartProcess) { p.Terminal = &pb.TerminalSize{Columns: 90, Rows: 20} }))
	var p printed
	if err := p.receive(s, func() bool { return strings.Contains(p.text, "20 90") }); err != nil {
		x.t.Fatal(err)
	}
	x.send(s, &pb.StreamExecRequest{Message: &pb.StreamExecRequest_Resize{Resize: &pb.TerminalSize{Columns: 50, Rows: 12}}},
		&pb.StreamExecRequest{Message: &pb.StreamExecRequest_Stdin{Stdin: []byte("word\r")}})
	if err := p.receive(s, nil); err != nil || !strings.Contains(p.text, "12 50") || !strings.Contains(p.text, "got word") || p.exit.GetExitCode() != 0 {
		x.t.Errorf("%+v, %v", p, err)
	}
}

func (x *streams) signal() {
	s := x.start(x.t.Context(), startShell(x.id, "trap 'echo int; exit 7' INT; echo ready; while :; do sleep 0.05; done", nil))
	var p printed
	if err := p.receive(s, func() bool { return p.text == "ready\n" }); err != nil {
		x.t.Fatal(err)
	}
	x.send(s, &pb.StreamExecRequest{Message: &pb.StreamExecRequest_Signal{Signal: "INT"}})
	if err := p.receive(s, nil); err != nil || p.exit.GetExitCode() != 7 {
		x.t.Errorf("%+v, %v", p, err)
	}
}

// exists tells whether a process of the sandbox runs.
func (x *streams) exists(pid uint32) bool {
	x.t.Helper()
	list, err := x.c.ListProcesses(x.t.Context(), &pb.ListProcessesRequest{Id: x.id})
	if err != nil {
		x.t.Fatal(err)
	}
	for _, p := range list.GetProcesses() {
		if p.GetPid() == pid {
			return p.GetExited() == nil
		}
	}
	return false
}

func (x *streams) detach() {
	s := x.start(x.t.Context(), startShell(x.id, "echo one; read a; echo two $a; exit 6", func(p *pb.StartProcess) { p.Stdin = true }))
	var p printed
	if err := p.receive(s, func() bool { return p.text == "one\n" }); err != nil {
		x.t.Fatal(err)
	}
	x.send(s, &pb.StreamExecRequest{Message: &pb.StreamExecRequest_Detach{Detach: true}})
	if err := p.receive(s, nil); err != nil || p.exit != nil {
		x.t.Errorf("after detaching: %+v, %v", p, err)
	}
	if !x.exists(p.pid) {
		x.t.Fatal("the process ended with its detached stream")
	}
	again := x.start(x.t.Context(), attachTo(x.id, p.pid, 2))
	x.send(again, &pb.StreamExecRequest{Message: &pb.StreamExecRequest_Stdin{Stdin: []byte("more\n")}})
	var q printed
	if err := q.receive(again, nil); err != nil || q.pid != p.pid || q.first != 2 || q.text != "e\ntwo more\n" || q.exit.GetExitCode() != 6 {
		x.t.Errorf("attached from 2: %+v, %v", q, err)
	}
	// One that has ended is told from what is kept.
	late := x.start(x.t.Context(), attachTo(x.id, p.pid, 0))
	q = printed{}
	if err := q.receive(late, nil); err != nil || q.text != "one\ntwo more\n" || q.exit.GetExitCode() != 6 {
		x.t.Errorf("attached to one that has ended: %+v, %v", q, err)
	}
}

func (x *streams) gone() {
	for _, tt := range []struct{ keep, attach, lives bool }{{false, false, false}, {true, false, true}, {true, true, true}} {
		ctx, leave := context.WithCancel(x.t.Context())
		s := x.start(ctx, startShell(x.id, "echo up; exec sleep 1000", func(p *pb.StartProcess) { p.Keep = tt.keep }))
		var p printed
		if err := p.receive(s, func() bool { return p.text == "up\n" }); err != nil {
			x.t.Fatal(err)
		}
		if tt.attach {
			s = x.start(ctx, attachTo(x.id, p.pid, 0))
			var q printed
			if err := q.receive(s, func() bool { return q.text == "up\n" }); err != nil {
				x.t.Fatal(err)
			}
		}
		leave()
		if err := p.receive(s, nil); connect.CodeOf(err) != connect.CodeCanceled {
			x.t.Errorf("a stream that was left: %v", err)
		}
		if tt.lives {
			if _, err := x.c.SignalProcess(x.t.Context(), &pb.SignalProcessRequest{Id: x.id, Pid: p.pid, Signal: "KILL", Group: true}); err != nil {
				x.t.Errorf("keep %v, attach %v: the process did not outlive its client: %v", tt.keep, tt.attach, err)
			}
		}
		x.d.eventually("the process is gone", answerWait, func() bool { return !x.exists(p.pid) })
	}
}

func (x *streams) refused() {
	data := &pb.StreamExecRequest{Message: &pb.StreamExecRequest_Stdin{Stdin: []byte("x")}}
	for _, tt := range []struct {
		name string
		send []*pb.StreamExecRequest
		code connect.Code
	}{
		{"nothing", nil, connect.CodeInvalidArgument},
		{"no start", []*pb.StreamExecRequest{data}, connect.CodeInvalidArgument},
		{"no program", []*pb.StreamExecRequest{startShell(x.id, "", nil)}, connect.CodeInvalidArgument},
		{"no id", []*pb.StreamExecRequest{startShell("", "true", nil)}, connect.CodeInvalidArgument},
		{"no sandbox", []*pb.StreamExecRequest{startShell("i00000000000000000000", "true", nil)}, connect.CodeNotFound},
		{"no user", []*pb.StreamExecRequest{startShell(x.id, "true", func(p *pb.StartProcess) { p.User = "stranger" })}, connect.CodeInvalidArgument},
		{"no process", []*pb.StreamExecRequest{attachTo(x.id, 4_000_000, 0)}, connect.CodeNotFound},
		{"two starts", []*pb.StreamExecRequest{startShell(x.id, "sleep 1000", nil), startShell(x.id, "true", nil)}, connect.CodeInvalidArgument},
		{"a bad signal", []*pb.StreamExecRequest{startShell(x.id, "sleep 1000", nil), {Message: &pb.StreamExecRequest_Signal{Signal: "NONSENSE"}}}, connect.CodeInvalidArgument},
	} {
		s, err := x.c.StreamExec(x.t.Context())
		if err != nil {
			x.t.Fatal(err)
		}
		for _, m := range tt.send {
			_ = s.Send(m) // the stream may have been refused already
		}
		if len(tt.send) == 0 {
			_ = s.CloseRequest() // as above
		}
		var p printed
		if err := p.receive(s, nil); connect.CodeOf(err) != tt.code {
			x.t.Errorf("%s: %v after %+v, want %v", tt.name, err, p, tt.code)
		}
		if p.pid != 0 {
			x.d.eventually("the process of a refused stream is gone", answerWait, func() bool { return !x.exists(p.pid) })
		}
	}
}

func (x *streams) files() {
	const size = 20 << 20
	w, err := x.c.WriteFile(x.t.Context())
	if err != nil {
		x.t.Fatal(err)
	}
	if err := w.Send(&pb.WriteFileRequest{Message: &pb.WriteFileRequest_Open{Open: &pb.OpenFile{Id: x.id, Path: "streamed", Metadata: map[string]string{"a": "b"}}}}); err != nil {
		x.t.Fatal(err)
	}
	for from := &(counting{size, io.EOF}); from.n > 0; {
		buf := make([]byte, 1<<20)
		if _, err := io.ReadFull(from, buf); err != nil {
			x.t.Fatal(err)
		}
		if err := w.Send(&pb.WriteFileRequest{Message: &pb.WriteFileRequest_Data{Data: buf}}); err != nil {
			x.t.Fatal(err)
		}
	}
	info, err := w.CloseAndReceive()
	if err != nil || info.GetSize() != size || info.GetMetadata()["a"] != "b" {
		x.t.Errorf("WriteFile = %v, %v", info, err)
	}
	want, err := io.ReadAll(&counting{size, io.EOF})
	if err != nil {
		x.t.Fatal(err)
	}
	for _, part := range []struct{ offset, limit, to int64 }{{0, 0, size}, {size - 10, 0, size}, {5, 1 << 20, 5 + 1<<20}, {size, 0, size}} {
		r, err := x.c.ReadFile(x.t.Context(), &pb.ReadFileRequest{Id: x.id, Path: "streamed", Offset: part.offset, Limit: part.limit})
		if err != nil {
			x.t.Fatal(err)
		}
		var got strings.Builder
		for n := 0; r.Receive(); n++ {
			if (r.Msg().GetInfo() != nil) != (n == 0) {
				x.t.Errorf("message %d is %v", n, r.Msg())
			}
			got.Write(r.Msg().GetData())
		}
		if err := r.Err(); err != nil || got.String() != string(want[part.offset:part.to]) {
			x.t.Errorf("%+v: %d bytes, %v", part, got.Len(), err)
		}
	}
	w, err = x.c.WriteFile(x.t.Context())
	if err != nil {
		x.t.Fatal(err)
	}
	if err := w.Send(&pb.WriteFileRequest{Message: &pb.WriteFileRequest_Data{Data: []byte("x")}}); err != nil {
		x.t.Error(err)
	}
	if _, err := w.CloseAndReceive(); connect.CodeOf(err) != connect.CodeInvalidArgument {
		x.t.Errorf("data of no file: %v", err)
	}
	r, err := x.c.ReadFile(x.t.Context(), &pb.ReadFileRequest{Id: x.id, Path: "absent"})
	if err == nil {
		_ = r.Receive() // an error is what is wanted
		err = r.Err()
	}
	if connect.CodeOf(err) != connect.CodeNotFound {
		x.t.Errorf("reading nothing: %v", err)
	}
}

func (x *streams) watch() {
	ctx, cancel := context.WithTimeout(x.t.Context(), answerWait)
	defer cancel()
	s, err := x.c.WatchFiles(ctx, &pb.WatchFilesRequest{Id: x.id, Path: "/tmp"})
	if err != nil {
		x.t.Fatal(err)
	}
	defer s.Close()
	for s.Receive() {
		switch m := s.Msg(); {
		case m.GetType() == pb.FileEventType_FILE_EVENT_TYPE_STARTED:
			if _, err := x.c.Exec(ctx, &pb.ExecRequest{Id: x.id, Shell: "touch /tmp/made"}); err != nil {
				x.t.Error(err)
			}
		case m.GetType() == pb.FileEventType_FILE_EVENT_TYPE_CREATE && m.GetName() == "made":
			if m.GetInfo().GetPath() != "/tmp/made" {
				x.t.Errorf("the event is %v", m)
			}
			return
		}
	}
	x.t.Errorf("the watch ended with %v", s.Err())
}

func (x *streams) stats() {
	ctx, cancel := context.WithTimeout(x.t.Context(), answerWait)
	defer cancel()
	s, err := x.c.StreamStats(ctx, &pb.StreamStatsRequest{Id: x.id, Interval: durationpb.New(1)})
	if err != nil {
		x.t.Fatal(err)
	}
	defer s.Close()
	for n := range 3 {
		if !s.Receive() || s.Msg().GetMemoryLimitBytes() == 0 {
			x.t.Fatalf("stats %d: %v, %v", n, s.Msg(), s.Err())
		}
	}
}
