package agent

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// groups is the cgroup2 of the kernel that the agent runs on: under gVisor the sandbox's own, in which slots are bounded and
// counted. The zero value mounts it at the first use.
type groups struct {
	mu  sync.Mutex
	top *os.File
}

// mountOver is a directory that every sandbox has; the mount is gone from it before anything else looks.
const mountOver = "/sys"

// root returns the top of the hierarchy, with its controllers handed down. It is mounted nowhere: slots cannot see it.
func (g *groups) root() (_ *os.File, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.top != nil {
		return g.top, nil
	}
	if err := unix.Mount("cgroup2", mountOver, "cgroup2", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return nil, fmt.Errorf("mount cgroup2: %w", err)
	}
	fd, err := unix.Open(mountOver, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err := errors.Join(err, unix.Unmount(mountOver, unix.MNT_DETACH)); err != nil {
		return nil, fmt.Errorf("open cgroup2: %w", err)
	}
	top := os.NewFile(uintptr(fd), "cgroup2")
	if err := writeAt(top, "cgroup.subtree_control", "+cpu +memory +pids"); err != nil {
		return nil, errors.Join(err, top.Close())
	}
	g.top = top
	return top, nil
}

// group is the cgroup of one slot.
type group struct {
	top  *os.File
	name string
	dir  *os.File
}

// make makes the group of a slot, which may have so many processes and threads, its launcher aside.
func (g *groups) make(name string, processes int64) (_ *group, err error) {
	top, err := g.root()
	if err != nil {
		return nil, err
	}
	if err := unix.Mkdirat(int(top.Fd()), name, 0o755); err != nil {
		return nil, fmt.Errorf("make cgroup of slot: %w", err)
	}
	s := &group{top: top, name: name}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.remove())
		}
	}()
	if s.dir, err = openAt(top, name, unix.O_DIRECTORY); err != nil {
		return nil, err
	}
	if processes > 0 {
		if err := writeAt(s.dir, "pids.max", strconv.FormatInt(processes+1, 10)); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// procs opens what a process joins the group by.
func (s *group) procs() (*os.File, error) {
	fd, err := unix.Openat(int(s.dir.Fd()), "cgroup.procs", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open cgroup of slot: %w", err)
	}
	return os.NewFile(uintptr(fd), "cgroup.procs"), nil
}

// remove removes the group once its processes are dead. There may be none.
func (s *group) remove() error {
	if s == nil {
		return nil
	}
	if s.dir != nil {
		if err := s.dir.Close(); err != nil {
			return fmt.Errorf("close cgroup of slot: %w", err)
		}
	}
	if err := unix.Unlinkat(int(s.top.Fd()), s.name, unix.AT_REMOVEDIR); err != nil {
		return fmt.Errorf("remove cgroup of slot: %w", err)
	}
	return nil
}

// sample reads what the group uses.
func (s *group) sample() (sample, error) {
	var now sample
	var errs [3]error
	now.memory, errs[0] = s.number("memory.current")
	now.threads, errs[1] = s.number("pids.current")
	now.threads = max(now.threads-1, 0) // without the launcher
	var stat []byte
	if stat, errs[2] = readAt(s.dir, "cpu.stat"); errs[2] == nil {
		now.user, now.system = parseCPU(stat)
	}
	return now, errors.Join(errs[:]...)
}

// parseCPU returns the times in cpu.stat.
func parseCPU(stat []byte) (user, system time.Duration) {
	return time.Duration(keyed(stat, "user_usec")) * time.Microsecond, time.Duration(keyed(stat, "system_usec")) * time.Microsecond
}

// processes returns the most processes and threads that the group had at once, the launcher aside, and how often it was
// refused one.
func (s *group) processes() (peak, refused int64) {
	if n, err := s.number("pids.peak"); err == nil {
		peak = max(n-1, 0)
	}
	if events, err := readAt(s.dir, "pids.events"); err == nil {
		refused = keyed(events, "max")
	}
	return peak, refused
}

func (s *group) number(name string) (int64, error) {
	text, err := readAt(s.dir, name)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read %s of slot: %w", name, err)
	}
	return n, nil
}

// keyed returns the number after key in lines of both, 0 without one.
func keyed(text []byte, key string) int64 {
	for line := range bytes.Lines(text) {
		if f := bytes.Fields(line); len(f) == 2 && string(f[0]) == key {
			if n, err := strconv.ParseInt(string(f[1]), 10, 64); err == nil && n >= 0 && n < 1<<50 {
				return n
			}
		}
	}
	return 0
}

// writeAt writes a file of a group.
func writeAt(dir *os.File, name, value string) error {
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s of a cgroup: %w", name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	_, err = f.WriteString(value)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %q to %s of a cgroup: %w", value, name, err)
	}
	return nil
}
