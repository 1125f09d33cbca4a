package agent

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/soulbox/soulbox/sandbox/agent/agentpb"
)

// openTerminal makes stdio of a new terminal of the slot, whose root is given, that belongs to uid.
func openTerminal(root *os.File, uid uint32, size *agentpb.PTY_Size) (_ stdio, err error) {
	fd, err := unix.Openat2(int(root.Fd()), "dev/pts/ptmx", &unix.OpenHow{
		Flags: unix.O_RDWR | unix.O_NOCTTY | unix.O_CLOEXEC | unix.O_NONBLOCK, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return stdio{}, fmt.Errorf("open a terminal: %w", err)
	}
	master := os.NewFile(uintptr(fd), "terminal")
	defer func() {
		if err != nil {
			err = errors.Join(err, master.Close())
		}
	}()
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return stdio{}, fmt.Errorf("unlock the terminal: %w", err)
	}
	// By descriptor: no path leads to it that a sandbox could have changed.
	slave, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		return stdio{}, fmt.Errorf("open the terminal's other end: %w", errno)
	}
	peer := os.NewFile(slave, "terminal's other end")
	const ttyGroup = 5
	if err := errors.Join(peer.Chown(int(uid), ttyGroup), setSize(master, size)); err != nil {
		return stdio{}, errors.Join(fmt.Errorf("set up the terminal: %w", err), peer.Close())
	}
	return stdio{theirs: []*os.File{peer, peer, peer}, input: master, read: []*os.File{master}}, nil
}
