package fsys

import (
	"context"
	"errors"
	"io"
	"os"

	"connectrpc.com/connect"
	"golang.org/x/sys/unix"
)

const (
	maxTreeDepth = 4096 // levels of a tree that is removed
	removeBatch  = 128  // names of one level held at once
	maxPasses    = 1000 // looks at one directory that is filled while it is emptied
)

// remove is Remove.
func (a *actor) remove(ctx context.Context, p string) error {
	if p == "/" {
		return newFault(connect.CodeInvalidArgument, "the root directory cannot be removed")
	}
	dir, name, err := a.root.openParent(p)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return nil
	} else if err != nil {
		return explain("remove", p, err)
	}
	defer dir.Close()
	return explain("remove", p, removeTree(ctx, dir, name))
}

// removeTree removes name from top with all it holds. No link is followed.
func removeTree(ctx context.Context, top *os.File, name string) error {
	isDir, err := unlink(top, name)
	if !isDir {
		return err
	}
	r := &remover{}
	defer r.close()
	if err := r.descend(top, name); err != nil {
		return err
	}
	for len(r.levels) > 0 {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		name, err := r.next()
		switch {
		case err != nil:
			return err
		case name == "":
			err = r.ascend(top)
		default:
			if isDir, err = unlink(r.dir, name); isDir {
				err = r.descend(r.dir, name)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// unlink removes name from dir unless it is a directory, which it says.
func unlink(dir *os.File, name string) (isDir bool, err error) {
	err = unix.Unlinkat(int(dir.Fd()), name, 0)
	switch {
	case err == nil, errors.Is(err, unix.ENOENT):
		return false, nil
	case !errors.Is(err, unix.EISDIR) && !errors.Is(err, unix.EPERM):
		return false, err
	}
	var st unix.Stat_t
	if e := unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); e == nil && isType(&st, unix.S_IFDIR) {
		return true, nil
	}
	return false, err
}

// remover is on its way through a tree. It holds one descriptor however deep the tree is: it goes back up by "..", and
// stops when that is not the directory it came from.
type remover struct {
	dir    *os.File // the deepest of levels
	levels []level
}

// level is a directory on the way down.
type level struct {
	inode
	name   string   // in the level above
	todo   []string // names to be removed before more are read
	found  bool     // names were read in this pass
	passes int
}

// inode tells directories apart.
type inode struct{ dev, ino uint64 }

func (r *remover) close() {
	if r.dir != nil {
		_ = r.dir.Close()
	}
}

// next returns something that the deepest directory holds; "" when it is empty.
func (r *remover) next() (string, error) {
	l := &r.levels[len(r.levels)-1]
	for len(l.todo) == 0 {
		var err error
		l.todo, err = r.dir.Readdirnames(removeBatch)
		switch {
		case err == nil:
			l.found = true
		case !errors.Is(err, io.EOF):
			return "", err
		case !l.found:
			return "", nil
		default: // removing can make a directory's reader miss names
			if l.passes++; l.passes > maxPasses {
				return "", errChanging
			}
			l.found = false
			if _, err := r.dir.Seek(0, io.SeekStart); err != nil {
				return "", err
			}
		}
	}
	name := l.todo[len(l.todo)-1]
	l.todo = l.todo[:len(l.todo)-1]
	return name, nil
}

// descend goes to the directory name of dir.
func (r *remover) descend(dir *os.File, name string) error {
	if len(r.levels) >= maxTreeDepth {
		return errTooDeep
	}
	child, err := openChild(dir, name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	st, err := stat(child)
	if err != nil {
		return errors.Join(err, child.Close())
	}
	r.close()
	r.dir = child
	r.levels = append(r.levels, level{inode: inode{uint64(st.Dev), st.Ino}, name: name})
	return nil
}

// ascend removes the deepest directory, which is empty, and goes to the one above; top is above all.
func (r *remover) ascend(top *os.File) error {
	last := len(r.levels) - 1
	name := r.levels[last].name
	r.levels = r.levels[:last]
	above := top
	if last > 0 {
		parent, err := openChild(r.dir, "..", unix.O_RDONLY|unix.O_DIRECTORY)
		if err != nil {
			return err
		}
		r.close()
		r.dir, above = parent, parent
		st, err := stat(parent)
		if err != nil {
			return err
		}
		if r.levels[last-1].inode != (inode{uint64(st.Dev), st.Ino}) {
			return errChanging
		}
	}
	if err := unix.Unlinkat(int(above.Fd()), name, unix.AT_REMOVEDIR); err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	return nil
}
