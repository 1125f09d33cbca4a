package sandbox

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// LockFile returns the path of the file that locks blocks of the subordinate ids that start at base, for all daemons
// of the user with the given uid. For root it makes the file's directory.
func LockFile(uid int, base uint32) (string, error) {
	if uid == 0 {
		const dir = "/run/soulbox"
		if err := os.Mkdir(dir, 0o711); err != nil && !errors.Is(err, os.ErrExist) {
			return "", fmt.Errorf("make directory of the id lock: %w", err)
		}
		if !ownDirectory(dir, uid) {
			return "", fmt.Errorf("directory of the id lock: %s is not a directory of uid 0's that only it can write to", dir)
		}
		return filepath.Join(dir, fmt.Sprintf("ids-%d.lock", base)), nil
	}
	// By the directory's existence, not by XDG_RUNTIME_DIR: all daemons of a user must agree, whatever started them. The
	// user of a system service has no session, but that service's runtime directory, and the service a /tmp of its own.
	for _, dir := range []string{fmt.Sprintf("/run/user/%d", uid), "/run/soulbox-service"} {
		if ownDirectory(dir, uid) {
			return filepath.Join(dir, fmt.Sprintf("soulbox-ids-%d.lock", base)), nil
		}
	}
	return fmt.Sprintf("/tmp/soulbox-ids-%d-%d.lock", uid, base), nil
}

// ownDirectory reports whether path is a directory of uid's that nobody else can write to.
func ownDirectory(path string, uid int) bool {
	var st unix.Stat_t
	return unix.Lstat(path, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR && int(st.Uid) == uid && st.Mode&0o022 == 0
}

// OpenLockFile opens the lock file at path, which it makes when it is missing. A file that another user could have put
// there, or could write to, is an error.
func OpenLockFile(path string) (_ *os.File, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open id lock: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	st, err := statFile(f)
	if err != nil {
		return nil, fmt.Errorf("stat id lock %s: %w", path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || int(st.Uid) != os.Geteuid() || st.Mode&0o022 != 0 || st.Nlink != 1 {
		return nil, fmt.Errorf("id lock %s: mode %o, owner %d, %d links: want a regular file of uid %d's that only it can write to; remove it",
			path, st.Mode, st.Uid, st.Nlink, os.Geteuid())
	}
	return f, nil
}

// lockFilePresent reports that f's name was removed: the next daemon then locks another file, and both would give out
// the same blocks.
func lockFilePresent(f *os.File) error {
	st, err := statFile(f)
	if err != nil {
		return fmt.Errorf("stat id lock: %w", err)
	}
	if st.Nlink == 0 {
		return errors.New("the id lock was removed while in use")
	}
	return nil
}

// lockBlocks locks n blocks from first on and reports whether it could; it does not wait. What the same description
// has locked already is locked again.
func lockBlocks(f *os.File, first, n int) (bool, error) {
	err := setLock(f, unix.F_WRLCK, first, n)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return false, nil
	}
	return err == nil, err
}

func unlockBlocks(f *os.File, first, n int) error {
	if n == 0 {
		return nil // a length of 0 would mean: to the end
	}
	return setLock(f, unix.F_UNLCK, first, n)
}

func setLock(f *os.File, kind int16, first, n int) error {
	return control(f, func(fd uintptr) error {
		return unix.FcntlFlock(fd, unix.F_OFD_SETLK, &unix.Flock_t{Type: kind, Whence: io.SeekStart, Start: int64(first), Len: int64(n)})
	})
}

func statFile(f *os.File) (st unix.Stat_t, err error) {
	err = control(f, func(fd uintptr) error { return unix.Fstat(int(fd), &st) })
	return st, err
}

// control calls fn with f's descriptor, which stays open meanwhile.
func control(f *os.File, fn func(fd uintptr) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := conn.Control(func(fd uintptr) { inner = fn(fd) }); err != nil {
		return err
	}
	return inner
}
