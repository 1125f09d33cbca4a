package cgroups

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"

	"golang.org/x/sys/unix"
)

// parentGroup holds the trees of all daemons that share a hierarchy.
const parentGroup = "soulbox"

// What the agent of a box may use beside its slots, see [Options].
const (
	defaultReserveMemory = 64 << 20
	defaultReservePids   = 256
)

// Options configure [Open]. Name is required.
type Options struct {
	Name    string // the daemon's own, unique among those of the host: 1 to 64 of [A-Za-z0-9_-]
	Root    string // directory of the v2 group to work below; default: found
	Reserve Limits // what a box has above the limits of its user; default: 64 MiB and 256 processes

	before func(op, path string) error // see files
	host   *host                       // default: this one
}

func (o Options) withDefaults() Options {
	if o.Reserve.Memory == 0 {
		o.Reserve.Memory = defaultReserveMemory
	}
	if o.Reserve.Pids == 0 {
		o.Reserve.Pids = defaultReservePids
	}
	if o.host == nil {
		h := thisHost()
		o.host = &h
	}
	return o
}

func (o Options) validate() error {
	errs := []error{checkName("tree", o.Name), o.Reserve.validate()}
	if o.Root != "" && !path.IsAbs(o.Root) {
		errs = append(errs, fmt.Errorf("cgroup root %q is not absolute", o.Root))
	}
	return errors.Join(errs...)
}

// checkName refuses names that could leave the tree or be one of the kernel's files, which all have a dot or, on v1,
// are "tasks" and the like.
func checkName(what, name string) error {
	if !regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`).MatchString(name) {
		return fmt.Errorf("%s name %q is not 1 to 64 of [A-Za-z0-9_-]", what, name)
	}
	if slices.Contains([]string{"tasks", "notify_on_release", "release_agent"}, name) {
		return fmt.Errorf("%s name %q is a file of the kernel's", what, name)
	}
	return nil
}

// Tree is the control groups of one daemon. It holds nothing open; [Tree.Remove] removes it from the host.
type Tree struct {
	d        driver
	mode     Mode
	enforced Enforced
	reason   error // why mode is less than wished; nil with ModeV2
	reserve  Limits
}

// Open makes the daemon's tree, or finds the one that an earlier daemon of the same name left. It tries a v2 group that
// is ours, then cgroup v1; where the host refuses both the tree is of [ModeNone] and [Tree.Reason] tells why. On v2 it
// moves the processes of the unit's group into a child, see [Settle].
func Open(o Options) (*Tree, error) {
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("open cgroup tree: %w", err)
	}
	o = o.withDefaults()
	f, err := o.host.facts(o.Root)
	if err != nil {
		return nil, fmt.Errorf("open cgroup tree: %w", err)
	}
	t := &Tree{d: noDriver{}, reserve: o.Reserve}
	for _, mode := range f.modes() {
		var d driver
		var enforced Enforced
		if mode == ModeV2 {
			d, enforced, err = openV2(f, o)
		} else {
			d, enforced, err = openV1(f, o)
		}
		if err == nil {
			t.d, t.mode, t.enforced = d, mode, enforced
			return t, nil
		}
		if !refused(err) {
			return nil, fmt.Errorf("open cgroup tree: %w", err)
		}
		t.reason = errors.Join(t.reason, err)
	}
	if t.reason == nil {
		t.reason = errNone
	}
	return t, nil
}

// refused tells a host that does not let us from one that fails.
func refused(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EROFS) ||
		errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, errUnsettled)
}

// Mode returns the kind of groups in use.
func (t *Tree) Mode() Mode { return t.mode }

// Enforced returns what the groups really do.
func (t *Tree) Enforced() Enforced { return t.enforced }

// Reason returns why a better mode was not possible, nil if none was refused. It is for the operator.
func (t *Tree) Reason() error { return t.reason }

// Path returns the tree's absolute path in its hierarchy; empty with [ModeNone].
func (t *Tree) Path() string { return t.d.name("") }

// Boxes returns the names of the boxes whose groups are there, those of earlier daemons of the same name included.
func (t *Tree) Boxes() ([]string, error) { return t.d.children("") }

// Remove removes the tree with all boxes, once their processes are gone. The tree cannot be used any more.
func (t *Tree) Remove(ctx context.Context) error { return (&Group{d: t.d}).Remove(ctx) }

// makeTop makes the groups soulbox/<name> below base, each prepared by enable, and undoes what it made if it fails.
// Both may be there already, and another daemon may remove the empty first one at any moment.
func makeTop(f files, base, name string, enable func(dir string) error) (err error) {
	var made []string
	defer func() {
		if err != nil {
			for _, dir := range slices.Backward(made) {
				err = errors.Join(err, f.removeShared(dir))
			}
		}
	}()
	parent := path.Join(base, parentGroup)
	for _, dir := range []string{parent, path.Join(parent, name)} {
		const races = 10
		for attempt := 0; ; attempt++ {
			fresh, err := f.ensure(dir)
			if errors.Is(err, fs.ErrNotExist) && dir != parent && attempt < races {
				if _, err := f.ensure(parent); err != nil {
					return err
				}
				if err := enable(parent); err != nil && !errors.Is(err, fs.ErrNotExist) {
					return err
				}
				continue
			}
			if err != nil {
				return err
			}
			if fresh {
				made = append(made, dir)
			}
			break
		}
		if err := enable(dir); err != nil {
			return err
		}
	}
	return nil
}

// removeShared removes a group unless it is in use by others.
func (f files) removeShared(dir string) error {
	err := f.rmdir(dir)
	if errors.Is(err, unix.EBUSY) || errors.Is(err, unix.ENOTEMPTY) {
		return nil
	}
	return err
}
