package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"os"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sys/unix"

	"github.com/soulbox/soulbox/sandbox/agent/agentpb"
)

// Bounds of what a session's agent can claim.
const (
	maxKnown = 4096     // processes in a list
	maxText  = 64 << 10 // bytes of a name, a command or one of its arguments, as listed
)

// SessionSpec describes a session.
type SessionSpec struct {
	Slot    SlotSpec
	Keep    uint64            // capabilities that setuid programs can have, as 1 << CAP_*
	Env     map[string]string // of every process
	User    string            // default user; empty: "user"
	Workdir string            // empty: the user's home
	Rlimits []Rlimit
}

// OpenSession makes the sandbox's session; its PID 1 joins the cgroups as with [Client.Prepare].
func (c *Client) OpenSession(ctx context.Context, spec SessionSpec, cgroupProcs []*os.File) error {
	slot, err := c.order(ctx, spec.Slot, cgroupProcs)
	if err != nil {
		return err
	}
	req := &agentpb.OpenRequest{
		Slot:             slot,
		KeepCapabilities: spec.Keep, Envs: spec.Env, DefaultUser: spec.User, Workdir: spec.Workdir,
	}
	for _, r := range spec.Rlimits {
		req.Rlimits = append(req.Rlimits, &agentpb.Rlimit{Resource: uint32(r.Resource), Soft: r.Soft, Hard: r.Hard})
	}
	if _, err := c.sessions.Open(ctx, connect.NewRequest(req)); err != nil {
		return fmt.Errorf("open session: %w", err)
	}
	return nil
}

// Wait returns when the session is over or the agent is gone, and why, or when ctx ends.
func (c *Client) Wait(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, agentURL+"/wait", nil)
	if err != nil {
		return fmt.Errorf("wait for the session's end: %w", err)
	}
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("wait for the session's end: %w", err)
	}
	defer resp.Body.Close()
	var one [1]byte
	if n, err := resp.Body.Read(one[:]); n > 0 || !errors.Is(err, io.EOF) {
		return fmt.Errorf("wait for the session's end: %w", cmp.Or(err, errors.New("the agent answered what it should not")))
	}
	return errors.New("the session is over")
}

// Transport carries HTTP requests to the agent, whatever their URL's host is. What comes back is hostile input.
func (c *Client) Transport() http.RoundTripper { return c.transport }

// ProcessSpec says what to start in a session.
type ProcessSpec struct {
	Args  []string
	Env   map[string]string // beside the session's
	Dir   string            // absolute, "~/x" or relative to the user's home; empty: the session's
	User  string            // name or id; empty: the session's
	Size  *TerminalSize     // nil: no terminal
	Stdin bool              // standard input stays open
	Input []byte            // what it reads first
	Tag   string
	// Follow says that its output is followed from the beginning at once: none of it is dropped before that.
	Follow bool
}

// TerminalSize is in characters.
type TerminalSize struct{ Columns, Rows uint32 }

func (t *TerminalSize) message() *agentpb.PTY {
	if t == nil {
		return nil
	}
	return &agentpb.PTY{Size: &agentpb.PTY_Size{Cols: t.Columns, Rows: t.Rows}}
}

// Launch starts a process, which lives on without its caller, and returns its pid. What is wrong with spec has the code
// invalid_argument.
func (c *Client) Launch(ctx context.Context, spec ProcessSpec) (uint32, error) {
	if len(spec.Args) == 0 {
		return 0, errors.New("launch process: no command")
	}
	req := &agentpb.LaunchRequest{
		Process: &agentpb.ProcessConfig{Cmd: spec.Args[0], Args: spec.Args[1:], Envs: spec.Env},
		User:    spec.User, Pty: spec.Size.message(), Stdin: spec.Stdin, Input: spec.Input, Tag: spec.Tag, Follow: spec.Follow,
	}
	if spec.Dir != "" {
		req.Process.Cwd = &spec.Dir
	}
	resp, err := c.sessions.Launch(ctx, connect.NewRequest(req))
	if err != nil {
		return 0, fmt.Errorf("launch process: %w", err)
	}
	if resp.Msg.GetPid() == 0 {
		return 0, errors.New("launch process: the agent answered no pid")
	}
	return resp.Msg.GetPid(), nil
}

