package cgroups

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// errUnsettled is wrapped when processes stay in the unit's group.
var errUnsettled = errors.New("processes stay in the unit's own group")

// Settle makes room in a delegated v2 group: it moves every process of the unit's own group, the calling one included,
// into the child group "daemon", since a group with processes cannot hand controllers down. [Open] does the same, but
// from inside a pid namespace only for the processes of that: so the process that makes the namespace calls Settle
// first. Elsewhere, or where it was done before, Settle does nothing.
func Settle(o Options) error {
	o = o.withDefaults()
	f, err := o.host.facts(o.Root)
	if err != nil {
		return fmt.Errorf("settle in the unit's group: %w", err)
	}
	if modes := f.modes(); len(modes) == 0 || modes[0] != ModeV2 {
		return nil
	}
	d := &v2{files: files{before: o.before}, control: f.V2.Control}
	err = d.enable(f.V2.Base)
	if !errors.Is(err, unix.EBUSY) {
		return err
	}
	return d.settle(f.V2.Base)
}

// settle empties the group base into its child.
func (d *v2) settle(base string) error {
	child := path.Join(base, daemonGroup)
	made, err := d.ensure(child)
	if err != nil {
		return err
	}
	const passes = 100 // each takes what was forked during the one before
	for range passes {
		var left bool
		if left, err = d.moveAll(base, child); err == nil && !left {
			return nil
		}
		if err != nil {
			break
		}
	}
	if made {
		err = errors.Join(err, d.removeShared(child)) // stays if someone was moved, and does no harm
	}
	return fmt.Errorf("move the processes of %s into %s: %w", base, daemonGroup, errors.Join(errUnsettled, err))
}

// moveAll moves the processes of a group once and reports whether there were any.
func (d *v2) moveAll(from, to string) (bool, error) {
	pids, err := d.pids(from)
	if err != nil {
		return false, err
	}
	for _, pid := range pids {
		if pid == 0 {
			return true, fmt.Errorf("a process in %s is outside of this pid namespace", from)
		}
		err := d.write(to, "cgroup.procs", strconv.Itoa(pid))
		if err != nil && !errors.Is(err, unix.ESRCH) { // gone meanwhile
			return true, err
		}
	}
	return len(pids) > 0, nil
}

// pids returns the processes in a group itself, 0 for each that is outside of this pid namespace.
func (f files) pids(dir string) ([]int, error) {
	text, err := f.read(dir, "cgroup.procs")
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return nil, nil // the group is gone
	}
	if err != nil {
		return nil, err
	}
	var pids []int
	for field := range strings.FieldsSeq(text) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			return nil, fmt.Errorf("parse %s: %w", filepath.Join(dir, "cgroup.procs"), err)
		}
		pids = append(pids, pid)
	}
	return pids, nil
}
