package sandbox

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"syscall"
	"time"
)

const (
	// diskEvery is the rest between two looks at what a sandbox has written.
	diskEvery = 5 * time.Second
	// diskGlance is the rest between two glances at the free space of the file system; what a sandbox writes in between is
	// the overshoot.
	diskGlance = 500 * time.Millisecond
	// minDiskLeft is how much others may write, in bytes, before each sandbox near its limit is looked at again.
	minDiskLeft = 64 << 20
	// maxWalk bounds the files that a look counts.
	maxWalk = 1_000_000
	// pollMemoryEvery is the rest between two looks at memory that no cgroup bounds.
	pollMemoryEvery = 100 * time.Millisecond
	// noteKillsEvery is the rest between two entries of a sandbox's log about such memory.
	noteKillsEvery = time.Minute
)

// watchDisk looks at what the sandbox has written, and ends one that holds more than it may. It looks now and then, and at
// once when the whole file system lost so much that this sandbox could be over its limit.
func (l *living) watchDisk(ctx context.Context) {
	upper := filepath.Join(l.s.e.sandboxDir(l.box.id), upperDir)
	glance := time.NewTicker(diskGlance)
	defer glance.Stop()
	due, free := time.Now().Add(diskEvery), l.diskFree()
	for {
		select {
		case <-ctx.Done():
			return
		case <-glance.C:
		}
		start, now := time.Now(), l.diskFree()
		if start.Before(due) && free-now < l.diskLeft() {
			continue
		}
		free = now
		n, more, err := diskUsed(ctx, upper, maxWalk)
		if err != nil {
			continue // it is being removed
		}
		// A look may take a tenth of the time.
		due = time.Now().Add(max(diskEvery, 10*time.Since(start)))
		l.mu.Lock()
		l.disk = n
		limit := l.rec.Limits.Disk
		l.mu.Unlock()
		switch {
		case more:
			l.end(SandboxFailed, fmt.Sprintf("disk limit: it holds more than %d files", maxWalk))
		case n > limit:
			l.end(SandboxFailed, fmt.Sprintf("disk limit: it wrote %d bytes, more than %d", n, limit))
		}
	}
}

// diskLeft is what the sandbox could write after the last look without exceeding its limit, in bytes.
func (l *living) diskLeft() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(l.rec.Limits.Disk-l.disk, minDiskLeft)
}

// diskFree is what is free on the file system that sandboxes write to, in bytes; 0 where nobody tells.
func (l *living) diskFree() int64 {
	if l.s.o.DiskFree == nil {
		return 0
	}
	free, err := l.s.o.DiskFree()
	if err != nil {
		return 0
	}
	return int64(min(free, math.MaxInt64))
}

// watchMemory kills the processes of a sandbox that hold more memory than they may, where no cgroup does.
func (l *living) watchMemory(ctx context.Context) {
	var noted time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pollMemoryEvery):
		}
		m, err := l.box.agent.Measure(ctx)
		if err != nil || m.Memory <= l.snapshot().Limits.Memory {
			continue
		}
		_ = l.box.agent.SignalAll(ctx, syscall.SIGKILL) // it is looked at again
		// Programs must not make the log, which lies on disk, as fast as they die.
		if time.Since(noted) < noteKillsEvery {
			continue
		}
		noted = time.Now()
		l.noteNow(ctx, LogWarn, fmt.Sprintf("its processes held %d bytes, more than it may: they were killed", m.Memory))
	}
}
