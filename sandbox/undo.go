package sandbox

import (
	"context"
	"errors"
	"slices"
	"time"
)

// cleanupTime bounds what giving back one sandbox may take.
const cleanupTime = 30 * time.Second

// undo is what must be given back, newest first. The zero value is empty. It is not safe for concurrent use.
type undo struct{ steps []func(context.Context) error }

// add puts a step on top.
func (u *undo) add(step func(context.Context) error) { u.steps = append(u.steps, step) }

// run takes every step, whatever the others say, and empties the list. It outlives ctx's cancellation.
func (u *undo) run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
	defer cancel()
	var errs []error
	for _, step := range slices.Backward(u.steps) {
		errs = append(errs, step(ctx))
	}
	u.steps = nil
	return errors.Join(errs...)
}
