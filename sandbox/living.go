package sandbox

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/soulbox/soulbox/cgroups"
	"github.com/soulbox/soulbox/sandbox/agent/client"
)

const (
	// diskEvery is the rest between two looks at what a sandbox has written.
	diskEvery = 5 * time.Second
	// diskGlance is the rest between two glances at the free space of the file system; what a sandbox writes in between is
	// the overshoot.
	diskGlance = 500 * time.Millisecond
	// minDiskLeft is how much others may write, in bytes, before each sandbox near its limit is looked at again.
	minDiskLeft = 64 << 20
	// maxWalk bounds the files that a look counts.
	maxWalk = 1_000_000
	// pollMemoryEvery is the rest between two looks at memory that no cgroup bounds.
	pollMemoryEvery = 100 * time.Millisecond
	// noteKillsEvery is the rest between two entries of a sandbox's log about such memory.
	noteKillsEvery = time.Minute
	// freezeTime bounds how long the kernel may take to freeze or thaw a sandbox.
	freezeTime = 10 * time.Second
)

// living is a sandbox that runs or is paused. One goroutine keeps its time; it ends with the sandbox.
type living struct {
	s      *Sandboxes
	box    *box
	tenant string
	client string        // id of the key that made it
	turn   chan struct{} // holds one token: whoever has it changes the state
	wake   chan struct{} // cap 1: times have changed
	stop   context.CancelFunc
	gone   chan struct{} // closed when nothing is left

	mu      sync.Mutex
	rec     Sandbox
	users   int       // calls and streams that use it now
	lastUse time.Time // when users became 0
	verdict *ending   // why it is to end; set once
	left    bool      // it lives on without this daemon; excludes verdict
	frozen  bool      // some of its processes may be
	disk    int64     // bytes written, as of the last look
}

// ending is how a sandbox ends.
type ending struct {
	state  SandboxState
	reason string
}

// level is how much the end matters in the sandbox's log.
func (e *ending) level() LogLevel {
	if e.state == SandboxFailed {
		return LogWarn
	}
	return LogInfo
}

// live starts to keep a sandbox's time.
func (s *Sandboxes) live(b *box, rec Sandbox) *living {
	ctx, stop := context.WithCancel(context.WithoutCancel(s.e.ctx))
	l := &living{s: s, box: b, tenant: rec.Tenant, client: rec.Client, turn: make(chan struct{}, 1), wake: make(chan struct{}, 1),
		stop: stop, gone: make(chan struct{}), rec: rec, lastUse: time.Now()}
	l.turn <- struct{}{}
	s.e.wg.Go(func() { l.keep(ctx) })
	return l
}

func (l *living) snapshot() Sandbox {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rec.clone()
}

// end asks for the sandbox's end, once; who wants to know that it is over waits for gone.
func (l *living) end(state SandboxState, reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.verdict == nil && !l.left {
		l.verdict = &ending{state, reason}
		l.stop()
	}
}

// use says that a caller uses the sandbox until it calls the function returned.
func (l *living) use() func() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.users++
	var once sync.Once
	return func() {
		once.Do(func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.users--
			l.lastUse = time.Now()
			l.nudge()
		})
	}
}

