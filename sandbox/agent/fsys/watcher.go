package fsys

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/soulbox/soulbox/sandbox/agent/agentpb"
)

const (
	maxWatches  = 8192     // directories of one watcher
	maxBatch    = 4 << 20  // bytes of the events told at once, as protobuf has them
	maxScanned  = 1 << 12  // files in new directories that are remembered
	maxMoving   = 64       // uploads between the two halves of their rename
	watchBuffer = 16 << 10 // bytes read from the kernel at once

	watchMask = unix.IN_CREATE | unix.IN_MODIFY | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_ATTRIB |
		unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR
)

var (
	errLost           = errors.New("events were lost: there were too many")
	errTooManyWatches = errors.New("there are too many directories to watch")
)

// watchOptions say what a watcher tells of.
type watchOptions struct{ recursive, entries, network bool }

// watcher tells what happens in a directory. One goroutine uses it, but close may be called from any.
type watcher struct {
	*actor
	watchOptions
	shown  string   // the path that was asked for
	real   string   // the same without links; no descriptor is held, with which the kernel would not tell of a removal
	kernel *os.File // inotify
	buf    []byte

	dirs    map[int32]string // watch descriptor → path below the directory
	scanned map[string]bool  // told of by a look at a new directory; the kernel may tell again
	moving  map[uint32]bool  // cookie of an upload's rename → whether a file was there before
	batch   []event
	lost    bool
}

// event is one thing that happened to name, which need not be UTF-8.
type event struct {
	name string
	what agentpb.EventType
}

// newWatcher begins to watch p. It runs on a thread with the user's rights.
func newWatcher(ctx context.Context, a *actor, p string, o watchOptions) (*watcher, error) {
	w := &watcher{
		actor: a, watchOptions: o, shown: p, buf: make([]byte, watchBuffer),
		dirs: map[int32]string{}, scanned: map[string]bool{}, moving: map[uint32]bool{},
	}
	var err error
	if w.real, _, err = a.root.realPath(p); err != nil {
		return nil, a.missingDir(p, err)
	}
	dir, err := w.openDir(".", unix.O_PATH)
	if err != nil {
		return nil, a.missingDir(p, err)
	}
	defer dir.Close()
	if err := requireDir(dir, p); err != nil {
		return nil, err
	}
	if !o.network && onNetwork(dir) {
		return nil, newFault(connect.CodeInvalidArgument, fmt.Sprintf("path is on a network mount: %s", p))
	}
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		return nil, explain("watch", p, err)
	}
	w.kernel = os.NewFile(uintptr(fd), "inotify")
	if o.recursive {
		err = w.scan(ctx, ".", false)
	} else {
		err = w.add(dir, ".")
	}
	if err != nil {
		w.close()
		return nil, explain("watch", p, err)
	}
	return w, nil
}

// close ends the watcher; a call of read returns.
func (w *watcher) close() { _ = w.kernel.Close() }

// openDir opens rel, which lies below the watched directory. No link is followed any more.
func (w *watcher) openDir(rel string, flags int) (*os.File, error) {
	return openBelow(w.root.dir, path.Join(w.real, rel), flags, resolveInRoot|unix.RESOLVE_NO_SYMLINKS)
}

// onNetwork tells whether others than this kernel change what f is open on.
func onNetwork(f *os.File) bool {
	var fs unix.Statfs_t
	if unix.Fstatfs(int(f.Fd()), &fs) != nil {
		return false
	}
	switch int64(fs.Type) {
	case unix.NFS_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.CEPH_SUPER_MAGIC, unix.FUSE_SUPER_MAGIC:
		return true
	}
	return false
}

// control calls f with the inotify descriptor, which stays non-blocking.
func (w *watcher) control(f func(fd int) error) error {
	conn, err := w.kernel.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	err = conn.Control(func(fd uintptr) { inner = f(int(fd)) })
	return errors.Join(err, inner)
}

