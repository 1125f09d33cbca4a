package fsys

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"connectrpc.com/connect"
	"golang.org/x/sys/unix"

	"github.com/soulbox/soulbox/sandbox/agent/agentpb"
)

// actor does what one user asks for. Its methods expect to run on a thread with the rights for it, see [Identity.Run].
type actor struct {
	root  *Root
	who   Identity // who asks, and owns what is made
	own   bool     // the thread is root's: what is made has to be given to who
	names names
}

// give makes f who's. f may be O_PATH.
func (a *actor) give(f *os.File) error {
	if !a.own {
		return nil // made with who's ids
	}
	return unix.Fchownat(int(f.Fd()), "", int(a.who.UID), int(a.who.GID), unix.AT_EMPTY_PATH)
}

// makeDirs makes the directory p and what leads to it, and opens it with O_PATH; existed says that nothing was made.
func (a *actor) makeDirs(p string) (dir *os.File, existed bool, err error) {
	have := p
	for {
		dir, err = a.root.Open(have, unix.O_PATH|unix.O_DIRECTORY)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.ENOENT) || have == "/" {
			return nil, false, explainDir(have, err)
		}
		have = path.Dir(have)
	}
	if have == p {
		return dir, true, nil
	}
	for elem := range strings.SplitSeq(strings.Trim(p[len(have):], "/"), "/") {
		child, err := a.makeChild(dir, elem)
		_ = dir.Close()
		if err != nil {
			return nil, false, explainDir(p, err)
		}
		dir = child
	}
	return dir, false, nil
}

func explainDir(p string, err error) error {
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return &fault{connect.CodeInvalidArgument, fmt.Sprintf("path already exists but it is not a directory: %s", p), err}
	}
	return explain("make directory", p, err)
}

// makeChild makes a directory in dir. One that somebody else makes at the same time is as good.
func (a *actor) makeChild(dir *os.File, name string) (*os.File, error) {
	made := unix.Mkdirat(int(dir.Fd()), name, 0o755)
	if made != nil && !errors.Is(made, unix.EEXIST) {
		return nil, made
	}
	child, err := openChild(dir, name, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	if made == nil {
		if err := a.give(child); err != nil {
			return nil, errors.Join(err, child.Close())
		}
	}
	return child, nil
}

// mkdir is MakeDir.
func (a *actor) mkdir(p string) (*agentpb.EntryInfo, error) {
	dir, existed, err := a.makeDirs(p)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	if existed {
		return nil, newFault(connect.CodeAlreadyExists, fmt.Sprintf("directory already exists: %s", p))
	}
	return a.describe(dir, ".", p)
}

// move is Move.
func (a *actor) move(from, to string) (*agentpb.EntryInfo, error) {
	if from == "/" || to == "/" {
		return nil, newFault(connect.CodeInvalidArgument, "the root directory cannot be moved or replaced")
	}
	fromDir, fromName, err := a.root.openParent(from)
	if err != nil {
		return nil, explain("move", from, err)
	}
	defer fromDir.Close()
	var st unix.Stat_t
	if err := unix.Fstatat(int(fromDir.Fd()), fromName, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return nil, explain("move", from, err)
	}
	toDir, _, err := a.makeDirs(path.Dir(to))
	if err != nil {
		return nil, err
	}
	defer toDir.Close()
	toName := path.Base(to)
	err = unix.Renameat2(int(fromDir.Fd()), fromName, int(toDir.Fd()), toName, 0)
	if errors.Is(err, unix.EXDEV) && isType(&st, unix.S_IFREG) {
		err = a.moveAcross(fromDir, fromName, from, to)
	}
	if err != nil {
		return nil, explain("move", from, err)
	}
	return a.describe(toDir, toName, to)
}

// moveAcross moves a regular file to another file system, by copying it.
func (a *actor) moveAcross(fromDir *os.File, name, from, to string) error {
	at, err := openChild(fromDir, name, unix.O_PATH)
	if err != nil {
		return err
	}
	defer at.Close()
	now, err := stat(at)
	if err != nil {
		return err
	}
	if !isType(&now, unix.S_IFREG) {
		return errNotRegular
	}
	f, err := reopen(at, unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := a.stage(to)
	if err != nil {
		return err
	}
	st.mode = now.Mode & 0o777
	if _, err := io.CopyN(st.file, f, now.Size); err != nil {
		a.discard(st)
		return err
	}
	if err := a.commit(st, to, readMetadata(fdPath(fromDir)+"/"+name)); err != nil {
		return err
	}
	return explain("remove", from, unix.Unlinkat(int(fromDir.Fd()), name, 0))
}

// stat is Stat.
func (a *actor) stat(p string) (*agentpb.EntryInfo, error) {
	dir, name, err := a.root.openParent(p)
	if err != nil {
		return nil, a.missing(p, err)
	}
	defer dir.Close()
	e, err := a.describe(dir, name, p)
	return e, a.missing(p, err)
}

// missing explains why p cannot be found, in envd's words.
func (a *actor) missing(p string, err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return &fault{connect.CodeNotFound, fmt.Sprintf("path '%s' does not exist", p), err}
	}
	return explain("look at", p, err)
}