// nudge has the keeper look at the times again.
func (l *living) nudge() {
	select {
	case l.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// next returns when something is due, and what; the zero time is never.
func (l *living) next(now time.Time) (at time.Time, due *ending) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.rec.State != SandboxRunning {
		return time.Time{}, nil
	}
	at = l.rec.DeadlineAt
	reason := "its time ran out"
	if l.rec.IdleTimeout > 0 && l.users == 0 {
		if idle := l.lastUse.Add(l.rec.IdleTimeout); at.IsZero() || idle.Before(at) {
			at, reason = idle, fmt.Sprintf("nobody used it for %s", l.rec.IdleTimeout)
		}
	}
	if !at.IsZero() && !now.Before(at) {
		return at, &ending{SandboxStopped, reason}
	}
	return at, nil
}

// keep ends the sandbox when its time has come, its agent is gone, or it holds more than it may, and takes it apart.
func (l *living) keep(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var helpers sync.WaitGroup
	agentGone := make(chan error, 1)
	helpers.Go(func() { agentGone <- l.box.agent.Wait(ctx) })
	helpers.Go(func() { l.watchDisk(ctx) })
	if !l.kept().Memory && !l.box.rt.Info().OwnKernel {
		helpers.Go(func() { l.watchMemory(ctx) })
	}
	for ctx.Err() == nil {
		at, due := l.next(time.Now())
		if due != nil {
			l.end(due.state, due.reason)
			break
		}
		var timer <-chan time.Time
		if !at.IsZero() {
			timer = time.After(time.Until(at))
		}
		select {
		case <-ctx.Done():
		case <-timer:
		case <-l.wake:
		case err := <-agentGone:
			if ctx.Err() == nil {
				l.s.e.log.Warn("a sandbox ended by itself", "id", l.box.id, "err", err)
				l.end(SandboxFailed, l.deathReason())
			}
		}
	}
	l.stop()
	helpers.Wait()
	<-l.turn // what changes it now finishes first; nobody gets a turn any more
	l.mu.Lock()
	left := l.left
	l.mu.Unlock()
	if left {
		if err := l.box.agent.Close(); err != nil {
			l.s.e.log.Warn("the connection to a sandbox did not close", "id", l.box.id, "err", err)
		}
		close(l.gone)
		return
	}
	l.bury()
}

// deathReason says why the agent of a sandbox may have died.
func (l *living) deathReason() string {
	st, err := l.sessionStats()
	if err == nil && st.OOMKills > 0 || l.box.outOfMemory() {
		return "it ended by itself, out of memory"
	}
	return "it ended by itself"
}

// bury takes the sandbox apart and journals its end.
func (l *living) bury() {
	l.mu.Lock()
	verdict := l.verdict
	l.mu.Unlock()
	ctx := context.WithoutCancel(l.s.e.ctx)
	l.s.e.collectCoverage(ctx, l.box)
	if err := l.thawToDie(ctx); err != nil {
		l.s.e.log.Warn("a paused sandbox could not be thawed to end", "id", l.box.id, "err", err)
	}
	if err := l.box.close(ctx); err != nil {
		l.s.e.log.Error("sandbox was not removed completely; a restart of the daemon reaps what is left", "id", l.box.id, "err", err)
	}
	l.mu.Lock()
	l.rec.State, l.rec.Reason, l.rec.EndedAt = verdict.state, verdict.reason, time.Now().UTC()
	l.rec.note(verdict.level(), "it ended: "+verdict.reason)
	rec := l.rec.clone()
	l.mu.Unlock()
	put, cancel := context.WithTimeout(ctx, journalTime)
	defer cancel()
	if err := l.s.o.Journal.PutSandbox(put, &rec); err != nil {
		l.s.e.log.Error("the end of a sandbox was not journalled", "id", rec.ID, "err", err)
	}
	l.s.forget(rec.ID)
	close(l.gone)
}

// thawToDie ends and thaws what is frozen: on cgroup v1 it would not die.
func (l *living) thawToDie(ctx context.Context) error {
	l.mu.Lock()
	frozen := l.frozen
	l.mu.Unlock()
	if !frozen || !l.kept().Freeze {
		return nil
	}
	// Nothing of it is to run on: what is thawed has been killed before.
	kill, cancel := context.WithTimeout(ctx, freezeTime)
	defer cancel()
	return l.box.cg.User().Kill(kill)
}

// watchDisk looks at what the sandbox has written, and ends one that holds more than it may. It looks now and then, and at
// once when the whole file system lost so much that this sandbox could be over its limit.
func (l *living) watchDisk(ctx context.Context) {
	upper := filepath.Join(l.s.e.sandboxDir(l.box.id), upperDir)
	glance := time.NewTicker(diskGlance)
	defer glance.Stop()
	due, free := time.Now().Add(diskEvery), l.diskFree()
	for {
		select {
		case <-ctx.Done():
			return
		case <-glance.C:
		}
		start, now := time.Now(), l.diskFree()
		if start.Before(due) && free-now < l.diskLeft() {
			continue
		}
		free = now
		n, more, err := diskUsed(ctx, upper, maxWalk)
		if err != nil {
			continue // it is being removed
		}
		// A look may take a tenth of the time.
		due = time.Now().Add(max(diskEvery, 10*time.Since(start)))
		l.mu.Lock()
		l.disk = n
		limit := l.rec.Limits.Disk
		l.mu.Unlock()
		switch {
		case more:
			l.end(SandboxFailed, fmt.Sprintf("disk limit: it holds more than %d files", maxWalk))
		case n > limit:
			l.end(SandboxFailed, fmt.Sprintf("disk limit: it wrote %d bytes, more than %d", n, limit))
		}
	}
}

// diskLeft is what the sandbox could write after the last look without exceeding its limit, in bytes.
func (l *living) diskLeft() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(l.rec.Limits.Disk-l.disk, minDiskLeft)
}

