package sandbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// cleanupTime bounds what giving back one sandbox may take.
const cleanupTime = 30 * time.Second

// undoTries is how often a step is taken that fails: what could not be given back now can often be a moment later, and
// otherwise is left until the next start.
const undoTries = 3

// undoPause is the rest before a step is taken again.
const undoPause = 50 * time.Millisecond

// undo is what must be given back, newest first. The zero value is empty. It is not safe for concurrent use.
type undo struct {
	steps []func(context.Context) error
	fault func(call string) error // see Options.Fault
}

// add puts a step on top.
func (u *undo) add(step func(context.Context) error) { u.steps = append(u.steps, step) }

// run takes every step, whatever the others say, and empties the list. It outlives ctx's cancellation.
func (u *undo) run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
	defer cancel()
	var errs []error
	for i, step := range slices.Backward(u.steps) {
		errs = append(errs, u.take(ctx, i, step))
	}
	u.steps = nil
	return errors.Join(errs...)
}

// take takes one step, a few times when it fails.
func (u *undo) take(ctx context.Context, i int, step func(context.Context) error) error {
	for try := 1; ; try++ {
		err := u.failing(i)
		if err == nil {
			err = step(ctx)
		}
		if err == nil || try == undoTries {
			return err
		}
		select {
		case <-time.After(undoPause):
		case <-ctx.Done():
			return errors.Join(err, context.Cause(ctx))
		}
	}
}

// failing is the failure that a test wants of step i.
func (u *undo) failing(i int) error {
	if u.fault == nil {
		return nil
	}
	return u.fault(fmt.Sprintf("give back %d", i))
}
