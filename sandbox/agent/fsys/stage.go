package fsys

import (
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// An upload lies under one of these names, with random text behind, until it is complete. The names tell watchers,
// who pass over them, what to call the rename in the end.
const (
	stagedNew  = ".soulbox-upload-new-"  // nothing lay at the target
	stagedOver = ".soulbox-upload-over-" // a file did
)

func isStaged(name string) bool {
	return strings.HasPrefix(name, stagedNew) || strings.HasPrefix(name, stagedOver)
}

// staged is a file on its way to its place.
type staged struct {
	dir        *os.File // O_PATH; holds both names
	temp, name string
	file       *os.File // to write to
	mode       uint32   // for the file at its place
	over       bool     // a file is there already
}

// stage makes a temporary file beside the target p, and what leads there. A link at p is followed; what is no regular
// file, or may not be written, is refused.
func (a *actor) stage(p string) (_ *staged, err error) {
	real, _, err := a.root.realPath(p)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		real = p // makeDirs will tell, or make what is missing
	} else if err != nil {
		return nil, explain("write", p, err)
	}
	if real == "/" {
		return nil, explain("write", p, errIsDirectory)
	}
	st := &staged{name: path.Base(real), mode: 0o644}
	if st.dir, _, err = a.makeDirs(path.Dir(real)); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = explain("write", p, err)
			_ = st.dir.Close()
		}
	}()
	if err := a.inspect(st); err != nil {
		return nil, err
	}
	st.temp = stagedNew + rand.Text()
	if st.over {
		st.temp = stagedOver + rand.Text()
	}
	fd, err := unix.Openat(int(st.dir.Fd()), st.temp, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	st.file = os.NewFile(uintptr(fd), st.temp)
	return st, nil
}

// inspect looks at what lies at the target.
func (a *actor) inspect(st *staged) error {
	at, err := openChild(st.dir, st.name, unix.O_PATH)
	if errors.Is(err, unix.ENOENT) {
		return nil
	} else if err != nil {
		return err
	}
	defer at.Close()
	now, err := stat(at)
	switch {
	case err != nil:
		return err
	case isType(&now, unix.S_IFDIR):
		return errIsDirectory
	case isType(&now, unix.S_IFLNK):
		return unix.ENOENT // it leads nowhere, or was put there just now
	case !isType(&now, unix.S_IFREG):
		return errNotRegular
	}
	st.over, st.mode = true, now.Mode&0o777
	// Renaming asks for rights to the directory alone; writing to somebody's file asks for more.
	return unix.Faccessat(int(st.dir.Fd()), st.name, unix.W_OK, unix.AT_EACCESS|unix.AT_SYMLINK_NOFOLLOW)
}

// commit puts the file in its place.
func (a *actor) commit(st *staged, p string, metadata map[string]string) error {
	err := func() error {
		for k, v := range metadata {
			if err := unix.Fsetxattr(int(st.file.Fd()), metadataPrefix+k, []byte(v), 0); err != nil {
				return err
			}
		}
		if err := a.give(st.file); err != nil {
			return err
		}
		// The mode last: a change of owner can clear bits of it.
		if err := unix.Fchmod(int(st.file.Fd()), st.mode); err != nil {
			return err
		}
		err := unix.Renameat2(int(st.dir.Fd()), st.temp, int(st.dir.Fd()), st.name, 0)
		if st.over && (errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES)) {
			return a.overwrite(st, metadata)
		}
		return err
	}()
	if err != nil {
		a.discard(st)
		return explain("write", p, err)
	}
	return explain("write", p, errors.Join(st.file.Close(), st.dir.Close()))
}

// overwrite copies the complete upload into the file at its place, where that cannot be replaced: it is a mount point,
// or another's in a sticky directory.
func (a *actor) overwrite(st *staged, metadata map[string]string) error {
	at, err := openChild(st.dir, st.name, unix.O_PATH)
	if err != nil {
		return err
	}
	defer at.Close()
	if now, err := stat(at); err != nil {
		return err
	} else if !isType(&now, unix.S_IFREG) {
		return errNotRegular
	}
	to, err := reopen(at, unix.O_WRONLY|unix.O_TRUNC)
	if err != nil {
		return err
	}
	if _, err = st.file.Seek(0, io.SeekStart); err == nil {
		_, err = io.Copy(to, st.file)
	}
	for k, v := range metadata {
		err = errors.Join(err, unix.Fsetxattr(int(to.Fd()), metadataPrefix+k, []byte(v), 0))
	}
	return errors.Join(err, to.Close(), unix.Unlinkat(int(st.dir.Fd()), st.temp, 0))
}

// discard removes what was staged. There is nobody to tell when that fails: the sandbox's user moved it, or made the
// directory unwritable.
func (a *actor) discard(st *staged) {
	_ = unix.Unlinkat(int(st.dir.Fd()), st.temp, 0)
	_ = st.file.Close()
	_ = st.dir.Close()
}
