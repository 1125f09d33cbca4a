package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/soulbox/soulbox/cmd/soulbox/config"
	"github.com/soulbox/soulbox/sandbox"
	"github.com/soulbox/soulbox/store"
)

const (
	// What one batch changes at most, so that it holds neither much memory nor the rows for long.
	sweepRows  = 256
	sweepBytes = 8 << 20
	// sweepEvery is how often ages are looked at, and sandboxes. Counts and sizes of executions are looked at when they grow.
	sweepEvery = time.Minute
)

// retention forgets executions that are done, their output, and sandboxes that have ended, by the operator's rules: of
// each tenant, the oldest first, in bounded batches.
type retention struct {
	j     *journal
	log   *slog.Logger
	rules atomic.Pointer[config.Retention]
	wake  chan struct{} // holds one value when there may be something to do
	now   func() time.Time
}

func newRetention(j *journal, rules config.Retention, log *slog.Logger) *retention {
	r := &retention{j: j, log: log, wake: make(chan struct{}, 1), now: time.Now}
	r.set(rules)
	j.kept.onChange(func(_ string, now usage) {
		if rules := *r.rules.Load(); due(&config.Retention{MaxCount: rules.MaxCount, MaxBytes: rules.MaxBytes}, time.Time{}, time.Time{}, now) {
			r.nudge()
		}
	})
	return r
}

// set changes the rules.
func (r *retention) set(rules config.Retention) {
	r.rules.Store(&rules)
	r.nudge()
}

func (r *retention) nudge() {
	select {
	case r.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// run sweeps whenever something may be due, until ctx ends.
func (r *retention) run(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		sweep := r.sweep
		select {
		case <-r.wake:
		case <-tick.C:
			sweep = r.sweepAll
		case <-ctx.Done():
			return
		}
		if err := sweep(ctx); err != nil && ctx.Err() == nil {
			r.log.Error("old records were not forgotten; the next look is in a minute", "err", err)
		}
	}
}

func (r *retention) sweepAll(ctx context.Context) error {
	return errors.Join(r.sweep(ctx), r.sweepSandboxes(ctx))
}

// sweep forgets all of executions that is due now.
func (r *retention) sweep(ctx context.Context) error {
	rules := r.rules.Load()
	for _, tenant := range r.j.kept.tenants() {
		for _, part := range []struct {
			what string
			due  bool
			do   func(context.Context, string, *config.Retention) (int, error)
		}{
			{"executions", rules.MaxAge > 0 || rules.MaxCount > 0 || rules.MaxBytes > 0, r.forget},
			{"outputs", rules.OutputMaxAge > 0, r.forgetOutputs},
		} {
			total := 0
			for part.due {
				n, err := part.do(ctx, tenant, rules)
				if err != nil {
					return fmt.Errorf("forget %s of %s: %w", part.what, tenant, err)
				}
				total += n
				part.due = n > 0
			}
			if total > 0 {
				r.log.Debug("forgot what was old", "what", part.what, "tenant", tenant, "number", total)
			}
		}
	}
	return nil
}

// due tells whether the oldest of executions that take u together goes.
func due(rules *config.Retention, ended, now time.Time, u usage) bool {
	return rules.MaxAge > 0 && now.Sub(ended) > rules.MaxAge ||
		rules.MaxCount > 0 && u.count > rules.MaxCount ||
		rules.MaxBytes > 0 && u.bytes > rules.MaxBytes
}

// forget removes one batch of a tenant's executions and returns how many.
func (r *retention) forget(ctx context.Context, tenant string, rules *config.Retention) (int, error) {
	var keys []store.Key
	var gone usage
	now, left := r.now(), r.j.kept.of(tenant)
	err := r.j.executions.Entries(ctx, store.Query{Tenant: tenant, Index: byEnd}, func(k store.Key, note []byte) (bool, error) {
		ended, u, err := readEnd(note)
		if err != nil || len(keys) == sweepRows || !due(rules, ended, now, left.less(gone)) {
			return false, err
		}
		keys, gone = append(keys, k), gone.plus(u)
		return true, nil
	})
	if err != nil || len(keys) == 0 {
		return 0, err
	}
	batch := r.j.store.NewBatch()
	for _, k := range keys {
		r.j.executions.DeleteTo(batch, k)
	}
	if err := batch.Commit(ctx); err != nil {
		return 0, err
	}
	r.j.kept.add(tenant, usage{}.less(gone))
	return len(keys), nil
}

// forgetOutputs drops the output of one batch of a tenant's executions and returns of how many.
func (r *retention) forgetOutputs(ctx context.Context, tenant string, rules *config.Retention) (int, error) {
	var keys []store.Key
	var read int64
	now := r.now()
	err := r.j.executions.Entries(ctx, store.Query{Tenant: tenant, Index: byOutput}, func(k store.Key, note []byte) (bool, error) {
		ended, u, err := readEnd(note)
		if err != nil || len(keys) == sweepRows || read >= sweepBytes || now.Sub(ended) <= rules.OutputMaxAge {
			return false, err
		}
		keys, read = append(keys, k), read+u.bytes
		return true, nil
	})
	if err != nil || len(keys) == 0 {
		return 0, err
	}
	batch := r.j.store.NewBatch()
	var counted []func()
	for _, k := range keys {
		x, err := r.j.Get(ctx, k.Tenant, sandbox.ID(k.ID))
		if err != nil {
			return 0, err
		}
		dropOutput(x)
		count, err := r.j.putTo(batch, x)
		if err != nil {
			return 0, err
		}
		counted = append(counted, count)
	}
	if err := batch.Commit(ctx); err != nil {
		return 0, err
	}
	for _, count := range counted {
		count()
	}
	return len(keys), nil
}
