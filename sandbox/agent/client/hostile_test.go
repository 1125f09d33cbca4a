package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/soulbox/soulbox/sandbox/agent/agentpb"
	"github.com/soulbox/soulbox/sandbox/agent/agentpb/agentpbconnect"
)

// liar is an agent that claims too much.
type liar struct {
	agentpbconnect.UnimplementedSessionServiceHandler
	agentpbconnect.UnimplementedFilesystemHandler
}

func (liar) Processes(context.Context, *connect.Request[agentpb.ProcessesRequest]) (*connect.Response[agentpb.ProcessesResponse], error) {
	m := &agentpb.ProcessesResponse{}
	for range maxKnown + 1 {
		m.Processes = append(m.Processes, &agentpb.Known{Pid: 1})
	}
	return connect.NewResponse(m), nil
}

func (liar) Launch(context.Context, *connect.Request[agentpb.LaunchRequest]) (*connect.Response[agentpb.LaunchResponse], error) {
	return connect.NewResponse(&agentpb.LaunchResponse{}), nil
}

func (liar) Follow(_ context.Context, req *connect.Request[agentpb.FollowRequest], out *connect.ServerStream[agentpb.FollowResponse]) error {
	if req.Msg.GetPid() == 2 { // and then nothing, although nothing has ended
		return out.Send(&agentpb.FollowResponse{Event: &agentpb.FollowResponse_Output{Output: &agentpb.Output{Offset: -5}}})
	}
	return out.Send(&agentpb.FollowResponse{Event: &agentpb.FollowResponse_Ended{Ended: &agentpb.Ended{WaitStatus: 1<<32 - 1, WallNanos: -1, UserNanos: 1<<63 - 1, MaxRssBytes: -1}}})
}

func (liar) Measure(context.Context, *connect.Request[agentpb.MeasureRequest]) (*connect.Response[agentpb.MeasureResponse], error) {
	return connect.NewResponse(&agentpb.MeasureResponse{UserNanos: -1, SystemNanos: 1<<63 - 1, MemoryBytes: -1, Processes: -1}), nil
}

func (liar) ListDir(context.Context, *connect.Request[agentpb.ListDirRequest]) (*connect.Response[agentpb.ListDirResponse], error) {
	m := &agentpb.ListDirResponse{}
	for range maxEntries + 1 {
		m.Entries = append(m.Entries, &agentpb.EntryInfo{})
	}
	return connect.NewResponse(m), nil
}

func (liar) Stat(context.Context, *connect.Request[agentpb.StatRequest]) (*connect.Response[agentpb.StatResponse], error) {
	return connect.NewResponse(&agentpb.StatResponse{Entry: &agentpb.EntryInfo{Size: -1, Mode: 1<<32 - 1, Owner: strings.Repeat("o", 10_000), Permissions: strings.Repeat("r", 10_000)}}), nil
}

func (liar) MakeDir(context.Context, *connect.Request[agentpb.MakeDirRequest]) (*connect.Response[agentpb.MakeDirResponse], error) {
	return connect.NewResponse(&agentpb.MakeDirResponse{Entry: &agentpb.EntryInfo{Path: strings.Repeat("p", maxMessage+1)}}), nil
}

// lie serves a lying agent and returns a client of it.
func lie(t *testing.T) *Client {
	t.Helper()
	dir, f := openDir(t)
	mux := http.NewServeMux()
	mux.Handle(agentpbconnect.NewSessionServiceHandler(liar{}))
	mux.Handle(agentpbconnect.NewFilesystemHandler(liar{}))
	mux.HandleFunc("/wait", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "more than nothing") })
	mux.HandleFunc("/files", func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Query().Get("path") {
		case "error": // without end
			w.WriteHeader(http.StatusNotFound)
			for {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		case "long error":
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprintf(w, `{"message":%q}`, strings.Repeat("x", maxErrorBody/2))
		case "short":
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, "x")
		default:
			w.WriteHeader(http.StatusTeapot)
		}
	})
	for _, s := range []struct{ network, name string }{{"unixpacket", "fds.sock"}, {"unix", "agent.sock"}} {
		l, err := net.Listen(s.network, filepath.Join(dir, s.name))
		if err != nil {
			t.Fatal(err)
		}
		if s.network == "unix" {
			server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
			go func() { _ = server.Serve(l) }() // ends with Close
			t.Cleanup(func() { _ = server.Close() })
			continue
		}
		t.Cleanup(func() { _ = l.Close() })
	}
	c, err := Dial(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// TestHostileAgent takes what a lying agent says: too much is refused, what cannot be is made what can.
func TestHostileAgent(t *testing.T) {
	c, ctx := lie(t), t.Context()
	for name, call := range map[string]func() error{
		"too many processes":  func() error { _, err := c.Processes(ctx); return err },
		"too many entries":    func() error { _, err := c.ListDir(ctx, "", "/", 1); return err },
		"too large a message": func() error { _, err := c.MakeDir(ctx, "", "/"); return err },
		"no pid":              func() error { _, err := c.Launch(ctx, ProcessSpec{Args: []string{"x"}}); return err },
		"an end without an end": func() error {
			for ev, err := range c.Follow(ctx, 2, 0) {
				if err != nil {
					return err
				}
				if ev.Output.Offset != 0 {
					t.Errorf("offset %d", ev.Output.Offset)
				}
			}
			return nil
		},
		"words where there are none": func() error { return c.Wait(ctx) },
		"an error without end":       func() error { _, err := c.ReadFile(ctx, "", "error", 0, 0); return err },
		"a status of its own":        func() error { _, err := c.ReadFile(ctx, "", "teapot", 0, 0); return err },
		"a write that is refused":    func() error { return c.WriteFile(ctx, "", "long error", nil, strings.NewReader("x")) },
		"less than it said": func() error {
			f, err := c.ReadFile(ctx, "", "short", 0, 0)
			if err != nil {
				return err
			}
			defer f.Body.Close()
			_, err = io.ReadAll(f.Body)
			return err
		},
	} {
		if err := call(); err == nil || len(err.Error()) > 2*maxErrorBody {
			t.Errorf("%s: %.200v, want a short error", name, err)
		}
	}
	for ev, err := range c.Follow(ctx, 1, 0) {
		if x := ev.Exit; err != nil || x == nil || x.Status != 0xffff || x.Wall != 0 || x.User != maxDuration || x.MaxRSS != 0 {
			t.Errorf("Follow: %+v, %v", x, err)
		}
	}
	if m, err := c.Measure(ctx); err != nil || m != (Measurement{System: maxDuration}) {
		t.Errorf("Measure = %+v, %v", m, err)
	}
	if i, err := c.Stat(ctx, "", "/"); err != nil || i.Size != 0 || i.Mode != 0o7777 || len(i.Owner) != 256 || len(i.Permissions) != 16 {
		t.Errorf("Stat = %+v, %v", i, err)
	}
	_, err := c.ReadFile(ctx, "", "long error", 0, 0)
	if e, ok := errors.AsType[*connect.Error](err); !ok || e.Code() != connect.CodePermissionDenied {
		t.Errorf("ReadFile = %v, want permission denied", err)
	}
}
