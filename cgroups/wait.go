package cgroups

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// awaitEvent returns when done is true of the content of a v2 group's cgroup.events, or with ctx's error.
//
// The kernel announces a change by POLLPRI on a descriptor that has been read since, so none can be missed. Go's own
// poller does not know POLLPRI, and inotify has a small limit for each user; so one thread waits, for as long as the
// processes take to die.
func (f files) awaitEvent(ctx context.Context, dir string, done func(events string) bool) error {
	events, err := f.open(dir, "cgroup.events", os.O_RDONLY)
	if err != nil {
		return err
	}
	defer events.Close()
	wakeR, wakeW, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make pipe to wait for %s: %w", dir, err)
	}
	defer wakeR.Close()
	stop := context.AfterFunc(ctx, func() { wakeW.Close() })
	defer func() {
		if stop() {
			wakeW.Close()
		}
	}()
	for {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("wait for group %s: %w", dir, context.Cause(ctx))
		}
		b, err := io.ReadAll(io.NewSectionReader(events, 0, 4096))
		if errors.Is(err, unix.ENODEV) {
			return nil // removed meanwhile: as empty as can be
		}
		if err != nil {
			return fmt.Errorf("read events of %s: %w", dir, err)
		}
		if done(string(b)) {
			return nil
		}
		if err := poll(events, wakeR); err != nil {
			return fmt.Errorf("wait for events of %s: %w", dir, err)
		}
	}
}

// poll waits for an exceptional event on events or for the end of wake.
func poll(events, wake *os.File) error {
	ec, err := events.SyscallConn()
	if err != nil {
		return err
	}
	wc, err := wake.SyscallConn()
	if err != nil {
		return err
	}
	var pollErr error
	err = ec.Control(func(e uintptr) {
		pollErr = wc.Control(func(w uintptr) {
			fds := []unix.PollFd{{Fd: int32(e), Events: unix.POLLPRI}, {Fd: int32(w), Events: unix.POLLIN}}
			_, pollErr = unix.Poll(fds, -1)
		})
	})
	if pollErr != nil && !errors.Is(pollErr, unix.EINTR) {
		return pollErr
	}
	return err
}
