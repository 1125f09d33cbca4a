package agent

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"sync"

	"golang.org/x/sys/unix"
)

// reaper waits for every child of this process: launchers, and whatever else the kernel hands to PID 1.
type reaper struct {
	log *slog.Logger

	mu       sync.Mutex
	children map[int]chan struct{} // closed once the child is reaped
}

func newReaper(log *slog.Logger) *reaper {
	return &reaper{log: log, children: map[int]chan struct{}{}}
}

// start calls fork, which returns the pid of a new child, and returns a channel that closes when it is reaped.
// It holds mu while it forks, so that the child cannot be reaped before it is known.
func (r *reaper) start(fork func() (int, error)) (int, <-chan struct{}, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	pid, err := fork()
	if err != nil {
		return 0, nil, err
	}
	dead := make(chan struct{})
	r.children[pid] = dead
	return pid, dead, nil
}

// kill sends SIGKILL to a child that start returned. After it was reaped it does nothing: its pid may be another's.
func (r *reaper) kill(pid int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.children[pid]; ok {
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			r.log.Error("kill launcher", "pid", pid, "err", err)
		}
	}
}

// run reaps until ctx is done.
func (r *reaper) run(ctx context.Context) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGCHLD)
	defer signal.Stop(signals)
	for {
		r.reap()
		select {
		case <-signals:
		case <-ctx.Done():
			return
		}
	}
}

// reap collects everything that is dead now.
func (r *reaper) reap() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil || pid <= 0:
			return
		}
		if dead, ok := r.children[pid]; ok {
			delete(r.children, pid)
			close(dead)
		}
	}
}