// diskFree is what is free on the file system that sandboxes write to, in bytes; 0 where nobody tells.
func (l *living) diskFree() int64 {
	if l.s.o.DiskFree == nil {
		return 0
	}
	free, err := l.s.o.DiskFree()
	if err != nil {
		return 0
	}
	return int64(min(free, math.MaxInt64))
}

// watchMemory kills the processes of a sandbox that hold more memory than they may, where no cgroup does.
func (l *living) watchMemory(ctx context.Context) {
	var noted time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pollMemoryEvery):
		}
		m, err := l.box.agent.Measure(ctx)
		if err != nil || m.Memory <= l.snapshot().Limits.Memory {
			continue
		}
		_ = l.box.agent.SignalAll(ctx, syscall.SIGKILL) // it is looked at again
		// Programs must not make the log, which lies on disk, as fast as they die.
		if time.Since(noted) < noteKillsEvery {
			continue
		}
		noted = time.Now()
		l.noteNow(ctx, LogWarn, fmt.Sprintf("its processes held %d bytes, more than it may: they were killed", m.Memory))
	}
}

// noteNow adds to the sandbox's log, on disk too.
func (l *living) noteNow(ctx context.Context, level LogLevel, message string) {
	_, err := l.change(ctx, "sandbox.note", func(rec *Sandbox) (func() error, error) {
		rec.note(level, message)
		return nil, nil
	})
	if err != nil && ctx.Err() == nil {
		l.s.e.log.Warn("an entry of a sandbox's log was not kept", "id", l.box.id, "entry", message, "err", err)
	}
}

// change has fn change the sandbox and its record, and journals it. What fn did is undone by the function that it returns,
// which may be nil, when that fails. Changes come one after another.
func (l *living) change(ctx context.Context, op string, fn func(*Sandbox) (undo func() error, err error)) (Sandbox, error) {
	select {
	case <-l.turn:
	case <-l.gone:
		return Sandbox{}, ended(op, l.snapshot())
	case <-ctx.Done():
		return Sandbox{}, canceled(ctx, op)
	}
	defer func() { l.turn <- struct{}{} }()
	l.mu.Lock()
	dying := l.verdict != nil
	rec := l.rec.clone()
	l.mu.Unlock()
	if dying {
		return Sandbox{}, ended(op, rec)
	}
	undo, err := fn(&rec)
	if err != nil {
		return Sandbox{}, err
	}
	put, cancel := context.WithTimeout(context.WithoutCancel(ctx), journalTime)
	defer cancel()
	if err := l.s.o.Journal.PutSandbox(put, &rec); err != nil {
		if undo != nil {
			if back := undo(); back != nil {
				l.s.e.log.Error("a change of a sandbox was not journalled and could not be undone", "id", rec.ID, "err", back)
			}
		}
		return Sandbox{}, internal(op, "journal the sandbox", err)
	}
	l.mu.Lock()
	l.rec = rec
	l.mu.Unlock()
	l.nudge()
	return rec.clone(), nil
}

