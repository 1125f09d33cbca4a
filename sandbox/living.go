package sandbox

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/soulbox/soulbox/cgroups"
)

// freezeTime bounds how long the kernel may take to freeze or thaw a sandbox.
const freezeTime = 10 * time.Second

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
