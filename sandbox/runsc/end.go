package runsc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// binaryFile, in a sandbox's state directory, tells which file runs as its runsc.
const binaryFile = "binary"

// remember notes which file runs for dir. A process that only looks like it, one of another sandbox's programs say, is
// then not taken for it.
func remember(dir, binary string) error {
	who, err := identity(binary)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, binaryFile), []byte(who), 0o600); err != nil {
		return fmt.Errorf("note the runsc in use: %w", err)
	}
	return nil
}

// identity tells files apart, whatever their names.
func identity(path string) (string, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return "", fmt.Errorf("look at %s: %w", path, err)
	}
	return fmt.Sprintf("%d:%d", st.Dev, st.Ino), nil
}

// end kills all processes that were started for the state directory dir, and returns when they are gone: also those that a
// daemon left which was killed in the middle of a start.
func end(ctx context.Context, dir string) error {
	who, err := os.ReadFile(filepath.Join(dir, binaryFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // nothing was started before it was written
	}
	if err != nil {
		return fmt.Errorf("read which runsc runs: %w", err)
	}
	for {
		// Again, until a look finds none: one that was not killed yet can have started another.
		found, err := killOnce(ctx, dir, string(who))
		if err != nil || !found {
			return err
		}
	}
}

// killOnce kills the processes that there are now, and waits for their ends.
func killOnce(ctx context.Context, dir, who string) (found bool, err error) {
	names, err := os.ReadDir("/proc")
	if err != nil {
		return false, fmt.Errorf("list processes: %w", err)
	}
	var dying []*os.File
	defer func() {
		for _, f := range dying {
			err = errors.Join(err, f.Close())
		}
	}()
	for _, name := range names {
		pid, err := strconv.Atoi(name.Name())
		if err != nil || !runsFor(pid, dir, who) {
			continue
		}
		fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
		if errors.Is(err, unix.ESRCH) {
			continue
		}
		if err != nil {
			return false, fmt.Errorf("open process %d: %w", pid, err)
		}
		f := os.NewFile(uintptr(fd), "pidfd")
		dying = append(dying, f)
		if !runsFor(pid, dir, who) { // the number was another's by then
			continue
		}
		found = true
		if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
			return false, fmt.Errorf("kill process %d: %w", pid, err)
		}
	}
	for _, f := range dying {
		if err := awaitEnd(ctx, f); err != nil {
			return false, err
		}
	}
	return found, nil
}

// runsFor tells whether a process runs runsc for dir. A zombie does not: it has no command line.
func runsFor(pid int, dir, who string) bool {
	proc := "/proc/" + strconv.Itoa(pid)
	line, err := os.ReadFile(proc + "/cmdline")
	if err != nil || !hasArgument(line, "--root="+dir) {
		return false
	}
	is, err := identity(proc + "/exe")
	return err == nil && is == who
}

// hasArgument looks for one argument in /proc/PID/cmdline.
func hasArgument(line []byte, arg string) bool {
	for a := range bytes.SplitSeq(line, []byte{0}) {
		if string(a) == arg {
			return true
		}
	}
	return false
}

// endTick is the rest between two looks at a context while a process dies.
const endTick = 100 * time.Millisecond

// awaitEnd returns when the process behind a pidfd is dead.
func awaitEnd(ctx context.Context, pidfd *os.File) error {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd.Fd()), Events: unix.POLLIN}}, int(endTick.Milliseconds()))
		switch {
		case err != nil && !errors.Is(err, unix.EINTR):
			return fmt.Errorf("wait for the end of a process: %w", err)
		case n > 0:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("wait for the end of a process: %w", context.Cause(ctx))
		}
	}
}
