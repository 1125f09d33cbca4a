package sandbox

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/soulbox/soulbox/images"
)

// readyOutput is what the built-in static program prints.
const readyOutput = "ready\n"

// becomeReady runs the built-in static program until that works once, then finds out the languages' versions.
func (e *Engine) becomeReady() {
	for delay := 100 * time.Millisecond; ; delay = min(2*delay, 10*time.Second) {
		err := e.tryReady(e.ctx)
		if err == nil {
			e.ready.Store(&err)
			close(e.isReady)
			break
		}
		e.log.Error("no sandbox can run", "err", err)
		err = &Error{Op: "sandbox.Ready", Kind: KindUnavailable, Reason: "NOT_READY", Msg: "no sandbox can run here; the daemon's log and soulbox doctor say why", Err: err}
		e.ready.Store(&err)
		select {
		case <-time.After(delay):
		case <-e.ctx.Done():
			return
		}
	}
	e.langs.detect(e.ctx)
}

func (e *Engine) tryReady(ctx context.Context) (err error) {
	limits := Limits{WallTime: 10 * time.Second, CPUTime: 10 * time.Second, Memory: MinMemory, Processes: 1, OpenFiles: 16,
		FileSize: 1 << 20, Disk: 1 << 20, Inodes: 16, Output: 1 << 10}
	b, err := e.openBox(ctx, boxSpec{memory: limits.Memory, processes: limits.Processes + 4})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close(ctx)) }()
	_, step, err := e.step(ctx, &active{log: &eventLog{}}, b, stepSpec{
		name: "ready", limits: limits,
		command:     images.Command{Args: []string{images.ToolsDir + "/" + assetReady}, Dir: images.WorkDir},
		fill:        func(context.Context, *slot) error { return nil },
		outOfMemory: func(int, syscall.Signal, []byte) bool { return false },
	})
	if err != nil {
		return err
	}
	if step.Verdict != VerdictOK || string(step.Stdout) != readyOutput {
		return fmt.Errorf("the built-in program printed %q and %q, exit code %d, signal %q, limits hit %v", step.Stdout, step.Stderr, step.ExitCode, step.Signal, step.LimitsHit)
	}
	return nil
}

// AwaitReady returns once [Engine.Ready] is nil, or with what hinders it when ctx ends.
func (e *Engine) AwaitReady(ctx context.Context) error {
	select {
	case <-e.isReady:
		return nil
	case <-ctx.Done():
		return errors.Join(canceled(ctx, "sandbox.AwaitReady"), e.Ready())
	}
}
