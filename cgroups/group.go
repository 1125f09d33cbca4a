package cgroups

import (
	"context"
	"fmt"
	"os"
	"path"
)

// Group is one control group. With [ModeNone] its methods succeed and do nothing.
type Group struct {
	d   driver
	rel string
}

// Path returns the group's absolute path in its hierarchy, as libcontainer wants it; empty with [ModeNone].
func (g *Group) Path() string { return g.d.name(g.rel) }

// Dirs returns the group's directories, on v1 one for each hierarchy; none with [ModeNone].
func (g *Group) Dirs() []string { return g.d.dirs(g.rel) }

// Set replaces the group's limits.
func (g *Group) Set(l Limits) error {
	if err := l.validate(); err != nil {
		return fmt.Errorf("limit group %s: %w", g.rel, err)
	}
	return g.d.set(g.rel, l)
}

// Procs opens what a process has to write "0" to, to each, in order to enter the group: one descriptor on v2, one for
// each hierarchy on v1, none with [ModeNone]. They are write-only; the caller closes them. Entering a frozen group
// blocks or stops the process.
func (g *Group) Procs() ([]*os.File, error) { return g.d.join(g.rel) }

// Stats reads the group's counters.
func (g *Group) Stats() (Stats, error) { return g.d.stats(g.rel) }

// Kill ends all processes in the group and below it, frozen or not, and returns when none is left. Those that die are
// reaped by their parents, not here; a zombie does not count. The group may be gone already. Nobody may be about to
// join it, and on v1 no group above it may be frozen: the dying would wait for the thaw.
func (g *Group) Kill(ctx context.Context) error { return g.d.kill(ctx, g.rel) }

// Freeze stops all processes in the group and below it and returns when all have stopped. When ctx ends first, some
// may have: thaw the group or kill it.
func (g *Group) Freeze(ctx context.Context) error { return g.d.freeze(ctx, g.rel, true) }

// Thaw undoes [Group.Freeze].
func (g *Group) Thaw(ctx context.Context) error { return g.d.freeze(ctx, g.rel, false) }

// Remove removes the group and all below it, once the processes in it are gone: it waits for that and kills nothing.
// A group that is gone already is fine.
func (g *Group) Remove(ctx context.Context) error {
	names, err := g.d.children(g.rel)
	if err != nil {
		return err
	}
	for _, name := range names {
		child := &Group{d: g.d, rel: path.Join(g.rel, name)}
		if err := child.Remove(ctx); err != nil {
			return err
		}
	}
	return g.d.remove(ctx, g.rel)
}
