package cgroups

import (
	"context"
	"os"
)

// driver is one way of keeping groups. A group is named by its slash-separated path below the tree's top, "" for the
// top itself. An implementation is safe for concurrent use.
type driver interface {
	// make makes one group below an existing one; if it fails nothing is left of it. A group with inner set can have
	// groups below it.
	make(rel string, inner bool) error
	// set applies all limits, zero ones too.
	set(rel string, l Limits) error
	// join opens what a process writes "0" to in order to enter the group.
	join(rel string) ([]*os.File, error)
	stats(rel string) (Stats, error)
	// kill returns when no process is left in the group or below it, or with ctx's error.
	kill(ctx context.Context, rel string) error
	// freeze returns when all processes have stopped, or run again, or with ctx's error.
	freeze(ctx context.Context, rel string, on bool) error
	// remove waits for the last process to be gone and removes the group, which has none below it.
	remove(ctx context.Context, rel string) error
	// exists tells whether the group is there.
	exists(rel string) (bool, error)
	// children returns the names of the groups directly below.
	children(rel string) ([]string, error)
	// name returns the path by which libcontainer knows the group, absolute in the hierarchy.
	name(rel string) string
	// dirs returns the group's directories, one for each hierarchy.
	dirs(rel string) []string
}

// noDriver keeps nothing and counts nothing: the host has no groups for us.
type noDriver struct{}

func (noDriver) make(string, bool) error                    { return nil }
func (noDriver) set(string, Limits) error                   { return nil }
func (noDriver) join(string) ([]*os.File, error)            { return nil, nil }
func (noDriver) stats(string) (Stats, error)                { return Stats{}, nil }
func (noDriver) kill(context.Context, string) error         { return nil }
func (noDriver) freeze(context.Context, string, bool) error { return nil }
func (noDriver) remove(context.Context, string) error       { return nil }
func (noDriver) exists(string) (bool, error)                { return true, nil }
func (noDriver) children(string) ([]string, error)          { return nil, nil }
func (noDriver) name(string) string                         { return "" }
func (noDriver) dirs(string) []string                       { return nil }
