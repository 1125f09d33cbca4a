package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// reap ends and removes every sandbox that an earlier daemon of this supervisor, or an earlier supervisor of this
// state directory, left: containers, cgroups, mounts, directories, ids. Executions end with their daemon; what was
// adopted lives on.
func (e *Engine) reap(ctx context.Context, adopted []adoptedBox) error {
	var boxes []BoxRecord
	err := e.o.Journal.Boxes(ctx, func(b BoxRecord) error {
		boxes = append(boxes, b)
		return nil
	})
	if err != nil {
		return fmt.Errorf("reap: read the journal: %w", err)
	}
	keep := map[ID]bool{}
	blocks := make([]Block, 0, len(adopted))
	for _, a := range adopted {
		keep[a.box.id] = true
		blocks = append(blocks, a.box.block)
	}
	for _, rt := range e.runtimes() {
		if err := e.reapRuntime(ctx, rt, boxes, keep); err != nil {
			return err
		}
	}
	if err := e.reapCgroups(ctx, keep); err != nil {
		return err
	}
	if err := e.reapDirectories(keep); err != nil {
		return err
	}
	for _, b := range boxes {
		if keep[b.ID] {
			continue
		}
		if err := e.closeRecord(ctx, b); err != nil {
			return fmt.Errorf("reap: %w", err)
		}
	}
	if err := e.o.IDs.Reset(blocks...); err != nil {
		return fmt.Errorf("reap ids: %w", err)
	}
	return nil
}

// reapRuntime ends what rt has, and what the journal says that it had.
func (e *Engine) reapRuntime(ctx context.Context, rt Runtime, boxes []BoxRecord, keep map[ID]bool) error {
	ids, err := rt.List(ctx)
	if err != nil {
		return fmt.Errorf("reap: %w", err)
	}
	for _, b := range boxes {
		if b.Runtime == rt.Info().Name {
			ids = append(ids, b.ID)
		}
	}
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		if keep[id] {
			continue
		}
		if err := rt.Destroy(ctx, id); err != nil {
			return fmt.Errorf("reap sandbox %s: %w", id, err)
		}
		e.log.Info("reaped a sandbox of an earlier daemon", "id", id, "runtime", rt.Info().Name)
	}
	return nil
}

// reapCgroups kills what is in the groups of sandboxes and removes them.
func (e *Engine) reapCgroups(ctx context.Context, keep map[ID]bool) error {
	names, err := e.o.Cgroups.Boxes()
	if err != nil {
		return fmt.Errorf("reap cgroups: %w", err)
	}
	for _, name := range names {
		if keep[ID(name)] {
			continue
		}
		b, err := e.o.Cgroups.LoadBox(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue // what the earlier daemon began to remove went on without it
		case err == nil:
			err = errors.Join(b.Kill(ctx), b.Remove(ctx))
		}
		if err != nil {
			return fmt.Errorf("reap cgroup %s: %w", name, err)
		}
	}
	return nil
}

// reapDirectories unmounts and removes what sandboxes had in the run directory and, those that lived on, in the state
// directory.
func (e *Engine) reapDirectories(keep map[ID]bool) error {
	parents := []string{filepath.Join(e.o.RunDir, "boxes"), filepath.Join(e.o.RunDir, "roots")}
	if e.o.StateDir != "" {
		parents = append(parents, filepath.Join(e.o.StateDir, "sandboxes"))
	}
	for _, parent := range parents {
		dirs, err := os.ReadDir(parent)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("reap directories: %w", err)
		}
		for _, d := range dirs {
			dir := filepath.Join(parent, d.Name())
			if keep[ID(d.Name())] {
				continue
			}
			if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
				return fmt.Errorf("reap: unmount %s: %w", dir, err)
			}
			if err := os.RemoveAll(dir); err != nil {
				return fmt.Errorf("reap: %w", err)
			}
		}
	}
	return nil
}

// settle marks what was in flight when an earlier daemon died as done.
func (e *Engine) settle(ctx context.Context) error {
	var left []*Execution
	err := e.o.Journal.Unfinished(ctx, func(x *Execution) error {
		left = append(left, x)
		return nil
	})
	if err != nil {
		return fmt.Errorf("read unfinished executions: %w", err)
	}
	for _, x := range left {
		x.State, x.EndedAt = StateDone, time.Now().UTC()
		x.Step = Step{Verdict: VerdictInternal, ExitCode: -1}
		x.Detail = "the daemon ended while this was in flight; send it again"
		if err := e.o.Journal.Put(ctx, x); err != nil {
			return fmt.Errorf("settle execution %s: %w", x.ID, err)
		}
	}
	if len(left) > 0 {
		e.log.Info("settled executions that an earlier daemon left", "count", len(left))
	}
	return nil
}
