package sandbox

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/soulbox/soulbox/cgroups"
	"github.com/soulbox/soulbox/images"
	"github.com/soulbox/soulbox/sandbox/agent/client"
)

const (
	// stackBytes is every program's stack limit: address space, counted as memory only once it is touched.
	stackBytes = 64 << 20
	// killTime is how long a killed slot may take to tell how it ended before its sandbox is given up.
	killTime = 5 * time.Second
	// agentTime bounds every call to an agent that runs no program: a hostile one must not hold a place for ever.
	agentTime = time.Minute
	// cpuPollMin and cpuPollMax bound the pauses between two readings of the CPU time used.
	cpuPollMin = 2 * time.Millisecond
	cpuPollMax = 500 * time.Millisecond
	// tailBytes of stderr are searched for a runtime's own way to run out of memory.
	tailBytes = 16 << 10
)

// fillFunc puts files into a fresh slot.
type fillFunc func(context.Context, *slot) error

// stepSpec is one program to run in one slot.
type stepSpec struct {
	name        string
	command     images.Command
	limits      Limits
	stdin       []byte
	fill        fillFunc
	room        room // for what fill puts there
	compile     bool
	outOfMemory func(exit int, sig syscall.Signal, stderrTail []byte) bool
}

// step runs one program in a slot of its own and judges what came of it. The slot stays open, for its files; it is nil when
// the program took its sandbox with it.
func (e *Engine) step(ctx context.Context, a *active, b *box, spec stepSpec) (*slot, *Step, error) {
	s, err := e.filledSlot(ctx, b, spec)
	if err != nil {
		return nil, nil, err
	}
	out := &Step{}
	has := e.kept(b.rt)
	w := newWatch(s, spec.limits, has.CPUTime)
	var began time.Time
	emit := func(ev client.Event) {
		if ev.Started {
			w.begin()
			began = time.Now()
		}
		e.emit(a, s, has, spec.compile, out, ev)
	}
	run, abandon := context.WithCancelCause(context.WithoutCancel(ctx))
	defer abandon(nil)
	w.start(ctx, func() {
		abandon(fmt.Errorf("the agent of sandbox %s did not answer within %s of a kill", b.id, killTime))
	})
	exit, err := s.Run(run, command(spec, has, b.rt.Info().OwnKernel), emit)
	w.stop()
	if err != nil && b.outOfMemory() { // the whole sandbox went with its program
		out.ExitCode = -1
		out.Usage = Usage{Wall: time.Since(began), PeakMemory: spec.limits.Memory}
		out.Verdict, out.LimitsHit = Judge(Facts{OOMKills: 1, Cancelled: ctx.Err() != nil})
		return nil, out, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("sandbox %s: %w", b.id, err)
	}
	if exit.StartErrno != 0 { // told like output, since what is told live and what is recorded must agree
		msg := "soulbox: cannot start the program: " + exit.StartError() + "\n"
		emit(client.Event{Stderr: []byte(msg)[:min(int64(len(msg)), spec.limits.Output)]})
	}
	stats, err := s.stats()
	if err != nil {
		return nil, nil, fmt.Errorf("read usage of sandbox %s: %w", b.id, err)
	}
	fillStep(out, exit, stats, has)
	facts := factsOf(exit, stats, w)
	switch {
	case b.rt.Info().OwnKernel:
		facts.PidsMax = exit.RefusedForks > 0
	case !has.Pids: // the kernel does not tell who was refused a process; whoever had all it may have is taken to be
		facts.PidsMax = exit.PeakProcesses >= spec.limits.Processes
	}
	facts.Cancelled = ctx.Err() != nil
	facts.OutOfMemory = spec.outOfMemory(out.ExitCode, facts.Signal, out.Stderr[max(0, len(out.Stderr)-tailBytes):])
	out.Verdict, out.LimitsHit = Judge(facts)
	return s, out, nil
}

