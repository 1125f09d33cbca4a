package fsys

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	resolveInRoot = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS
	// resolveNoLinks is for paths that were listed: a link in one was put there since.
	resolveNoLinks = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS

	openTries = 64       // the kernel asks to try again when a rename crossed a ".."
	maxLinks  = 40       // links in one path, as the kernel bounds them
	maxTarget = 64 << 10 // bytes of a path with its links written out
)

// Root is a directory tree that no path leads out of. Its methods can be called from several goroutines.
type Root struct{ dir *os.File }

// NewRoot returns the tree below dir, whose descriptor it duplicates. It needs Linux 5.6.
func NewRoot(dir *os.File) (*Root, error) {
	fd := -1
	var dupErr error
	conn, err := dir.SyscallConn()
	if err == nil {
		err = conn.Control(func(old uintptr) { fd, dupErr = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 3) })
	}
	if err := errors.Join(err, dupErr); err != nil {
		return nil, fmt.Errorf("duplicate descriptor of root: %w", err)
	}
	r := &Root{os.NewFile(uintptr(fd), "root")}
	top, err := r.Open("/", unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		if errors.Is(err, unix.ENOSYS) {
			err = fmt.Errorf("this kernel cannot confine paths to a directory (openat2, Linux 5.6): %w", err)
		}
		return nil, errors.Join(fmt.Errorf("open root: %w", err), r.Close())
	}
	return r, top.Close()
}

// Close gives the descriptor back once no call uses it any more.
func (r *Root) Close() error { return r.dir.Close() }

// Open opens the absolute path p below the root; flags may neither create nor truncate, and are for O_PATH or
// directories: what else lies there could block or act. Links are followed, the last one unless flags say O_NOFOLLOW.
func (r *Root) Open(p string, flags int) (*os.File, error) {
	return openBelow(r.dir, p, flags, resolveInRoot)
}

// openBelow opens p from dir. It holds on to dir's descriptor meanwhile, which another goroutine may close.
func openBelow(dir *os.File, p string, flags int, resolve uint64) (*os.File, error) {
	how := &unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC), Resolve: resolve}
	conn, err := dir.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	var openErr error
	err = conn.Control(func(from uintptr) {
		for range openTries {
			if fd, openErr = unix.Openat2(int(from), p, how); !errors.Is(openErr, unix.EAGAIN) && !errors.Is(openErr, unix.EINTR) {
				return
			}
			runtime.Gosched()
		}
	})
	if err := errors.Join(err, openErr); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), p), nil
}

// openChild opens what lies at name, a single element, in dir, and follows no link.
func openChild(dir *os.File, name string, flags int) (*os.File, error) {
	// gVisor follows the last link when O_DIRECTORY stands beside O_NOFOLLOW, so that is said in another way.
	if flags&(unix.O_DIRECTORY|unix.O_PATH) == unix.O_DIRECTORY {
		return openBelow(dir, name, flags|unix.O_NOFOLLOW, unix.RESOLVE_NO_SYMLINKS|unix.RESOLVE_NO_MAGICLINKS)
	}
	fd, err := unix.Openat(int(dir.Fd()), name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// fdPath names what f is open on for calls that take no descriptor, or none with O_PATH.
func fdPath(f *os.File) string { return "/proc/self/fd/" + strconv.Itoa(int(f.Fd())) }

// reopen opens the regular file that f, an O_PATH descriptor, stands for. It checks the caller's rights anew.
func reopen(f *os.File, flags int) (*os.File, error) {
	fd, err := unix.Open(fdPath(f), flags|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	runtime.KeepAlive(f)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// stat describes what f is open on; O_PATH is enough.
func stat(f *os.File) (unix.Stat_t, error) {
	var st unix.Stat_t
	err := unix.Fstatat(int(f.Fd()), "", &st, unix.AT_EMPTY_PATH)
	runtime.KeepAlive(f)
	return st, err
}

// isType tells whether st describes a file of the type t, one of unix.S_IF*.
func isType(st *unix.Stat_t, t uint32) bool { return st.Mode&unix.S_IFMT == t }

// OpenFile opens the regular file at p for reading. For anything else the error is errNotRegular or errIsDirectory.
func (r *Root) OpenFile(p string) (*os.File, unix.Stat_t, error) {
	at, err := r.Open(p, unix.O_PATH)
	if err != nil {
		return nil, unix.Stat_t{}, err
	}
	defer at.Close()
	st, err := stat(at)
	switch {
	case err != nil:
		return nil, st, err
	case isType(&st, unix.S_IFDIR):
		return nil, st, errIsDirectory
	case !isType(&st, unix.S_IFREG):
		return nil, st, errNotRegular
	}
	f, err := reopen(at, unix.O_RDONLY)
	return f, st, err
}

// OpenRegular opens the regular file at p, a path relative to dir, for reading. Links on the way are followed as long as they
// stay below dir, a link at its end is not.
func OpenRegular(dir *os.File, p string) (*os.File, error) {
	at, err := openBelow(dir, p, unix.O_PATH|unix.O_NOFOLLOW, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_MAGICLINKS)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", p, err)
	}
	defer at.Close()
	st, err := stat(at)
	if err == nil && !isType(&st, unix.S_IFREG) {
		err = errNotRegular
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", p, err)
	}
	return reopen(at, unix.O_RDONLY)
}

// readSmall returns the first limit bytes of the regular file at p.
func (r *Root) readSmall(p string, limit int64) ([]byte, error) {
	f, _, err := r.OpenFile(p)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}

// openParent opens the directory that holds the last element of p, and returns that element: "." for "/".
func (r *Root) openParent(p string) (*os.File, string, error) {
	dir, name := path.Split(p)
	if name == "" {
		name = "."
	}
	f, err := r.Open(dir, unix.O_PATH|unix.O_DIRECTORY)
	return f, name, err
}

// realPath returns p with its links written out, and whether something lies there. Only the last element may be
// missing. It is for showing and for finding the directory to work in: by the time it returns, the tree can differ.
func (r *Root) realPath(p string) (real string, exists bool, err error) {
	real, rest := "/", p
	for links := 0; rest != ""; {
		var elem string
		elem, rest, _ = strings.Cut(rest, "/")
		switch elem {
		case "", ".":
			continue
		case "..":
			real = path.Dir(real)
			continue
		}
		next := path.Join(real, elem)
		target, isLink, err := r.readLink(next)
		switch {
		case errors.Is(err, unix.ENOENT) && strings.Trim(rest, "/") == "":
			return next, false, nil
		case err != nil:
			return "", false, err
		case !isLink:
			real = next
			continue
		}
		if links++; links > maxLinks {
			return "", false, unix.ELOOP
		}
		if path.IsAbs(target) {
			real = "/"
		}
		if rest = target + "/" + rest; len(rest) > maxTarget {
			return "", false, unix.ENAMETOOLONG
		}
	}
	return real, true, nil
}

// readLink returns the target of the link at p, or that there is no link but something else.
func (r *Root) readLink(p string) (string, bool, error) {
	f, err := r.Open(p, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return "", false, err
	}
	defer f.Close()
	st, err := stat(f)
	if err != nil || !isType(&st, unix.S_IFLNK) {
		return "", false, err
	}
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(f.Fd()), "", buf)
	if err != nil {
		return "", true, err
	}
	return string(buf[:n]), true, nil
}
