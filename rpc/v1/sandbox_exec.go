package v1

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/soulbox/soulbox/rpc/errs"
	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
	"github.com/soulbox/soulbox/sandbox"
)

const (
	// execOutput is how much of a program's output Exec answers when the client does not say, in bytes.
	execOutput = 1 << 20
	// endTime bounds how long a killed process may take to be gone.
	endTime = 5 * time.Second
)

// shellCommand is the command line of text.
func shellCommand(text string) []string { return []string{"/bin/sh", "-c", text} }

// command returns what is to be run: what a request says, or else own, the command of the sandbox's image.
func command(own, args []string, shell string) ([]string, error) {
	switch {
	case shell != "" && len(args) > 0:
		return nil, errs.Invalid("shell", "give either args or shell, not both")
	case shell != "":
		return shellCommand(shell), nil
	case len(args) > 0:
		return args, nil
	}
	if len(own) > 0 {
		return own, nil
	}
	return nil, errs.Invalid("args", "name the program to run, or give a command line as shell: the image of this sandbox has no command")
}

// Exec runs a program to its end, or detached.
func (b *SandboxService) Exec(ctx context.Context, m *pb.ExecRequest) (*pb.ExecResponse, error) {
	use, err := b.use(ctx, m.GetId())
	if err != nil {
		return nil, err
	}
	defer use.Close()
	args, err := command(use.Command(), m.GetArgs(), m.GetShell())
	if err != nil {
		return nil, err
	}
	pid, err := use.Launch(ctx, sandbox.ProcessSpec{Args: args, Env: m.GetEnv(), Dir: m.GetWorkdir(), User: m.GetUser(), Input: m.GetStdin(), Tag: m.GetTag(),
		Follow: !m.GetDetach()})
	if err != nil {
		return nil, err
	}
	if m.GetDetach() {
		return &pb.ExecResponse{Pid: pid, Running: true}, nil
	}
	limit := m.GetOutputBytes()
	if limit == 0 {
		limit = execOutput
	}
	r := &collector{use: use, pid: pid, left: limit}
	return r.run(ctx, m.GetTimeout().AsDuration())
}

// collector gathers what one program prints until it ends.
type collector struct {
	use            *sandbox.Use
	pid            uint32
	left           int64
	stdout, stderr []byte
	truncated      bool
}

var errTimeout = errors.New("the program's time is up")

// run follows the program to its end. A client that goes away, the end of its time, or too much output kill it.
func (r *collector) run(ctx context.Context, timeout time.Duration) (*pb.ExecResponse, error) {
	follow, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	timed := ctx
	if timeout > 0 {
		var cancel context.CancelFunc
		timed, cancel = context.WithTimeoutCause(ctx, timeout, errTimeout)
		defer cancel()
	}
	defer context.AfterFunc(timed, func() { kill(r.use, r.pid, stop) })()
	for ev, err := range r.use.Follow(follow, r.pid, 0) {
		switch {
		case err != nil && ctx.Err() != nil:
			return nil, clientGone("run the program", context.Cause(ctx))
		case err != nil:
			return nil, err
		case ev.Exit != nil:
			if ctx.Err() != nil {
				return nil, clientGone("run the program", context.Cause(ctx))
			}
			return r.response(*ev.Exit, errors.Is(context.Cause(timed), errTimeout)), nil
		case ev.Output != nil && !r.keep(ev.Output):
			kill(r.use, r.pid, stop)
		}
	}
	return nil, errors.New("follow a process: its events ended without its end")
}

// keep keeps output within the bound; false: it was reached, now or before.
func (r *collector) keep(o *sandbox.ProcessOutput) bool {
	for from, to := range map[*[]byte]*[]byte{&o.Stdout: &r.stdout, &o.Stderr: &r.stderr} {
		n := min(int64(len(*from)), r.left)
		*to = append(*to, (*from)[:n]...)
		r.left -= n
		r.truncated = r.truncated || n < int64(len(*from))
	}
	return !r.truncated
}

func (r *collector) response(x sandbox.ProcessExit, timedOut bool) *pb.ExecResponse {
	e := exited(x)
	out := &pb.ExecResponse{Pid: r.pid, ExitCode: e.GetExitCode(), Signal: e.GetSignal(), Truncated: r.truncated, TimedOut: timedOut,
		WallTime: e.GetWallTime(), UserTime: e.GetUserTime(), SystemTime: e.GetSystemTime()}
	out.Stdout, out.StdoutRaw = text(r.stdout)
	out.Stderr, out.StderrRaw = text(r.stderr)
	return out
}

// kill ends a process and all of its group; give is called when that has no effect in time.
func kill(use *sandbox.Use, pid uint32, give func()) {
	ctx, cancel := context.WithTimeout(context.Background(), endTime)
	defer cancel()
	if use.Signal(ctx, pid, syscall.SIGKILL, true) != nil { // it has ended, or its sandbox does
		return
	}
	time.AfterFunc(endTime, give)
}

func exited(x sandbox.ProcessExit) *pb.ProcessExited {
	out := &pb.ProcessExited{ExitCode: -1, WallTime: durationpb.New(x.Wall), UserTime: durationpb.New(x.User), SystemTime: durationpb.New(x.System)}
	if x.Status.Signaled() {
		out.Signal = unix.SignalName(x.Status.Signal())
	} else {
		out.ExitCode = int32(x.Status.ExitStatus())
	}
	return out
}

// signalOf reads a signal's name, with or without SIG, or number.
func signalOf(text string) (syscall.Signal, error) {
	if n, err := strconv.Atoi(text); err == nil && n >= 1 && n <= 64 {
		return syscall.Signal(n), nil
	}
	name := strings.ToUpper(text)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	if s := unix.SignalNum(name); s != 0 {
		return s, nil
	}
	return 0, errs.Invalid("signal", "must be the name of a signal, such as SIGTERM, or a number from 1 to 64")
}

// ListProcesses answers what was started in a sandbox.
func (b *SandboxService) ListProcesses(ctx context.Context, m *pb.ListProcessesRequest) (*pb.ListProcessesResponse, error) {
	use, err := b.use(ctx, m.GetId())
	if err != nil {
		return nil, err
	}
	defer use.Close()
	list, err := use.Processes(ctx)
	if err != nil {
		return nil, err
	}
	out := &pb.ListProcessesResponse{}
	for _, p := range list {
		shown := &pb.Process{Pid: p.PID, Workdir: valid(p.Dir), User: valid(p.User), Tag: valid(p.Tag), Terminal: p.Terminal,
			StartedAt: timestamp(p.StartedAt), PrintedBytes: p.Printed, KeptFrom: p.KeptFrom}
		for _, a := range p.Args {
			shown.Args = append(shown.Args, valid(a))
		}
		if p.Exit != nil {
			shown.Exited = exited(*p.Exit)
		}
		out.Processes = append(out.Processes, shown)
	}
	return out, nil
}

// SignalProcess sends a signal.
func (b *SandboxService) SignalProcess(ctx context.Context, m *pb.SignalProcessRequest) (*pb.SignalProcessResponse, error) {
	signal, err := signalOf(m.GetSignal())
	if err != nil {
		return nil, err
	}
	use, err := b.use(ctx, m.GetId())
	if err != nil {
		return nil, err
	}
	defer use.Close()
	if err := use.Signal(ctx, m.GetPid(), signal, m.GetGroup()); err != nil {
		return nil, err
	}
	return &pb.SignalProcessResponse{}, nil
}