// filledSlot prepares a slot and puts its files there, within [agentTime].
func (e *Engine) filledSlot(ctx context.Context, b *box, spec stepSpec) (*slot, error) {
	ctx, cancel := context.WithTimeout(ctx, agentTime)
	defer cancel()
	s, err := e.openSlot(ctx, b, spec.name, spec.limits, spec.room)
	if err != nil {
		return nil, err
	}
	return s, spec.fill(ctx, s)
}

// emit keeps output and passes it on.
func (e *Engine) emit(a *active, s *slot, has cgroups.Enforced, compile bool, out *Step, ev client.Event) {
	if len(ev.Stdout) > 0 {
		out.Stdout = append(out.Stdout, ev.Stdout...)
		a.log.append(Event{Kind: EventStdout, Data: ev.Stdout, Compile: compile})
	}
	if len(ev.Stderr) > 0 {
		out.Stderr = append(out.Stderr, ev.Stderr...)
		a.log.append(Event{Kind: EventStderr, Data: ev.Stderr, Compile: compile})
	}
	if ev.Usage == nil {
		return
	}
	u := Usage{Wall: ev.Usage.Wall, User: ev.Usage.User, System: ev.Usage.System, PeakMemory: ev.Usage.Memory}
	if st, err := s.stats(); err == nil {
		if has.CPUTime {
			u.User, u.System = st.CPUUser, st.CPUSystem
		}
		if has.Memory {
			u.PeakMemory = st.MemoryPeak
		}
	}
	a.log.append(Event{Kind: EventUsage, Usage: u, Compile: compile})
}

// command adds to a recipe's command what keeps its limits, beside the cgroups.
func command(spec stepSpec, has cgroups.Enforced, ownGroup bool) client.Command {
	l := spec.limits
	c := client.Command{
		Args: spec.command.Args, Env: spec.command.Env, Dir: spec.command.Dir, Stdin: spec.stdin,
		DiskBytes: l.Disk, Inodes: l.Inodes, OutputBytes: l.Output,
		Rlimits: []client.Rlimit{
			{Resource: unix.RLIMIT_NOFILE, Soft: uint64(l.OpenFiles), Hard: uint64(l.OpenFiles)},
			{Resource: unix.RLIMIT_FSIZE, Soft: uint64(l.FileSize), Hard: uint64(l.FileSize)},
			{Resource: unix.RLIMIT_STACK, Soft: stackBytes, Hard: stackBytes},
		},
	}
	// One process alone cannot outrun the CPU limit even where nobody polls; the second on top leaves the verdict to
	// who counts the whole tree.
	seconds := uint64(math.Ceil(l.CPUTime.Seconds())) + 1
	c.Rlimits = append(c.Rlimits, client.Rlimit{Resource: unix.RLIMIT_CPU, Soft: seconds, Hard: seconds + 1})
	if !has.Pids && !ownGroup {
		c.Rlimits = append(c.Rlimits, client.Rlimit{Resource: unix.RLIMIT_NPROC, Soft: uint64(l.Processes), Hard: uint64(l.Processes)})
	}
	if !has.Memory {
		c.PollMemory = l.Memory
	}
	if !has.CPUTime {
		c.PollCPU = l.CPUTime
	}
	return c
}

// fillStep takes over what was counted, from the cgroup where there is one.
func fillStep(out *Step, exit client.Exit, stats cgroups.Stats, has cgroups.Enforced) {
	out.ExitCode = -1
	switch {
	case exit.StartErrno != 0:
		// As a shell says it: not found, or found and not executable.
		out.ExitCode = 126
		if exit.StartErrno == unix.ENOENT {
			out.ExitCode = 127
		}
	case exit.Status.Exited():
		out.ExitCode = exit.Status.ExitStatus()
	case exit.Status.Signaled():
		out.Signal = unix.SignalName(exit.Status.Signal())
	}
	out.StdoutTruncated, out.StderrTruncated = exit.StdoutTruncated, exit.StderrTruncated
	out.Usage = Usage{Wall: exit.Wall, User: exit.TreeUser, System: exit.TreeSystem, PeakMemory: max(exit.PeakPolled, exit.MaxRSS)}
	if out.Usage.User+out.Usage.System == 0 {
		out.Usage.User, out.Usage.System = exit.User, exit.System
	}
	if has.CPUTime {
		out.Usage.User, out.Usage.System = stats.CPUUser, stats.CPUSystem
	}
	if has.Memory {
		out.Usage.PeakMemory = stats.MemoryPeak
	}
}