// ProcessOutput is a piece of what a process printed.
type ProcessOutput struct {
	Offset                   int64  // of the piece among all it printed
	Stdout, Stderr, Terminal []byte // one of them
}

// ProcessExit is how a process ended.
type ProcessExit struct {
	Status             unix.WaitStatus
	Wall, User, System time.Duration
	MaxRSS             int64 // bytes
}

// ProcessEvent has one of its fields, or none: the stream lives.
type ProcessEvent struct {
	Output *ProcessOutput
	Exit   *ProcessExit
}

// Follow yields what a process printed from an offset on, as far as it is kept, what it prints, and its exit, after
// which it ends. An error is the last it yields.
func (c *Client) Follow(ctx context.Context, pid uint32, offset int64) iter.Seq2[ProcessEvent, error] {
	return func(yield func(ProcessEvent, error) bool) {
		stream, err := c.sessions.Follow(ctx, connect.NewRequest(&agentpb.FollowRequest{Pid: pid, Offset: offset}))
		if err != nil {
			yield(ProcessEvent{}, fmt.Errorf("follow process %d: %w", pid, err))
			return
		}
		defer stream.Close()
		for stream.Receive() {
			ev, done := followEvent(stream.Msg())
			if !yield(ev, nil) || done {
				return
			}
		}
		err = stream.Err()
		if err == nil {
			err = errors.New("the agent's answer has no end")
		}
		yield(ProcessEvent{}, fmt.Errorf("follow process %d: %w", pid, err))
	}
}

func followEvent(m *agentpb.FollowResponse) (_ ProcessEvent, done bool) {
	if e := m.GetEnded(); e != nil {
		x := processExit(e)
		return ProcessEvent{Exit: &x}, true
	}
	o := m.GetOutput()
	if o == nil {
		return ProcessEvent{}, false
	}
	return ProcessEvent{Output: &ProcessOutput{Offset: max(o.GetOffset(), 0), Stdout: o.GetData().GetStdout(), Stderr: o.GetData().GetStderr(),
		Terminal: o.GetData().GetPty()}}, false
}

func processExit(e *agentpb.Ended) ProcessExit {
	return ProcessExit{Status: unix.WaitStatus(e.GetWaitStatus() & 0xffff), Wall: duration(e.GetWallNanos()), User: duration(e.GetUserNanos()),
		System: duration(e.GetSystemNanos()), MaxRSS: max(e.GetMaxRssBytes(), 0)}
}

func byPID(pid uint32) *agentpb.ProcessSelector {
	return &agentpb.ProcessSelector{Selector: &agentpb.ProcessSelector_Pid{Pid: pid}}
}

// Write gives a process input, to its terminal or its standard input.
func (c *Client) Write(ctx context.Context, pid uint32, data []byte, terminal bool) error {
	in := &agentpb.ProcessInput{Input: &agentpb.ProcessInput_Stdin{Stdin: data}}
	if terminal {
		in = &agentpb.ProcessInput{Input: &agentpb.ProcessInput_Pty{Pty: data}}
	}
	if _, err := c.processes.SendInput(ctx, connect.NewRequest(&agentpb.SendInputRequest{Process: byPID(pid), Input: in})); err != nil {
		return fmt.Errorf("write to process %d: %w", pid, err)
	}
	return nil
}

// CloseInput ends a process's standard input.
func (c *Client) CloseInput(ctx context.Context, pid uint32) error {
	if _, err := c.processes.CloseStdin(ctx, connect.NewRequest(&agentpb.CloseStdinRequest{Process: byPID(pid)})); err != nil {
		return fmt.Errorf("close the input of process %d: %w", pid, err)
	}
	return nil
}

// Resize gives a process's terminal a size.
func (c *Client) Resize(ctx context.Context, pid uint32, size TerminalSize) error {
	if _, err := c.processes.Update(ctx, connect.NewRequest(&agentpb.UpdateRequest{Process: byPID(pid), Pty: size.message()})); err != nil {
		return fmt.Errorf("resize the terminal of process %d: %w", pid, err)
	}
	return nil
}