// add watches dir, which is called rel.
func (w *watcher) add(dir *os.File, rel string) error {
	if len(w.dirs) >= maxWatches {
		return errTooManyWatches
	}
	return w.control(func(fd int) error {
		// The link leads to the directory that is open, wherever its name leads by now.
		wd, err := unix.InotifyAddWatch(fd, fdPath(dir), watchMask)
		if errors.Is(err, unix.ENOSPC) {
			return errTooManyWatches
		} else if err != nil {
			return err
		}
		w.dirs[int32(wd)] = rel
		return nil
	})
}

// scan watches the directory rel and all below it, and with tell reports what is there as made now. It follows no
// link, and passes over what it may not read.
func (w *watcher) scan(ctx context.Context, rel string, tell bool) error {
	for todo := []string{rel}; len(todo) > 0; {
		here := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		below, err := w.scanOne(ctx, here, tell)
		if err != nil && (here == "." || !passOver(err)) {
			return err
		}
		if todo = append(todo, below...); len(todo) > maxWatches {
			return errTooManyWatches
		}
	}
	return nil
}

// scanOne watches the directory rel and returns the directories in it.
func (w *watcher) scanOne(ctx context.Context, rel string, tell bool) ([]string, error) {
	dir, err := w.openDir(rel, unix.O_RDONLY|unix.O_DIRECTORY)
	if errors.Is(err, unix.ENAMETOOLONG) {
		return nil, errTooDeep
	} else if err != nil {
		return nil, err
	}
	defer dir.Close()
	// The watch first: what comes after the look is told by the kernel.
	if err := w.add(dir, rel); err != nil {
		return nil, err
	}
	var below []string
	for {
		batch, err := dir.Readdirnames(readdirBatch)
		if len(batch) == 0 {
			return below, ignoreEOF(err)
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		for _, name := range batch {
			child := path.Join(rel, name)
			if tell && !isStaged(name) {
				w.tell(child, agentpb.EventType_EVENT_TYPE_CREATE)
				if len(w.scanned) < maxScanned {
					w.scanned[child] = true
				}
			}
			var st unix.Stat_t
			if unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil && isType(&st, unix.S_IFDIR) {
				if below = append(below, child); len(below) > maxWatches {
					return nil, errTooManyWatches
				}
			}
		}
	}
}

// forget ends the watches of rel and of what is below it: it was moved away.
func (w *watcher) forget(rel string) {
	for wd, dir := range w.dirs {
		if dir == rel || strings.HasPrefix(dir, rel+"/") {
			delete(w.dirs, wd)
			_ = w.control(func(fd int) error { // fails when the directory is gone by now
				_, err := unix.InotifyRmWatch(fd, uint32(wd))
				return err
			})
		}
	}
}

func (w *watcher) tell(name string, what agentpb.EventType) {
	if len(w.batch) >= maxBatch/128 {
		w.lost = true
		return
	}
	w.batch = append(w.batch, event{name, what})
}

// read waits until deadline for the kernel and returns what it tells. The slice is good until the next call.
func (w *watcher) read(deadline time.Time) ([]byte, error) {
	if err := w.kernel.SetReadDeadline(deadline); err != nil {
		return nil, err
	}
	n, err := w.kernel.Read(w.buf)
	return w.buf[:max(n, 0)], err
}

// digest turns what the kernel told into events. It runs on a thread with the user's rights. errLost comes with the
// events from before the loss.
func (w *watcher) digest(ctx context.Context, raw []byte) ([]*agentpb.FilesystemEvent, error) {
	w.batch, w.lost = nil, false
	for len(raw) >= unix.SizeofInotifyEvent {
		wd := int32(binary.NativeEndian.Uint32(raw))
		mask, cookie := binary.NativeEndian.Uint32(raw[4:]), binary.NativeEndian.Uint32(raw[8:])
		n := int(binary.NativeEndian.Uint32(raw[12:]))
		raw = raw[unix.SizeofInotifyEvent:]
		name, _, _ := bytes.Cut(raw[:min(n, len(raw))], []byte{0})
		raw = raw[min(n, len(raw)):]
		if err := w.handle(ctx, wd, mask, cookie, string(name)); err != nil {
			return nil, explain("watch", w.shown, err)
		}
	}
	out := make([]*agentpb.FilesystemEvent, 0, len(w.batch))
	size := 0
	for _, e := range w.batch {
		m := w.message(e)
		if size += proto.Size(m); size > maxBatch {
			w.lost = true
			break
		}
		out = append(out, m)
	}
	if w.lost {
		return out, &fault{connect.CodeResourceExhausted, errLost.Error(), errLost}
	}
	return out, nil
}

// message is e as it is sent.
func (w *watcher) message(e event) *agentpb.FilesystemEvent {
	m := &agentpb.FilesystemEvent{Name: valid(e.name), Type: e.what}
	switch e.what {
	case agentpb.EventType_EVENT_TYPE_CREATE, agentpb.EventType_EVENT_TYPE_WRITE, agentpb.EventType_EVENT_TYPE_CHMOD:
		if w.entries {
			m.Entry, _ = w.stat(path.Join(w.shown, e.name)) // none when it is gone
		}
	}
	return m
}

// handle notes one event of the kernel's.
func (w *watcher) handle(ctx context.Context, wd int32, mask, cookie uint32, name string) error {
	if mask&unix.IN_Q_OVERFLOW != 0 {
		w.lost = true
		return nil
	}
	rel, known := w.dirs[wd]
	if mask&unix.IN_IGNORED != 0 {
		delete(w.dirs, wd)
		return nil
	}
	if !known {
		return nil
	}
	if name == "" { // of the watched directory itself; of those below, their parents tell
		if rel == "." {
			w.tellSelf(mask)
		}
		return nil
	}
	full := path.Join(rel, name)
	if isStaged(name) {
		if mask&unix.IN_MOVED_FROM != 0 && len(w.moving) < maxMoving {
			w.moving[cookie] = strings.HasPrefix(name, stagedOver)
		}
		return nil
	}
	isTree := mask&unix.IN_ISDIR != 0 && w.recursive
	switch {
	case mask&unix.IN_MOVED_TO != 0 && w.uploaded(full, cookie):
	case mask&(unix.IN_CREATE|unix.IN_MOVED_TO) != 0:
		if w.scanned[full] {
			delete(w.scanned, full)
			return nil
		}
		w.tell(full, agentpb.EventType_EVENT_TYPE_CREATE)
		if isTree {
			return w.scan(ctx, full, true)
		}
	case mask&unix.IN_MOVED_FROM != 0:
		delete(w.scanned, full)
		w.tell(full, agentpb.EventType_EVENT_TYPE_RENAME)
		if isTree {
			w.forget(full)
		}
	case mask&unix.IN_DELETE != 0:
		delete(w.scanned, full)
		w.tell(full, agentpb.EventType_EVENT_TYPE_REMOVE)
	case mask&unix.IN_MODIFY != 0:
		w.tell(full, agentpb.EventType_EVENT_TYPE_WRITE)
	case mask&unix.IN_ATTRIB != 0:
		w.tell(full, agentpb.EventType_EVENT_TYPE_CHMOD)
	}
	return nil
}

// uploaded tells of a finished upload as if it had been written in place, and whether the rename to full was one.
func (w *watcher) uploaded(full string, cookie uint32) bool {
	over, ok := w.moving[cookie]
	if !ok {
		return false
	}
	delete(w.moving, cookie)
	if !over && !w.scanned[full] {
		w.tell(full, agentpb.EventType_EVENT_TYPE_CREATE)
	}
	delete(w.scanned, full)
	w.tell(full, agentpb.EventType_EVENT_TYPE_WRITE)
	return true
}

// tellSelf notes what happened to the watched directory.
func (w *watcher) tellSelf(mask uint32) {
	switch {
	case mask&unix.IN_DELETE_SELF != 0:
		w.tell(".", agentpb.EventType_EVENT_TYPE_REMOVE)
	case mask&unix.IN_MOVE_SELF != 0:
		w.tell(".", agentpb.EventType_EVENT_TYPE_RENAME)
	case mask&unix.IN_ATTRIB != 0:
		w.tell(".", agentpb.EventType_EVENT_TYPE_CHMOD)
	}
}
