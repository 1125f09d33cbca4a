package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// graceful is how long a launcher may take to kill and count everything before it is killed itself.
	graceful = 500 * time.Millisecond
	// sendWithin bounds how long a message to a launcher may wait.
	sendWithin = 5 * time.Second
)

// launcher is the agent's hold on PID 1 of a slot.
type launcher struct {
	reaper *reaper
	pid    int
	conn   *net.UnixConn
	dead   <-chan struct{} // closed when the slot's pid namespace is dead and reaped

	tree  chan []*os.File // cap 1
	ready chan report     // cap 1: READY or FAILED
	total chan report     // cap 1

	kill sync.Once
	done sync.WaitGroup // the reading goroutine

	mu    sync.Mutex
	seq   uint32
	waits map[uint32]*awaited // by the number of the request
}

// awaited is what a launcher will report about one request.
type awaited struct {
	seq     uint32
	started chan report // cap 1: STARTED or SIGNALLED
	exited  chan report // cap 1
}

// expect numbers a request and makes a place for the reports on it; forget gives it up.
func (l *launcher) expect() *awaited {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq++
	w := &awaited{seq: l.seq, started: make(chan report, 1), exited: make(chan report, 1)}
	l.waits[w.seq] = w
	return w
}

func (l *launcher) forget(w *awaited) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.waits, w.seq)
}

// place returns where a report goes, nil when nobody waits for it.
func (l *launcher) place(r report) chan report {
	switch r.kind {
	case msgReady, msgFailed:
		return l.ready
	case msgTotal:
		return l.total
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.waits[r.seq]
	switch {
	case w == nil:
		return nil
	case r.kind == msgExited:
		return w.exited
	}
	return w.started
}

// startLauncher starts path in namespaces of its own.
func startLauncher(r *reaper, path string) (_ *launcher, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make socket pair for launcher: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "launcher"), os.NewFile(uintptr(pair[1]), "launcher's agent")
	defer theirs.Close()
	c, err := net.FileConn(ours)
	if err := errors.Join(err, ours.Close()); err != nil {
		return nil, fmt.Errorf("use socket to launcher: %w", err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open null device for launcher: %w", err), c.Close())
	}
	defer null.Close()
	l := &launcher{
		reaper: r, conn: c.(*net.UnixConn), tree: make(chan []*os.File, 1),
		ready: make(chan report, 1), total: make(chan report, 1), waits: map[uint32]*awaited{},
	}
	l.pid, l.dead, err = r.start(func() (int, error) {
		return syscall.ForkExec(path, []string{"launcher"}, &syscall.ProcAttr{
			Dir:   "/",
			Env:   []string{},
			Files: []uintptr{null.Fd(), null.Fd(), null.Fd(), theirs.Fd()},
			Sys:   &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS},
		})
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start launcher %s: %w", path, err), l.conn.Close())
	}
	l.done.Go(l.read)
	return l, nil
}

// read delivers reports until the launcher is gone. Each channel holds the one report of its kind that there can be;
// what comes beyond that, or is not waited for, is dropped.
func (l *launcher) read() {
	buf, oob := make([]byte, reportSize+1), make([]byte, unix.CmsgSpace(2*4))
	for {
		n, oobn, _, _, err := l.conn.ReadMsgUnix(buf, oob)
		at := time.Now()
		if err != nil || n == 0 {
			return
		}
		files := receivedFiles(oob[:oobn])
		r, err := parseReport(buf[:n])
		if err != nil {
			closeAll(files)
			l.reaper.kill(l.pid) // not our launcher's words
			return
		}
		r.at = at
		if r.kind == msgTree {
			select {
			case l.tree <- files:
			default:
				closeAll(files)
			}
			continue
		}
		closeAll(files)
		select {
		case l.place(r) <- r: // never, when there is no place
		default:
		}
	}
}

// send gives the launcher one message.
func (l *launcher) send(msg []byte, files []*os.File) error {
	fds := make([]int, len(files))
	for i, f := range files {
		fds[i] = int(f.Fd())
	}
	if err := l.conn.SetWriteDeadline(time.Now().Add(sendWithin)); err != nil {
		return fmt.Errorf("send message to launcher: %w", err)
	}
	if _, _, err := l.conn.WriteMsgUnix(msg, unix.UnixRights(fds...), nil); err != nil {
		return fmt.Errorf("send message to launcher: %w", err)
	}
	return nil
}

// prepare has the launcher make the slot and returns its work directory and its /proc. A slot that does not come
// about because ctx ends is killed.
func (l *launcher) prepare(ctx context.Context, m prepareMessage, cgroups []*os.File) (tree []*os.File, err error) {
	if err := l.send(m.encode(0), cgroups); err != nil {
		return nil, err
	}
	select {
	case r := <-l.ready:
		if r.kind == msgFailed {
			return nil, r.err()
		}
	case <-l.dead:
		// What it said before it ended is still to be read.
		l.done.Wait()
		select {
		case r := <-l.ready:
			return nil, r.err()
		default:
			return nil, errors.New("launcher died before the slot was ready")
		}
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	select {
	case tree = <-l.tree:
	default:
	}
	if len(tree) != 2 {
		closeAll(tree)
		return nil, errors.New("launcher sent no directories")
	}
	return tree, nil
}

// end kills everything in the slot and returns when all of it is dead. The launcher does it, so that it can count
// what the processes used; one that does not answer, or is frozen, is killed.
func (l *launcher) end() {
	l.kill.Do(func() {
		if err := l.send(killMessage(), nil); err == nil {
			timer := time.NewTimer(graceful)
			defer timer.Stop()
			select {
			case <-l.dead:
			case <-timer.C:
			}
		}
		l.reaper.kill(l.pid)
	})
	<-l.dead
	l.done.Wait()
}

// close ends the slot and frees what is held for it.
func (l *launcher) close() error {
	l.end()
	select {
	case files := <-l.tree:
		closeAll(files)
	default:
	}
	return l.conn.Close()
}

// receivedFiles returns the descriptors in a control message.
func receivedFiles(oob []byte) []*os.File {
	var files []*os.File
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for _, m := range msgs {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			continue
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "received"))
		}
	}
	return files
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close() // nothing was written through them
	}
}