// Signal sends a signal to a process, or to its whole group.
func (c *Client) Signal(ctx context.Context, pid uint32, signal unix.Signal, group bool) error {
	_, err := c.sessions.Signal(ctx, connect.NewRequest(&agentpb.SignalRequest{Pid: pid, Signal: uint32(signal), Group: group}))
	if err != nil {
		return fmt.Errorf("signal process %d: %w", pid, err)
	}
	return nil
}

// SignalAll sends a signal to every process of the session.
func (c *Client) SignalAll(ctx context.Context, signal unix.Signal) error {
	_, err := c.sessions.Signal(ctx, connect.NewRequest(&agentpb.SignalRequest{Signal: uint32(signal), Everybody: true}))
	if err != nil {
		return fmt.Errorf("signal the session: %w", err)
	}
	return nil
}

// Process is a process that a session knows.
type Process struct {
	PID       uint32
	Args      []string
	Dir       string
	User, Tag string
	Terminal  bool
	StartedAt time.Time
	Exit      *ProcessExit // nil while it runs
	Printed   int64        // bytes
	KeptFrom  int64        // offset of the first byte that is kept
}

// Processes lists what the session has started, those too that ended a while ago.
func (c *Client) Processes(ctx context.Context) ([]Process, error) {
	resp, err := c.sessions.Processes(ctx, connect.NewRequest(&agentpb.ProcessesRequest{}))
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	known := resp.Msg.GetProcesses()
	if len(known) > maxKnown {
		return nil, fmt.Errorf("list processes: the agent answered %d, more than %d", len(known), maxKnown)
	}
	list := make([]Process, 0, len(known))
	for _, k := range known {
		p := Process{PID: k.GetPid(), Dir: clip(k.GetProcess().GetCwd(), maxText), User: clip(k.GetUser(), maxText), Tag: clip(k.GetTag(), maxText),
			Terminal: k.GetPty(), StartedAt: k.GetStartedAt().AsTime(), Printed: max(k.GetPrinted(), 0), KeptFrom: max(k.GetKeptFrom(), 0)}
		for _, a := range append([]string{k.GetProcess().GetCmd()}, k.GetProcess().GetArgs()...) {
			p.Args = append(p.Args, clip(a, maxText))
		}
		if k.GetEnded() != nil {
			x := processExit(k.GetEnded())
			p.Exit = &x
		}
		list = append(list, p)
	}
	return list, nil
}

// Measurement is what a session's processes use, by looking at each of them.
type Measurement struct {
	User, System time.Duration // of the living, and of the dead that were waited for
	Memory       int64         // bytes
	Processes    int64         // and threads
	PeakMemory   int64         // bytes; this and what follows only with OwnGroup
	MemoryKills  int64         // how often its processes were killed for what they held
	RefusedForks int64
}

// Measure looks at the session's processes.
func (c *Client) Measure(ctx context.Context) (Measurement, error) {
	resp, err := c.sessions.Measure(ctx, connect.NewRequest(&agentpb.MeasureRequest{}))
	if err != nil {
		return Measurement{}, fmt.Errorf("measure session: %w", err)
	}
	m := resp.Msg
	return Measurement{User: duration(m.GetUserNanos()), System: duration(m.GetSystemNanos()), Memory: max(m.GetMemoryBytes(), 0),
		Processes: max(m.GetProcesses(), 0), PeakMemory: max(m.GetPeakMemoryBytes(), 0), MemoryKills: max(m.GetMemoryKills(), 0),
		RefusedForks: max(m.GetRefusedForks(), 0)}, nil
}

// LimitSession changes the limits of a session that was opened with OwnGroup.
func (c *Client) LimitSession(ctx context.Context, processes, memory int64) error {
	req := &agentpb.LimitRequest{Group: &agentpb.OwnGroup{Processes: processes, MemoryBytes: memory}}
	if _, err := c.sessions.Limit(ctx, connect.NewRequest(req)); err != nil {
		return fmt.Errorf("limit session: %w", err)
	}
	return nil
}
