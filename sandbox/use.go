package sandbox

import (
	"context"
	"errors"
	"io"
	"iter"
	"strings"
	"syscall"

	"connectrpc.com/connect"

	"github.com/soulbox/soulbox/sandbox/agent/client"
)

// Use is a caller's hold on a running sandbox: while it is held the sandbox is not idle. It does not keep the sandbox
// from ending, which ends what goes on in it. Close gives it back.
type Use struct {
	l     *living
	close func()
	agent *client.Client
}

//nolint:revive // What goes on in a sandbox has the types of its agent's client, all of them described there.
type (
	ProcessSpec   = client.ProcessSpec
	ProcessEvent  = client.ProcessEvent
	ProcessOutput = client.ProcessOutput
	ProcessExit   = client.ProcessExit
	Process       = client.Process
	TerminalSize  = client.TerminalSize
)

// Use returns a hold on a sandbox that runs.
func (s *Sandboxes) Use(ctx context.Context, tenant string, id ID) (*Use, error) {
	const op = "sandbox.Use"
	l, err := s.living(ctx, op, tenant, id)
	if err != nil {
		return nil, err
	}
	u := &Use{l: l, close: l.use(), agent: l.box.agent}
	if l.snapshot().State != SandboxRunning {
		u.Close()
		return nil, &Error{Op: op, Kind: KindConflict, Reason: "SANDBOX_PAUSED", Field: "id", Msg: "the sandbox is paused; resume it first"}
	}
	return u, nil
}

// Close gives the hold back. Closing twice is safe.
func (u *Use) Close() { u.close() }

// Gone is closed when nothing is left of the sandbox.
func (u *Use) Gone() <-chan struct{} { return u.l.gone }

// Command is what the sandbox's image would run, nothing without.
func (u *Use) Command() []string { return u.l.snapshot().Command }

// Agent speaks to the agent of the sandbox. What it answers is hostile input, and its errors are not of type [*Error]:
// see [Use.Error].
func (u *Use) Agent() *client.Client { return u.agent }

// Launch starts a process, which lives on without its caller, and returns its pid.
func (u *Use) Launch(ctx context.Context, spec ProcessSpec) (uint32, error) {
	const op = "sandbox.Launch"
	if len(spec.Args) == 0 || spec.Args[0] == "" {
		return 0, invalid("REQUIRED", "args", "name the program to run")
	}
	if err := checkEnv("env", spec.Env); err != nil {
		return 0, err
	}
	pid, err := u.agent.Launch(ctx, spec)
	return pid, u.Error(op, err)
}

// Follow yields what a process printed from an offset on, as far as it is kept, what it prints, and its exit.
func (u *Use) Follow(ctx context.Context, pid uint32, offset int64) iter.Seq2[ProcessEvent, error] {
	return func(yield func(ProcessEvent, error) bool) {
		for ev, err := range u.agent.Follow(ctx, pid, offset) {
			if !yield(ev, u.Error("sandbox.Follow", err)) {
				return
			}
		}
	}
}

// Write gives a process input, to its terminal or its standard input.
func (u *Use) Write(ctx context.Context, pid uint32, data []byte, terminal bool) error {
	return u.Error("sandbox.Write", u.agent.Write(ctx, pid, data, terminal))
}

// CloseInput ends a process's standard input.
func (u *Use) CloseInput(ctx context.Context, pid uint32) error {
	return u.Error("sandbox.CloseInput", u.agent.CloseInput(ctx, pid))
}

// Resize gives a process's terminal a size.
func (u *Use) Resize(ctx context.Context, pid uint32, size TerminalSize) error {
	return u.Error("sandbox.Resize", u.agent.Resize(ctx, pid, size))
}

// Signal sends a signal to a process, or to its whole group.
func (u *Use) Signal(ctx context.Context, pid uint32, signal syscall.Signal, group bool) error {
	if signal < 1 || signal > 64 {
		return invalid("BAD_SIGNAL", "signal", "must be the name or the number, 1 to 64, of a signal")
	}
	return u.Error("sandbox.Signal", u.agent.Signal(ctx, pid, signal, group))
}

// Processes lists what was started in the sandbox, what ended a while ago too.
func (u *Use) Processes(ctx context.Context) ([]Process, error) {
	list, err := u.agent.Processes(ctx)
	return list, u.Error("sandbox.Processes", err)
}

// Error is what a caller is told of an agent's error, with why the sandbox ends when that is why its agent does not answer.
func (u *Use) Error(op string, err error) error {
	out := AgentError(op, err)
	if e, ok := errors.AsType[*Error](out); !ok || e.Reason != reasonGone {
		return out
	}
	u.l.mu.Lock()
	defer u.l.mu.Unlock()
	if u.l.verdict == nil {
		return out
	}
	rec := u.l.rec.clone()
	rec.Reason = u.l.verdict.reason
	return ended(op, rec)
}

// reasonGone is the reason of an agent that does not answer.
const reasonGone = "SANDBOX_GONE"

// maxAgentText bounds what is passed on of an agent's words, in bytes.
const maxAgentText = 500

// AgentError makes an [*Error] of what a sandbox's agent refused. Its words are shown to the caller whose sandbox it is,
// within bounds; nothing else is believed.
func AgentError(op string, err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	if errors.Is(err, context.Canceled) {
		return &Error{Op: op, Kind: KindCanceled, Reason: "CANCELED", Msg: "the caller went away", Err: err}
	}
	out := &Error{Op: op, Kind: KindUnavailable, Reason: reasonGone, Msg: "the sandbox does not answer: it is ending, or has ended", Err: err}
	known, ok := errors.AsType[*connect.Error](err)
	if !ok {
		return out
	}
	text := strings.ToValidUTF8(known.Message()[:min(len(known.Message()), maxAgentText)], "?")
	for code, is := range map[connect.Code]Error{
		connect.CodeInvalidArgument:    {Kind: KindInvalid, Reason: "INVALID_ARGUMENT"},
		connect.CodeUnauthenticated:    {Kind: KindInvalid, Reason: "UNKNOWN_USER", Field: "user"},
		connect.CodeNotFound:           {Kind: KindNotFound, Reason: "NOT_FOUND"},
		connect.CodeAlreadyExists:      {Kind: KindConflict, Reason: "ALREADY_EXISTS"},
		connect.CodeFailedPrecondition: {Kind: KindConflict, Reason: "FAILED_PRECONDITION"},
		connect.CodePermissionDenied:   {Kind: KindDenied, Reason: "PERMISSION_DENIED"},
		connect.CodeResourceExhausted:  {Kind: KindExhausted, Reason: "RESOURCE_EXHAUSTED"},
	} {
		if known.Code() == code {
			out.Kind, out.Reason, out.Field, out.Msg = is.Kind, is.Reason, is.Field, text
		}
	}
	return out
}
