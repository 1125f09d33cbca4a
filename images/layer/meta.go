package layer

import (
	"archive/tar"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// meta is what a file has beside its content.
type meta struct {
	mode     uint32 // permissions, setuid, setgid, sticky
	uid, gid int    // of the file system
	own      bool   // one of them is each sandbox's own
	modified time.Time
	xattrs   map[string]string
}

// meta reads what h says of a file.
func (w *writer) meta(h *tar.Header) meta {
	m := meta{mode: uint32(h.Mode) & 0o7777, modified: h.ModTime, xattrs: map[string]string{}}
	m.uid, m.gid = w.id(h.Uid, &m.own), w.id(h.Gid, &m.own)
	for name, value := range h.PAXRecords {
		if name, ok := strings.CutPrefix(name, "SCHILY.xattr."); ok && allowedXattr(name) {
			m.xattrs[name] = value
		}
	}
	return m
}

// allowedXattr tells whether an archive may set an extended attribute: those of users, which mean nothing to the kernel,
// but for overlayfs's own, and file capabilities, which never count beyond a sandbox.
func allowedXattr(name string) bool {
	if rest, ok := strings.CutPrefix(name, "user."); ok {
		return rest != "" && rest != "overlay" && !strings.HasPrefix(rest, "overlay.") && len(name) <= maxName && !strings.ContainsRune(name, 0)
	}
	return name == "security.capability"
}

// apply gives name in dir its owner, mode and time. Of a link only owner and time are its own.
func (m meta) apply(dir int, name string, link bool) error {
	if err := unix.Fchownat(dir, name, m.uid, m.gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("give %.100q to its owner: %w", name, err)
	}
	if !link {
		if err := unix.Fchmodat(dir, name, m.mode, 0); err != nil {
			return fmt.Errorf("set mode of %.100q: %w", name, err)
		}
	}
	if err := unix.UtimesNanoAt(dir, name, m.times(), unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("set time of %.100q: %w", name, err)
	}
	return nil
}

// applyFile is apply for an open file or directory. The mode comes after the owner, whose change clears setuid, and the
// capabilities last, which every other change clears.
func (m meta) applyFile(f *os.File) error {
	fd := int(f.Fd())
	if err := unix.Fchown(fd, m.uid, m.gid); err != nil {
		return fmt.Errorf("give %.100q to its owner: %w", f.Name(), err)
	}
	if err := unix.Fchmod(fd, m.mode); err != nil {
		return fmt.Errorf("set mode of %.100q: %w", f.Name(), err)
	}
	names := make([]string, 0, len(m.xattrs))
	for name := range m.xattrs {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		err := unix.Fsetxattr(fd, name, []byte(m.xattrs[name]), 0)
		switch {
		case err == nil:
		case errors.Is(err, unix.ENOTSUP), errors.Is(err, unix.EPERM): // the file system has none, or only root has them
		case errors.Is(err, unix.EINVAL), errors.Is(err, unix.E2BIG), errors.Is(err, unix.ENOSPC), errors.Is(err, unix.ERANGE):
			return fmt.Errorf("%w: attribute %.100q of %.100q cannot be set: %w", ErrHostile, name, f.Name(), err)
		default:
			return fmt.Errorf("set attribute %.100q of %.100q: %w", name, f.Name(), err)
		}
	}
	times := m.times()
	if err := unix.Futimes(fd, []unix.Timeval{unix.NsecToTimeval(times[0].Nano()), unix.NsecToTimeval(times[1].Nano())}); err != nil {
		return fmt.Errorf("set time of %.100q: %w", f.Name(), err)
	}
	return nil
}

// times are the times of access and change. What a file system cannot hold is cut.
func (m meta) times() []unix.Timespec {
	const last = 1<<33 - 1 // ext4 and xfs count further than that, and nobody's files are from then
	t := unix.Timespec{Sec: min(max(m.modified.Unix(), 0), last), Nsec: int64(m.modified.Nanosecond())}
	return []unix.Timespec{t, t}
}

// settle gives the directories what they are to have, the deepest first: until then they had to be written to.
func (w *writer) settle() error {
	paths := make([]string, 0, len(w.dirs))
	for p := range w.dirs {
		paths = append(paths, p)
	}
	slices.SortFunc(paths, func(a, b string) int { return strings.Compare(b, a) })
	for _, p := range paths {
		parts, err := split(p)
		if err != nil {
			return err
		}
		fd, err := w.open(parts)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
			continue // a later entry took its place
		}
		if err != nil {
			return explain(err, parts)
		}
		dir := os.NewFile(uintptr(fd), p)
		if err := errors.Join(w.dirs[p].applyFile(dir), dir.Close()); err != nil {
			return err
		}
	}
	return nil
}
