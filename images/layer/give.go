package layer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Give gives the entries of an image that belong to ids which each sandbox has for itself to those of one sandbox: in the
// tree dir, which must be its own, what still belongs to the id nobody goes to what to makes of the archive's id. At most
// budget bytes of files are given, since an overlay copies them; the rest stays nobody's. What a later layer replaced is
// left alone.
func Give(dir string, own []Own, nobody int, to func(id int) int, budget int64) (err error) {
	if len(own) == 0 {
		return nil
	}
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", dir, err)
	}
	defer unix.Close(fd)
	for _, o := range own {
		parts, err := split(o.Path)
		if err != nil || len(parts) == 0 {
			continue // it was refused when it came, or is the root
		}
		switch n, err := give(tree{fd}, parts, o, nobody, to, budget); {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, ErrHostile): // another layer took its place
		case err != nil:
			return fmt.Errorf("give %.200q to its owner: %w", o.Path, err)
		default:
			budget -= n
		}
	}
	return nil
}

// give gives one entry and returns its size.
func give(t tree, parts []string, o Own, nobody int, to func(int) int, budget int64) (int64, error) {
	dir, err := t.open(parts[:len(parts)-1])
	if err != nil {
		return 0, explain(err, parts)
	}
	defer unix.Close(dir)
	name := parts[len(parts)-1]
	st, there, err := stat(dir, name)
	if err != nil || !there {
		return 0, err
	}
	uid, gid := int(st.Uid), int(st.Gid)
	regular := st.Mode&unix.S_IFMT == unix.S_IFREG
	if uid != nobody && gid != nobody || regular && st.Size > budget {
		return 0, nil
	}
	if uid == nobody {
		uid = to(o.UID)
	}
	if gid == nobody {
		gid = to(o.GID)
	}
	if err := unix.Fchownat(dir, name, uid, gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return 0, os.NewSyscallError("chown", err)
	}
	if !regular {
		return 0, nil
	}
	if st.Mode&(unix.S_ISUID|unix.S_ISGID) != 0 { // which the change of owner cleared
		if err := unix.Fchmodat(dir, name, st.Mode&0o7777, 0); err != nil {
			return 0, os.NewSyscallError("chmod", err)
		}
	}
	return st.Size, nil
}
