package cgroups

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/sys/unix"
)

// errBusy is what an attempt answers that has to be repeated.
var errBusy = errors.New("processes are still there")

// retry repeats attempt while it answers errBusy or EBUSY, until ctx ends: cgroup v1 announces nothing.
func retry(ctx context.Context, what string, attempt func() error) error {
	pause := &backoff.ExponentialBackOff{
		InitialInterval: 500 * time.Microsecond, Multiplier: 1.5, MaxInterval: 20 * time.Millisecond, RandomizationFactor: 0.2,
	}
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := attempt()
		if err != nil && !errors.Is(err, errBusy) && !errors.Is(err, unix.EBUSY) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(pause), backoff.WithMaxElapsedTime(0))
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// killLoop ends all processes in the groups dirs, which are one group in several hierarchies, and below them. If freezer
// is not empty it is the group in the freezer's hierarchy: its processes are held while they are signalled, so that
// none can fork out of reach, and let go to die, those too that a group below held before.
func killLoop(ctx context.Context, f files, dirs []string, freezer string) error {
	return retry(ctx, "kill processes of "+dirs[0], func() error {
		var errs []error
		if freezer != "" {
			errs = append(errs, ignoreGone(f.write(freezer, "freezer.state", "FROZEN")))
		}
		left, err := f.signalAll(dirs)
		errs = append(errs, err)
		if freezer != "" {
			errs = append(errs, f.thawAll(freezer))
		}
		if err := errors.Join(errs...); err != nil {
			return err
		}
		if left {
			return errBusy
		}
		return nil
	})
}

// thawAll thaws a group of the freezer's hierarchy and all groups below it.
func (f files) thawAll(dir string) error {
	errs := []error{ignoreGone(f.write(dir, "freezer.state", "THAWED"))}
	names, err := f.children(dir)
	errs = append(errs, ignoreGone(err))
	for _, name := range names {
		errs = append(errs, f.thawAll(path.Join(dir, name)))
	}
	return errors.Join(errs...)
}

func ignoreGone(err error) error {
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

// signalAll sends SIGKILL to every process of the groups and reports whether there were any.
func (f files) signalAll(dirs []string) (bool, error) {
	before, err := f.allPids(dirs)
	if err != nil || len(before) == 0 {
		return false, err
	}
	held := map[int]*os.Process{}
	defer func() {
		for _, p := range held {
			p.Release()
		}
	}()
	for pid := range before {
		if pid == 0 {
			continue // outside of this pid namespace: out of reach, and 0 would be our own process group
		}
		if p, err := os.FindProcess(pid); err == nil {
			held[pid] = p
		}
	}
	// A number that is still in the group after its process was pinned has not passed to another.
	after, err := f.allPids(dirs)
	if err != nil {
		return true, err
	}
	var errs []error
	for pid, p := range held {
		if !after[pid] {
			continue
		}
		if err := p.Signal(unix.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) && !errors.Is(err, unix.ESRCH) {
			errs = append(errs, fmt.Errorf("kill process %d: %w", pid, err))
		}
	}
	return true, errors.Join(errs...)
}

// allPids returns the processes of groups and all groups below them.
func (f files) allPids(dirs []string) (map[int]bool, error) {
	all := map[int]bool{}
	for len(dirs) > 0 {
		dir := dirs[0]
		dirs = dirs[1:]
		pids, err := f.pids(dir)
		if err != nil {
			return nil, err
		}
		for _, pid := range pids {
			all[pid] = true
		}
		names, err := f.children(dir)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			dirs = append(dirs[:len(dirs):len(dirs)], path.Join(dir, name))
		}
	}
	return all, nil
}
