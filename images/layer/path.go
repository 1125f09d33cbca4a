package layer

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	maxPath = 4095 // bytes of a path or of a link's target: what no system call could name is of no use
	maxName = 255  // bytes of one name

	// noLinks confines a path to its directory, and to what is no link, whatever is done to the tree meanwhile.
	noLinks = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV

	openTries = 64 // the kernel asks to try again when a rename crossed the walk
)

// split returns the names of an archive's path; none is the root itself. A leading slash is the root's, as all tools have it.
func split(name string) ([]string, error) {
	if len(name) > maxPath {
		return nil, fmt.Errorf("%w: a path of %d bytes", ErrHostile, len(name))
	}
	if strings.ContainsRune(name, 0) {
		return nil, fmt.Errorf("%w: a path with a NUL byte: %.100q", ErrHostile, name)
	}
	var parts []string
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case part == "" || part == ".":
		case part == "..":
			return nil, fmt.Errorf("%w: a path that leads up: %.100q", ErrHostile, name)
		case len(part) > maxName:
			return nil, fmt.Errorf("%w: a name of %d bytes", ErrHostile, len(part))
		default:
			parts = append(parts, part)
		}
	}
	return parts, nil
}

// tree is the directory that is written to.
type tree struct{ fd int }

// open returns a descriptor of the directory at parts, walked without following a link.
func (t tree) open(parts []string) (int, error) {
	name := "."
	if len(parts) > 0 {
		name = strings.Join(parts, "/")
	}
	how := &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC | unix.O_NOFOLLOW, Resolve: noLinks}
	for try := 0; ; try++ {
		fd, err := unix.Openat2(t.fd, name, how)
		if err != nil && try < openTries && (errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR)) {
			runtime.Gosched()
			continue
		}
		return fd, err
	}
}

// errThrough is why a path cannot be walked.
var errThrough = fmt.Errorf("%w: a path through what is no directory", ErrHostile)

// explain words why open failed.
func explain(err error, parts []string) error {
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.EXDEV) {
		return fmt.Errorf("%w: %.100q", errThrough, strings.Join(parts, "/"))
	}
	return fmt.Errorf("open directory %.100q: %w", strings.Join(parts, "/"), err)
}

// stat looks at name in the directory dir, without following a link. ok is false when nothing is there.
func stat(dir int, name string) (st unix.Stat_t, ok bool, err error) {
	err = unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return st, false, nil
	}
	if err != nil {
		return st, false, fmt.Errorf("look at %.100q: %w", name, err)
	}
	return st, true, nil
}

func isDir(st unix.Stat_t) bool { return st.Mode&unix.S_IFMT == unix.S_IFDIR }

// remove removes name in the directory dir, with all that is in it.
func remove(dir int, name string) (err error) {
	err = unix.Unlinkat(dir, name, 0)
	if err == nil || errors.Is(err, unix.ENOENT) {
		return nil
	}
	if !errors.Is(err, unix.EISDIR) && !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("remove %.100q: %w", name, err)
	}
	names, sub, err := list(dir, name)
	if err != nil {
		return err
	}
	defer unix.Close(sub)
	for _, n := range names {
		if err := remove(sub, n); err != nil {
			return err
		}
	}
	if err := unix.Unlinkat(dir, name, unix.AT_REMOVEDIR); err != nil {
		return fmt.Errorf("remove %.100q: %w", name, err)
	}
	return nil
}

// list opens the directory name in dir and returns what is in it.
func list(dir int, name string) (names []string, fd int, err error) {
	fd, err = tree{dir}.open([]string{name})
	if err != nil {
		return nil, -1, explain(err, []string{name})
	}
	again, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		unix.Close(fd)
		return nil, -1, fmt.Errorf("list %.100q: %w", name, err)
	}
	f := os.NewFile(uintptr(again), name)
	defer f.Close()
	if names, err = f.Readdirnames(-1); err != nil {
		unix.Close(fd)
		return nil, -1, fmt.Errorf("list %.100q: %w", name, err)
	}
	return names, fd, nil
}
