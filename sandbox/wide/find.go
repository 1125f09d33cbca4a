package wide

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Supervisor returns the process id of the supervisor that holds a state directory, 0 when none does. It is found by its
// lock, which cannot be stale.
func Supervisor(stateDir string) (int, error) {
	path := filepath.Join(stateDir, "supervisor.json")
	var st unix.Stat_t
	if err := unix.Stat(path, &st); errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	} else if err != nil {
		return 0, fmt.Errorf("find the supervisor of %s: %w", stateDir, err)
	}
	locks, err := os.Open("/proc/locks")
	if err != nil {
		return 0, fmt.Errorf("find the supervisor of %s: %w", stateDir, err)
	}
	defer locks.Close()
	pids, err := holders(locks, st.Ino)
	if err != nil {
		return 0, fmt.Errorf("find the supervisor of %s: %w", stateDir, err)
	}
	for _, pid := range pids {
		if hasOpen(pid, &st) {
			return pid, nil
		}
	}
	return 0, nil
}

// holders lists who holds a whole-file lock on an inode of this number, on any file system, from the kernel's table of
// locks (proc_locks(5)). The table's device number is not stat's on every file system.
func holders(r io.Reader, inode uint64) (pids []int, err error) {
	const class, pid, file = 1, 4, 5 // columns; a waiter's line has "->" in the second
	s := bufio.NewScanner(r)
	for s.Scan() {
		f := strings.Fields(s.Text())
		if len(f) <= file || f[class] != "FLOCK" || !strings.HasSuffix(f[file], ":"+strconv.FormatUint(inode, 10)) {
			continue
		}
		// A lock from outside this pid namespace has pid 0.
		if n, err := strconv.Atoi(f[pid]); err == nil && n > 0 {
			pids = append(pids, n)
		}
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("read locks: %w", err)
	}
	return pids, nil
}

// hasOpen tells whether a process has the very file open.
func hasOpen(pid int, want *unix.Stat_t) bool {
	dir := filepath.Join("/proc", strconv.Itoa(pid), "fd")
	list, err := os.ReadDir(dir)
	if err != nil {
		return false // gone, or another user's
	}
	for _, fd := range list {
		var st unix.Stat_t
		if unix.Stat(filepath.Join(dir, fd.Name()), &st) == nil && st.Dev == want.Dev && st.Ino == want.Ino {
			return true
		}
	}
	return false
}
