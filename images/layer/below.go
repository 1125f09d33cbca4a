package layer

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// below are the layers that lie below one, the uppermost first.
type below []string

// find returns what overlayfs would show of a directory in these layers; ok is false when it would show none.
func (b below) find(parts []string) (st unix.Stat_t, ok bool, err error) {
	for _, dir := range b {
		st, ok, last, err := look(dir, parts)
		if err != nil || ok || last {
			return st, ok, err
		}
	}
	return st, false, nil
}

// look looks for a directory in one layer. last tells that the layer hides what those below it have there.
func look(dir string, parts []string) (st unix.Stat_t, ok, last bool, err error) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return st, false, false, fmt.Errorf("open a layer below: %w", err)
	}
	defer func() { unix.Close(fd) }()
	if err := unix.Fstat(fd, &st); err != nil {
		return st, false, false, fmt.Errorf("look at a layer below: %w", err)
	}
	for _, name := range parts {
		var there bool
		if st, there, err = stat(fd, name); err != nil || !there {
			return st, false, last, err
		}
		if !isDir(st) {
			return st, false, true, nil
		}
		sub, err := tree{fd}.open([]string{name})
		if err != nil {
			return st, false, false, explain(err, parts)
		}
		unix.Close(fd)
		fd = sub
		var mark [1]byte
		if n, err := unix.Fgetxattr(fd, opaqueXattr, mark[:]); err == nil && n == 1 && mark[0] == 'y' {
			last = true
		}
	}
	return st, true, false, nil
}

// inherited is what a directory has that a layer has entries in, and no entry of: what lies below it.
func (w *writer) inherited(parts []string) (meta, error) {
	m := meta{mode: 0o755, uid: w.id(0, nil), gid: w.id(0, nil)}
	st, ok, err := below(w.o.Below).find(parts)
	if err == nil && ok {
		m = meta{mode: st.Mode & 0o7777, uid: int(st.Uid), gid: int(st.Gid), modified: time.Unix(st.Mtim.Sec, st.Mtim.Nsec)}
	}
	return m, err
}
