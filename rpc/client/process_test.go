package client_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/soulbox/soulbox/rpc/client"
	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
	"github.com/soulbox/soulbox/rpc/soulboxpb/soulboxpbconnect"
)

type execHandler func(first *pb.StreamExecRequest, s *connect.BidiStream[pb.StreamExecRequest, pb.StreamExecResponse]) error

// breaking is a daemon whose connections do one thing after the other.
type breaking struct {
	soulboxpbconnect.UnimplementedSandboxServiceHandler
	next chan execHandler
}

func (b *breaking) StreamExec(_ context.Context, s *connect.BidiStream[pb.StreamExecRequest, pb.StreamExecResponse]) error {
	first, err := s.Receive()
	if err != nil {
		return err
	}
	if err := s.Send(&pb.StreamExecResponse{Event: &pb.StreamExecResponse_Started{Started: &pb.ProcessStarted{Pid: 7}}}); err != nil {
		return err
	}
	return (<-b.next)(first, s)
}

// against returns a client of a daemon whose connections do what is said, over HTTP/2 without TLS.
func against(t *testing.T, connections ...execHandler) *client.Client {
	t.Helper()
	b := &breaking{next: make(chan execHandler, len(connections))}
	for _, c := range connections {
		b.next <- c
	}
	mux := http.NewServeMux()
	mux.Handle(soulboxpbconnect.NewSandboxServiceHandler(b))
	s := httptest.NewUnstartedServer(mux)
	var p http.Protocols
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	s.Config.Protocols = &p
	s.Start()
	t.Cleanup(s.Close)
	c, err := client.New(s.URL, "k")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func stdout(offset int64, text string) *pb.StreamExecResponse {
	return &pb.StreamExecResponse{Offset: offset, Event: &pb.StreamExecResponse_Stdout{Stdout: []byte(text)}}
}

var errBroken = connect.NewError(connect.CodeUnavailable, errors.New("broken"))

// TestProcessGoesOn: output that comes twice is shown once, what is gone is counted, and input goes to the new connection.
func TestProcessGoesOn(t *testing.T) {
	c := against(t,
		func(_ *pb.StreamExecRequest, s *connect.BidiStream[pb.StreamExecRequest, pb.StreamExecResponse]) error {
			return errors.Join(s.Send(stdout(0, "abc")), errBroken)
		},
		func(first *pb.StreamExecRequest, s *connect.BidiStream[pb.StreamExecRequest, pb.StreamExecResponse]) error {
			if a := first.GetAttach(); a.GetId() != "box" || a.GetPid() != 7 || a.GetOffset() != 3 {
				t.Errorf("attached with %v", first)
			}
			if err := errors.Join(s.Send(stdout(1, "bcdef")), s.Send(stdout(10, "xyz"))); err != nil {
				return err
			}
			in, err := s.Receive()
			if err != nil {
				return err
			}
			return errors.Join(s.Send(stdout(13, string(in.GetStdin()))), s.Send(&pb.StreamExecResponse{Event: &pb.StreamExecResponse_Exited{Exited: &pb.ProcessExited{ExitCode: 4}}}))
		})
	var lost, back int
	var missed int64
	p, err := c.Start(t.Context(), &pb.StartProcess{Id: "box", Args: []string{"x"}}, client.ProcessOptions{Reattach: true,
		Lost: func(error) { lost++ }, Back: func() { back++ }, Missed: func(n int64) { missed += n }})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	seen := ""
	for {
		m, err := p.Receive()
		if err != nil {
			t.Fatalf("after %q: %v", seen, err)
		}
		if x := m.GetExited(); x != nil {
			if x.GetExitCode() != 4 {
				t.Errorf("exited %v", x)
			}
			break
		}
		if seen += string(m.GetStdout()); seen == "abcdefxyz" {
			if err := p.Send(&pb.StreamExecRequest{Message: &pb.StreamExecRequest_Stdin{Stdin: []byte("!")}}); err != nil {
				t.Error(err)
			}
		}
	}
	if seen != "abcdefxyz!" || p.PID() != 7 || lost != 1 || back != 1 || missed != 4 {
		t.Errorf("seen %q of process %d, lost %d times, back %d times, %d bytes missed", seen, p.PID(), lost, back, missed)
	}
}

// TestProcessGivesUp: what another attempt would meet again is not tried again, and nothing is without leave.
func TestProcessGivesUp(t *testing.T) {
	broken := func(err error) execHandler {
		return func(*pb.StreamExecRequest, *connect.BidiStream[pb.StreamExecRequest, pb.StreamExecResponse]) error {
			return err
		}
	}
	gone := connect.NewError(connect.CodeNotFound, errors.New("gone"))
	for name, tc := range map[string]struct {
		connections []execHandler
		reattach    bool
		want        connect.Code
	}{
		"not asked to":      {[]execHandler{broken(errBroken)}, false, connect.CodeUnavailable},
		"gone at once":      {[]execHandler{broken(gone)}, true, connect.CodeNotFound},
		"gone in the break": {[]execHandler{broken(errBroken), broken(gone)}, true, connect.CodeNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := against(t, tc.connections...).Start(t.Context(), &pb.StartProcess{Id: "box", Args: []string{"x"}}, client.ProcessOptions{Reattach: tc.reattach})
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			if _, err := p.Receive(); connect.CodeOf(err) != tc.want {
				t.Errorf("Receive = %v, want %v", err, tc.want)
			}
			if err := p.Send(&pb.StreamExecRequest{}); !errors.Is(err, client.ErrLost) {
				t.Errorf("Send = %v, want %v", err, client.ErrLost)
			}
		})
	}
}

// TestProcessCancelled: a context that ends ends Receive, whatever the daemon does.
func TestProcessCancelled(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	wait := make(chan struct{})
	defer close(wait)
	c := against(t, func(*pb.StreamExecRequest, *connect.BidiStream[pb.StreamExecRequest, pb.StreamExecResponse]) error {
		<-wait
		return nil
	})
	p, err := c.Start(ctx, &pb.StartProcess{Id: "box", Args: []string{"x"}}, client.ProcessOptions{Reattach: true})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := p.Receive(); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Receive = %v, want %v", err, context.DeadlineExceeded)
	}
}