// factsOf gathers what is known of an ended step.
func factsOf(exit client.Exit, stats cgroups.Stats, w *watch) Facts {
	f := Facts{
		Exited: exit.Status.Exited() || exit.StartErrno != 0, ExitCode: exit.Status.ExitStatus(),
		MemoryPolled: exit.MemoryExceeded, OutputExceeded: exit.OutputExceeded, CPUExceeded: exit.CPUExceeded || w.cpuExceeded, Deadline: w.deadline,
		OOMKills: stats.OOMKills, DiskFull: exit.DiskFull, InodesFull: exit.InodesFull, PidsMax: stats.PidsMaxEvents > 0,
	}
	if !f.Exited && exit.Status.Signaled() {
		f.Signal = exit.Status.Signal()
	}
	if exit.StartErrno != 0 {
		f.ExitCode = 127
	}
	// How a shell reports that its child died of it; or what a program leaves that ignored it.
	f.FileSizeSignal = f.Exited && (f.ExitCode == 128+int(syscall.SIGXFSZ) || exit.FileFull)
	return f
}

// watch keeps the limits that the daemon keeps itself: wall time, CPU time of the tree, and the caller's patience.
type watch struct {
	slot  *slot
	wall  time.Duration
	cpu   time.Duration // 0: not polled here
	began chan struct{} // closed by begin: the wall time runs
	once  sync.Once
	ended chan struct{}
	gone  chan struct{}

	// Read after stop.
	deadline    bool
	cpuExceeded bool
}

func newWatch(s *slot, l Limits, pollCPU bool) *watch {
	w := &watch{slot: s, wall: l.WallTime, began: make(chan struct{}), ended: make(chan struct{}), gone: make(chan struct{})}
	if pollCPU {
		w.cpu = l.CPUTime
	}
	return w
}

// begin starts the clock. Only the first call counts, whatever an agent says later.
func (w *watch) begin() { w.once.Do(func() { close(w.began) }) }

// start watches until stop. ctx's end kills the slot; abandon is called when a killed slot does not end.
func (w *watch) start(ctx context.Context, abandon func()) {
	go func() {
		defer close(w.gone)
		if !w.untilKill(ctx) {
			return
		}
		kill, cancel := context.WithTimeout(context.WithoutCancel(ctx), killTime)
		defer cancel()
		if err := w.slot.Kill(kill); err != nil {
			abandon()
			return
		}
		select {
		case <-w.ended:
		case <-kill.Done():
			abandon()
		}
	}()
}

// untilKill returns true when the slot is to be killed, false when its program ended first.
func (w *watch) untilKill(ctx context.Context) bool {
	// Until the program has begun the deadline is the agent's, for starting it.
	deadline := time.NewTimer(w.wall + startTime)
	defer deadline.Stop()
	began := w.began
	var poll <-chan time.Time
	if w.cpu > 0 {
		poll = time.After(w.pause(0))
	}
	for {
		select {
		case <-w.ended:
			return false
		case <-ctx.Done():
			return true
		case <-began:
			began = nil
			deadline.Reset(w.wall)
		case <-deadline.C:
			w.deadline = true
			return true
		case <-poll:
			st, err := w.slot.stats()
			if err == nil && st.CPUTotal >= w.cpu {
				w.cpuExceeded = true
				return true
			}
			poll = time.After(w.pause(st.CPUTotal))
		}
	}
}

// pause is how long the program needs at least to use up what is left, all CPUs busy.
func (w *watch) pause(used time.Duration) time.Duration {
	return min(max((w.cpu-used)/time.Duration(runtime.NumCPU()), cpuPollMin), cpuPollMax)
}

func (w *watch) stop() {
	close(w.ended)
	<-w.gone
}
