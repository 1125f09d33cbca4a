package wide

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ErrStateInUse is returned when another supervisor holds the state directory.
var ErrStateInUse = errors.New("state directory is in use by another soulbox")

// openState makes the state directory, locks it, and checks or records the range of ids that its files belong to.
// The lock lives as long as the returned description, which inner and the daemon inherit.
func openState(dir string, r Range) (_ *os.File, err error) {
	if !filepath.IsAbs(dir) {
		return nil, fmt.Errorf("state directory %q is not an absolute path", dir)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make state directory: %w", err)
	}
	if err := ownDirectory(dir); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "supervisor.json"), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open state directory: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s: %w; choose another --state-dir or stop that one", dir, ErrStateInUse)
		}
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	b, err := io.ReadAll(f)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.Name(), err)
	}
	if len(b) == 0 {
		if b, err = json.Marshal(r); err != nil {
			return nil, fmt.Errorf("encode id range: %w", err)
		}
		if _, err := f.WriteAt(append(b, '\n'), 0); err != nil {
			return nil, fmt.Errorf("write %s: %w", f.Name(), err)
		}
		return f, f.Sync()
	}
	var was Range
	if err := json.Unmarshal(b, &was); err != nil {
		return nil, fmt.Errorf("read %s: %w", f.Name(), err)
	}
	if was != r {
		return nil, fmt.Errorf("state directory %s belongs to ids %d+%d, but this user's are %d+%d: start it as the user who made it, or choose another --state-dir",
			dir, was.UIDBase, was.Count, r.UIDBase, r.Count)
	}
	return f, nil
}

func ownDirectory(dir string) error {
	st, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("stat state directory: %w", err)
	}
	var sys unix.Stat_t
	if err := unix.Stat(dir, &sys); err != nil {
		return fmt.Errorf("stat state directory: %w", err)
	}
	if int(sys.Uid) != os.Getuid() {
		return fmt.Errorf("state directory %s belongs to uid %d, not to %d: choose another --state-dir", dir, sys.Uid, os.Getuid())
	}
	if st.Mode().Perm()&0o077 != 0 {
		if err := os.Chmod(dir, 0o700); err != nil {
			return fmt.Errorf("close state directory to others: %w", err)
		}
	}
	return nil
}