// freeze stops or continues all processes of the session. When they cannot all be stopped none is.
func (l *living) freeze(ctx context.Context, on bool) error {
	if on {
		l.setFrozen(true)
	}
	err := l.tryFreeze(ctx, on)
	switch {
	case err == nil && !on:
		l.setFrozen(false)
	case err != nil && on:
		return errors.Join(err, l.freeze(ctx, false))
	}
	return err
}

func (l *living) setFrozen(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.frozen = on
}

func (l *living) tryFreeze(ctx context.Context, on bool) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), freezeTime)
	defer cancel()
	switch group := l.box.cg.User(); {
	case !l.kept().Freeze:
		// Every process sees this, and one that the session starts meanwhile runs on.
		signal := syscall.SIGCONT
		if on {
			signal = syscall.SIGSTOP
		}
		return l.box.agent.SignalAll(ctx, signal)
	case on:
		return group.Freeze(ctx)
	default:
		return group.Thaw(ctx)
	}
}

// kept is [Engine.kept] of its runtime.
func (l *living) kept() cgroups.Enforced { return l.s.e.kept(l.box.rt) }

// sessionStats reads the counters of the session's own group: only there cgroup v1 counts who was killed for memory.
func (l *living) sessionStats() (cgroups.Stats, error) { return l.box.cg.SlotStats(sessionSlot) }

// Stats is what a sandbox uses.
type Stats struct {
	At             time.Time
	CPUUser        time.Duration // since it started
	CPUSystem      time.Duration
	Memory         int64 // bytes
	MemoryPeak     int64 // bytes; 0: not known
	MemoryLimit    int64
	Processes      int64 // and threads
	ProcessLimit   int64
	Disk           int64 // bytes written, as of the last look
	DiskLimit      int64
	OOMKills       int64
	ThrottledForks int64 // how often fork failed at the limit
}

// stats reads the counters.
func (l *living) stats(ctx context.Context) (Stats, error) {
	rec := l.snapshot()
	l.mu.Lock()
	out := Stats{At: time.Now().UTC(), MemoryLimit: rec.Limits.Memory, ProcessLimit: rec.Limits.Processes, Disk: l.disk, DiskLimit: rec.Limits.Disk}
	l.mu.Unlock()
	has := l.kept()
	var st, session cgroups.Stats
	if has.Memory || has.CPUTime || has.Pids {
		var err, err2 error
		st, err = l.box.cg.User().Stats()
		session, err2 = l.sessionStats()
		if err := errors.Join(err, err2); err != nil {
			return Stats{}, fmt.Errorf("read counters of sandbox %s: %w", rec.ID, err)
		}
	}
	var m client.Measurement
	if !has.Memory || !has.CPUTime || !has.Pids {
		var err error
		if m, err = l.box.agent.Measure(ctx); err != nil {
			return Stats{}, err
		}
	}
	out.CPUUser, out.CPUSystem, out.Memory, out.Processes = m.User, m.System, m.Memory, m.Processes
	out.MemoryPeak, out.OOMKills, out.ThrottledForks = m.PeakMemory, m.MemoryKills, m.RefusedForks
	if has.CPUTime {
		out.CPUUser, out.CPUSystem = st.CPUUser, st.CPUSystem
	}
	if has.Memory {
		out.Memory, out.MemoryPeak, out.OOMKills = st.MemoryCurrent, st.MemoryPeak, session.OOMKills
	}
	if has.Pids {
		out.Processes, out.ThrottledForks = max(st.PidsCurrent-1, 0), st.PidsMaxEvents // without the launcher
	}
	return out, nil
}
