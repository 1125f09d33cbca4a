package sandbox

import (
	"context"
	"errors"
	"time"
)

// SetTimeout lets a sandbox live for d from now on; 0 is for ever. It may shorten its time. A paused one gets d when it
// is resumed.
func (s *Sandboxes) SetTimeout(ctx context.Context, tenant string, id ID, d time.Duration) (Sandbox, error) {
	const op = "sandbox.SetTimeout"
	l, err := s.living(ctx, op, tenant, id)
	if err != nil {
		return Sandbox{}, err
	}
	if err := l.rules().allowTimeout(d); err != nil {
		return Sandbox{}, err
	}
	return l.change(ctx, op, func(rec *Sandbox) (func() error, error) {
		rec.Timeout, rec.DeadlineAt = d, time.Time{}
		if d > 0 {
			rec.DeadlineAt = time.Now().UTC().Add(d)
		}
		rec.note(LogInfo, "its time was changed")
		return nil, nil
	})
}

// rules returns what the operator allows to the key that made the sandbox.
func (l *living) rules() *SandboxPolicy {
	r := l.s.e.rules(l.client)
	return &r.Sandboxes
}

// SetLimits changes limits of a sandbox that runs; zero fields stay as they are. Open files are those of processes that
// start from now on.
func (s *Sandboxes) SetLimits(ctx context.Context, tenant string, id ID, want SandboxLimits) (Sandbox, error) {
	const op = "sandbox.SetLimits"
	l, err := s.living(ctx, op, tenant, id)
	if err != nil {
		return Sandbox{}, err
	}
	if err := want.Validate("limits"); err != nil {
		return Sandbox{}, err
	}
	if want.OpenFiles > 0 {
		return Sandbox{}, invalid("LIMIT_FIXED", "limits.openFiles", "cannot be changed once the sandbox runs")
	}
	if want.Processes > 0 && !l.kept().Pids && !l.box.rt.Info().OwnKernel { // an rlimit keeps it, which each process was born with
		return Sandbox{}, invalid("LIMIT_FIXED", "limits.processes", "cannot be changed on this host, where no cgroup counts processes")
	}
	return l.change(ctx, op, func(rec *Sandbox) (func() error, error) {
		limits, clamped := want.Resolve(rec.Limits, l.rules().Max)
		if err := l.resize(ctx, limits); err != nil {
			if back := l.resize(ctx, rec.Limits); back != nil {
				s.e.log.Error("the limits of a sandbox are half changed", "id", rec.ID, "err", back)
			}
			return nil, &Error{Op: op, Kind: KindConflict, Reason: "LIMIT_IN_USE", Field: "limits.memoryBytes",
				Msg: "the kernel refused the new limits: the sandbox holds more than that now", Err: err}
		}
		was := rec.Limits
		rec.Limits, rec.Clamped = limits, clamped
		rec.note(LogInfo, "its limits were changed")
		return func() error { return l.resize(ctx, was) }, nil
	})
}

// resize sets the limits of the sandbox's groups and of the session's among them.
func (l *living) resize(ctx context.Context, limits SandboxLimits) error {
	err := l.box.cg.Resize(onHost(l.box.rt, sessionGroup(limits)))
	if l.box.rt.Info().OwnKernel {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), agentTime)
		defer cancel()
		return errors.Join(err, l.box.agent.LimitSession(ctx, limits.Processes, limits.Memory))
	}
	return errors.Join(err, l.box.cg.ResizeSlot(sessionSlot, sessionGroup(limits)))
}

// Pause stops all processes of a sandbox, in memory. Its time does not count while it is paused.
func (s *Sandboxes) Pause(ctx context.Context, tenant string, id ID) (Sandbox, error) {
	const op = "sandbox.Pause"
	l, err := s.living(ctx, op, tenant, id)
	if err != nil {
		return Sandbox{}, err
	}
	return l.change(ctx, op, func(rec *Sandbox) (func() error, error) {
		if rec.State == SandboxPaused {
			return nil, &Error{Op: op, Kind: KindConflict, Reason: "SANDBOX_PAUSED", Field: "id", Msg: "the sandbox is paused already"}
		}
		if err := l.freeze(ctx, true); err != nil {
			return nil, internal(op, "freeze the sandbox", err)
		}
		rec.State, rec.PausedAt = SandboxPaused, time.Now().UTC()
		rec.note(LogInfo, "it was paused")
		return func() error { return l.freeze(ctx, false) }, nil
	})
}

// Resume continues a paused sandbox, with the time that it had left, or with timeout when that is not nil.
func (s *Sandboxes) Resume(ctx context.Context, tenant string, id ID, timeout *time.Duration) (Sandbox, error) {
	const op = "sandbox.Resume"
	l, err := s.living(ctx, op, tenant, id)
	if err != nil {
		return Sandbox{}, err
	}
	if timeout != nil {
		if err := l.rules().allowTimeout(*timeout); err != nil {
			return Sandbox{}, err
		}
	}
	return l.change(ctx, op, func(rec *Sandbox) (func() error, error) {
		if rec.State != SandboxPaused {
			return nil, &Error{Op: op, Kind: KindConflict, Reason: "SANDBOX_NOT_PAUSED", Field: "id", Msg: "the sandbox is not paused"}
		}
		if err := l.freeze(ctx, false); err != nil {
			return nil, internal(op, "thaw the sandbox", err)
		}
		now := time.Now().UTC()
		switch {
		case timeout != nil && *timeout == 0:
			rec.Timeout, rec.DeadlineAt = 0, time.Time{}
		case timeout != nil:
			rec.Timeout, rec.DeadlineAt = *timeout, now.Add(*timeout)
		case !rec.DeadlineAt.IsZero():
			rec.DeadlineAt = rec.DeadlineAt.Add(now.Sub(rec.PausedAt))
		}
		rec.State, rec.PausedAt = SandboxRunning, time.Time{}
		l.mu.Lock()
		l.lastUse = time.Now()
		l.mu.Unlock()
		rec.note(LogInfo, "it was resumed")
		return func() error { return l.freeze(ctx, true) }, nil
	})
}

// Stats returns what a sandbox uses now.
func (s *Sandboxes) Stats(ctx context.Context, tenant string, id ID) (Stats, error) {
	const op = "sandbox.Stats"
	l, err := s.living(ctx, op, tenant, id)
	if err != nil {
		return Stats{}, err
	}
	st, err := l.stats(ctx)
	if err != nil {
		return Stats{}, internal(op, "read the counters", err)
	}
	return st, nil
}

// Logs returns up to limit entries of what happened to a sandbox, one that has ended too, the newest last.
func (s *Sandboxes) Logs(ctx context.Context, tenant string, id ID, limit int) ([]LogEntry, error) {
	rec, err := s.Get(ctx, tenant, id)
	if err != nil {
		return nil, err
	}
	return rec.Log[max(0, len(rec.Log)-limit):], nil
}
