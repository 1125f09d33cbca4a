package wide

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// doorFile is the supervisor's socket, in the state directory.
const doorFile = "supervisor.sock"

// door is where the supervisor is asked for an upgrade. One request is served at a time.
type door struct {
	dir  *os.File // the state directory
	l    *net.UnixListener
	stop context.CancelFunc
	wg   sync.WaitGroup
}

// openDoor listens in a state directory that is this supervisor's.
func openDoor(stateDir string, control *net.UnixConn) (_ *door, err error) {
	d := &door{}
	if d.dir, err = os.Open(stateDir); err != nil {
		return nil, fmt.Errorf("open state directory: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.dir.Close())
		}
	}()
	if err := os.Remove(filepath.Join(stateDir, doorFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("remove an old supervisor's socket: %w", err)
	}
	if d.l, err = net.ListenUnix("unixpacket", doorAddr(d.dir)); err != nil {
		return nil, fmt.Errorf("listen for upgrades in %s: %w", stateDir, err)
	}
	ctx, stop := context.WithCancel(context.Background())
	d.stop = stop
	d.wg.Go(func() { d.serve(ctx, control) })
	return d, nil
}

// doorAddr names the socket in a directory however long that's path is.
func doorAddr(dir *os.File) *net.UnixAddr {
	return &net.UnixAddr{Net: "unixpacket", Name: fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), doorFile)}
}

// Close removes the socket and waits for the request that is being served, which inner's end has ended.
func (d *door) Close() error {
	d.stop()
	err := d.l.Close()
	d.wg.Wait()
	return errors.Join(err, d.dir.Close())
}

func (d *door) serve(ctx context.Context, control *net.UnixConn) {
	for {
		conn, err := d.l.AcceptUnix()
		if err != nil {
			return // closed
		}
		d.one(ctx, conn, control)
	}
}

// one passes a request on to inner, and the answer back.
func (d *door) one(ctx context.Context, conn, control *net.UnixConn) {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	err := checkPeer(conn)
	if err == nil {
		err = pass(conn, control)
	}
	answer := wordDone
	if err != nil {
		answer = err.Error()
	}
	_ = sendPacket(conn, answer, nil) // who asked may not wait any more
}

func pass(conn, control *net.UnixConn) (err error) {
	word, f, err := readPacket(conn)
	if err != nil {
		return err
	}
	if f == nil || word != wordUpgrade {
		return fmt.Errorf("%.20q is no request", word)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return ask(context.Background(), control, word, f) // ended by inner's end
}

// checkPeer refuses others than root and the supervisor's own user.
func checkPeer(conn *net.UnixConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return fmt.Errorf("see who asks: %w", err)
	}
	var peer *unix.Ucred
	var inner error
	err = raw.Control(func(fd uintptr) { peer, inner = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err = errors.Join(err, inner); err != nil {
		return fmt.Errorf("see who asks: %w", err)
	}
	if peer.Uid != 0 && int(peer.Uid) != os.Getuid() {
		return errors.New("only root and the daemon's own user may ask for an upgrade")
	}
	return nil
}

// Upgrade has the supervisor of a state directory start its daemon from another executable. It returns once that daemon
// is ready, or the old one serves again and why.
func Upgrade(ctx context.Context, stateDir string, executable *os.File) (err error) {
	dir, err := os.Open(stateDir)
	if err != nil {
		return fmt.Errorf("find the supervisor: %w", err)
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	conn, err := net.DialUnix("unixpacket", nil, doorAddr(dir))
	if err != nil {
		return fmt.Errorf("ask the supervisor of %s: %w", stateDir, err)
	}
	err = ask(ctx, conn, wordUpgrade, executable)
	if closed := conn.Close(); !errors.Is(closed, net.ErrClosed) {
		err = errors.Join(err, closed)
	}
	return err
}
