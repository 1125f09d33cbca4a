package cgroups

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
)

// The groups of a box.
const (
	agentGroup = "agent"
	userGroup  = "user"
)

// Box is the groups of one sandbox: the whole, its agent's, and that of all slots. It is removed by [Box.Remove].
type Box struct {
	id      string
	all     *Group
	agent   *Group
	user    *Group
	reserve Limits // what all may use beyond user
}

func (t *Tree) box(id string) *Box {
	return &Box{
		id:      id,
		all:     &Group{d: t.d, rel: id},
		agent:   &Group{d: t.d, rel: path.Join(id, agentGroup)},
		user:    &Group{d: t.d, rel: path.Join(id, userGroup)},
		reserve: t.reserve,
	}
}

// Box makes the groups of a new sandbox. Its slots together are held to l, the sandbox with its agent to
// Options.Reserve more. An id that is in use is [fs.ErrExist].
func (t *Tree) Box(id string, l Limits) (_ *Box, err error) {
	if err := errors.Join(checkName("box", id), l.validate()); err != nil {
		return nil, err
	}
	b := t.box(id)
	var made []*Group
	defer func() {
		if err != nil {
			err = errors.Join(err, undo(made))
		}
	}()
	for _, step := range []struct {
		group  *Group
		inner  bool
		limits Limits
	}{
		{b.all, true, l.above(t.reserve)},
		{b.agent, false, Limits{}},
		{b.user, true, l},
	} {
		if err := t.d.make(step.group.rel, step.inner); err != nil {
			return nil, fmt.Errorf("make groups of box %s: %w", id, err)
		}
		made = append(made, step.group)
		if err := step.group.Set(step.limits); err != nil {
			return nil, fmt.Errorf("limit box %s: %w", id, err)
		}
	}
	return b, nil
}

// LoadBox returns the groups of a sandbox that an earlier daemon of the same name made, or had begun to make: the groups
// below the box may be missing. An absent one is [fs.ErrNotExist].
func (t *Tree) LoadBox(id string) (*Box, error) {
	if err := checkName("box", id); err != nil {
		return nil, err
	}
	b := t.box(id)
	switch ok, err := t.d.exists(b.all.rel); {
	case err != nil:
		return nil, fmt.Errorf("load groups of box %s: %w", id, err)
	case !ok:
		return nil, fmt.Errorf("load groups of box %s: %w", id, fs.ErrNotExist)
	}
	return b, nil
}

// undo removes groups that were just made and have never had a process, newest first.
func undo(made []*Group) error {
	var errs []error
	for _, g := range slices.Backward(made) {
		errs = append(errs, g.d.remove(context.Background(), g.rel)) // no process: nothing to wait for
	}
	return errors.Join(errs...)
}

// ID returns the name that the box was made with.
func (b *Box) ID() string { return b.id }

// Group returns the group of the whole box.
func (b *Box) Group() *Group { return b.all }

// Agent returns the group of the agent.
func (b *Box) Agent() *Group { return b.agent }

// User returns the group of all slots. Its limits are the sandbox's.
func (b *Box) User() *Group { return b.user }

// AgentPath returns what libcontainer needs as Cgroups.Path to start the agent in its group; empty with [ModeNone].
func (b *Box) AgentPath() string { return b.agent.Path() }

// Slot makes the group of a new slot, without limits of its own. A name that is in use is [fs.ErrExist].
func (b *Box) Slot(name string) (*Group, error) {
	if err := checkName("slot", name); err != nil {
		return nil, err
	}
	g := &Group{d: b.user.d, rel: path.Join(b.user.rel, name)}
	if err := g.d.make(g.rel, false); err != nil {
		return nil, fmt.Errorf("make group of slot %s in box %s: %w", name, b.id, err)
	}
	return g, nil
}

// Resize changes what the slots together are held to, and the sandbox with its agent. On v1 a limit below what is used
// and cannot be given back is an error.
func (b *Box) Resize(l Limits) error {
	if err := l.validate(); err != nil {
		return err
	}
	if err := errors.Join(b.all.Set(l.above(b.reserve)), b.user.Set(l)); err != nil {
		return fmt.Errorf("limit box %s: %w", b.id, err)
	}
	return nil
}

// ResizeSlot changes the limits of a slot that exists.
func (b *Box) ResizeSlot(name string, l Limits) error {
	if err := errors.Join(checkName("slot", name), l.validate()); err != nil {
		return err
	}
	g := &Group{d: b.user.d, rel: path.Join(b.user.rel, name)}
	if err := g.Set(l); err != nil {
		return fmt.Errorf("limit slot %s/%s: %w", b.id, name, err)
	}
	return nil
}

// SlotStats reads the counters of a slot that exists.
func (b *Box) SlotStats(name string) (Stats, error) {
	if err := checkName("slot", name); err != nil {
		return Stats{}, err
	}
	return (&Group{d: b.user.d, rel: path.Join(b.user.rel, name)}).Stats()
}

// Slots returns the names of the slots whose groups are there.
func (b *Box) Slots() ([]string, error) { return b.user.d.children(b.user.rel) }

// Kill ends every process of the box, the agent included. See [Group.Kill].
func (b *Box) Kill(ctx context.Context) error { return b.all.Kill(ctx) }

// Remove removes all groups of the box once its processes are gone. See [Group.Remove].
func (b *Box) Remove(ctx context.Context) error { return b.all.Remove(ctx) }
