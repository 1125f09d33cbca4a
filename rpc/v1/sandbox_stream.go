package v1

import (
	"context"
	"errors"
	"io"
	"sync"

	"connectrpc.com/connect"

	"github.com/soulbox/soulbox/rpc/errs"
	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
	"github.com/soulbox/soulbox/sandbox"
)

// execStream is a stream of StreamExec with its process.
type execStream struct {
	use      *sandbox.Use
	pid      uint32
	terminal bool
	keep     bool // the process goes on without its client
	offset   int64
	in       func() (*pb.StreamExecRequest, error)
	send     func(*pb.StreamExecResponse) error

	mu       sync.Mutex
	detached bool
}

// StreamExec carries a program's input and output.
func (b *SandboxService) StreamExec(ctx context.Context, s *connect.BidiStream[pb.StreamExecRequest, pb.StreamExecResponse]) error {
	first, err := s.Receive()
	if errors.Is(err, io.EOF) {
		return errs.Invalid("start", "the first message says what to start, or with attach what to follow")
	} else if err != nil {
		return err
	}
	if err := b.s.Validate(first); err != nil {
		return err
	}
	x := &execStream{in: s.Receive, send: s.Send}
	if err := x.begin(ctx, b, first); err != nil {
		return err
	}
	defer x.use.Close()
	return x.run(ctx)
}

// begin starts the process, or finds it.
func (x *execStream) begin(ctx context.Context, b *SandboxService, first *pb.StreamExecRequest) (err error) {
	start, attach := first.GetStart(), first.GetAttach()
	switch {
	case start != nil:
		x.use, err = b.use(ctx, start.GetId())
	case attach != nil:
		x.use, err = b.use(ctx, attach.GetId())
	default:
		return errs.Invalid("start", "the first message says what to start, or with attach what to follow")
	}
	if err != nil {
		return err
	}
	if start != nil {
		var args []string
		if args, err = command(x.use.Command(), start.GetArgs(), start.GetShell()); err != nil {
			x.use.Close()
			return err
		}
		x.terminal, x.keep = start.GetTerminal() != nil, start.GetKeep()
		spec := sandbox.ProcessSpec{Args: args, Env: start.GetEnv(), Dir: start.GetWorkdir(), User: start.GetUser(), Stdin: start.GetStdin(), Tag: start.GetTag(),
			Follow: true}
		if x.terminal {
			spec.Size = terminalSize(start.GetTerminal())
		}
		x.pid, err = x.use.Launch(ctx, spec)
	} else {
		err = x.find(ctx, attach)
	}
	if err != nil {
		x.use.Close()
	}
	return err
}

// find looks up the process to attach to. Whoever attaches leaves it running.
func (x *execStream) find(ctx context.Context, m *pb.AttachProcess) error {
	list, err := x.use.Processes(ctx)
	if err != nil {
		return err
	}
	for _, p := range list {
		if p.PID == m.GetPid() {
			x.pid, x.terminal, x.keep, x.offset = p.PID, p.Terminal, true, m.GetOffset()
			return nil
		}
	}
	return &sandbox.Error{Op: "v1.StreamExec", Kind: sandbox.KindNotFound, Reason: "PROCESS_NOT_FOUND", Field: "attach.pid",
		Msg: "no such process was started by request, or it ended too long ago"}
}

func terminalSize(m *pb.TerminalSize) *sandbox.TerminalSize {
	return &sandbox.TerminalSize{Columns: m.GetColumns(), Rows: m.GetRows()}
}

// run carries input and output until the process ends, or the client leaves.
func (x *execStream) run(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	inputs := make(chan struct{})
	go func() { // ends with the stream, whose context ends Receive
		defer close(inputs)
		x.inputs(ctx, stop)
	}()
	err := x.outputs(ctx)
	x.mu.Lock()
	detached := x.detached
	x.mu.Unlock()
	if detached {
		return nil
	}
	if err != nil && !x.keep {
		kill(x.use, x.pid, func() {})
	}
	if known := context.Cause(ctx); err != nil && known != nil && ctx.Err() != nil && !errors.Is(known, context.Canceled) {
		return known // what was wrong with the input
	}
	return err
}

// outputs sends what the process prints, and its end.
func (x *execStream) outputs(ctx context.Context) error {
	if err := x.send(&pb.StreamExecResponse{Offset: x.offset, Event: &pb.StreamExecResponse_Started{Started: &pb.ProcessStarted{Pid: x.pid}}}); err != nil {
		return clientGone("send that the process runs", err)
	}
	for ev, err := range x.use.Follow(ctx, x.pid, x.offset) {
		if err != nil {
			return err
		}
		if err := x.send(execEvent(ev)); err != nil {
			return clientGone("send output", err)
		}
	}
	return nil
}

func execEvent(ev sandbox.ProcessEvent) *pb.StreamExecResponse {
	switch o := ev.Output; {
	case ev.Exit != nil:
		return &pb.StreamExecResponse{Event: &pb.StreamExecResponse_Exited{Exited: exited(*ev.Exit)}}
	case o == nil:
		return &pb.StreamExecResponse{Event: &pb.StreamExecResponse_Idle{Idle: true}}
	case len(o.Terminal) > 0:
		return &pb.StreamExecResponse{Offset: o.Offset, Event: &pb.StreamExecResponse_Terminal{Terminal: o.Terminal}}
	case len(o.Stderr) > 0:
		return &pb.StreamExecResponse{Offset: o.Offset, Event: &pb.StreamExecResponse_Stderr{Stderr: o.Stderr}}
	default:
		return &pb.StreamExecResponse{Offset: o.Offset, Event: &pb.StreamExecResponse_Stdout{Stdout: o.Stdout}}
	}
}

// inputs passes on what the client says. The end of its messages is not the end of its interest.
func (x *execStream) inputs(ctx context.Context, stop context.CancelCauseFunc) {
	for {
		m, err := x.in()
		if err != nil {
			return // the end, or the stream's own end
		}
		err = x.input(ctx, m)
		if errors.Is(err, errDetach) {
			x.mu.Lock()
			x.detached = true
			x.mu.Unlock()
		}
		if err != nil {
			stop(err)
			return
		}
	}
}

var errDetach = errors.New("the client detaches")

func (x *execStream) input(ctx context.Context, m *pb.StreamExecRequest) error {
	var err error
	switch what := m.GetMessage().(type) {
	case *pb.StreamExecRequest_Stdin:
		err = x.use.Write(ctx, x.pid, what.Stdin, x.terminal)
	case *pb.StreamExecRequest_CloseStdin:
		err = x.use.CloseInput(ctx, x.pid)
	case *pb.StreamExecRequest_Resize:
		err = x.use.Resize(ctx, x.pid, *terminalSize(what.Resize))
	case *pb.StreamExecRequest_Signal:
		signal, bad := signalOf(what.Signal)
		if bad != nil {
			return bad
		}
		err = x.use.Signal(ctx, x.pid, signal, true)
	case *pb.StreamExecRequest_Detach:
		return errDetach
	default:
		return errs.Invalid("start", "only the first message starts or attaches")
	}
	// The process may end, or close its input, while something is on its way to it.
	if k := sandbox.KindOf(err); err != nil && (k == sandbox.KindNotFound || k == sandbox.KindConflict || k == sandbox.KindUnavailable) {
		return nil
	}
	return err
}
