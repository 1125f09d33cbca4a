package wide

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// Protocol changes with whatever makes that the daemon of another version could not follow under this supervisor: the
// descriptors and the configuration that it is given, the words below, its signals and its exit statuses.
const Protocol = 1

// What is said between the command line, outer and inner, a packet each. An answer is the text of an error, or wordDone.
const (
	wordGo      = "go"      // outer to inner: the maps are written
	wordUpgrade = "upgrade" // with a descriptor: start the daemon from this file
	wordDone    = "done"
)

// maxPacket is the size in bytes of the longest packet that is read whole.
const maxPacket = 4096

// newChannel returns outer's end of a connection to inner, and inner's.
func newChannel() (*net.UnixConn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make control channel: %w", err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "control")
	conn, err := unixConn(os.NewFile(uintptr(fds[0]), "control"))
	if err != nil {
		return nil, nil, errors.Join(err, theirs.Close())
	}
	return conn, theirs, nil
}

// unixConn makes a connection of a descriptor, which it closes.
func unixConn(f *os.File) (*net.UnixConn, error) {
	conn, err := net.FileConn(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("use control channel: %w", err)
	}
	return conn.(*net.UnixConn), nil
}

// dup returns another descriptor of a connection, for awaitHangup.
func dup(conn *net.UnixConn) (fd int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return -1, fmt.Errorf("watch control channel: %w", err)
	}
	var inner error
	err = raw.Control(func(of uintptr) { fd, inner = unix.FcntlInt(of, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(err, inner); err != nil {
		return -1, fmt.Errorf("watch control channel: %w", err)
	}
	return fd, nil
}

// awaitHangup returns when the other end of a connection is closed, and closes fd, a descriptor of this one. It reads
// nothing: what is said there is for others.
func awaitHangup(fd int) {
	defer unix.Close(fd)
	for {
		watched := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		if _, err := unix.Poll(watched, -1); !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// sendPacket says a word, with a file if it is not nil.
func sendPacket(conn *net.UnixConn, word string, f *os.File) error {
	var rights []byte
	if f != nil {
		rights = unix.UnixRights(int(f.Fd()))
	}
	if _, _, err := conn.WriteMsgUnix([]byte(word[:min(len(word), maxPacket)]), rights, nil); err != nil {
		return fmt.Errorf("write to control channel: %w", err)
	}
	return nil
}

// readPacket returns the next word, with the file that came along or nil. The end of the channel is [io.EOF].
func readPacket(conn *net.UnixConn) (word string, _ *os.File, err error) {
	b, rights := make([]byte, maxPacket), make([]byte, unix.CmsgSpace(4))
	n, rn, _, _, err := conn.ReadMsgUnix(b, rights)
	if err != nil {
		return "", nil, fmt.Errorf("read from control channel: %w", err)
	}
	if n == 0 {
		return "", nil, io.EOF
	}
	if rn == 0 {
		return string(b[:n]), nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(rights[:rn])
	if err != nil || len(messages) != 1 {
		return "", nil, fmt.Errorf("read from control channel: %d messages of rights: %w", len(messages), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return "", nil, fmt.Errorf("read from control channel: %d descriptors: %w", len(fds), err)
	}
	unix.CloseOnExec(fds[0])
	return string(b[:n]), os.NewFile(uintptr(fds[0]), "executable"), nil
}

// ask says a word with a file and returns the error that the answer tells of, or ctx's.
func ask(ctx context.Context, conn *net.UnixConn, word string, f *os.File) error {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if err := sendPacket(conn, word, f); err != nil {
		return err
	}
	answer, file, err := readPacket(conn)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	if file != nil {
		return errors.Join(errors.New("an answer came with a file"), file.Close())
	}
	if answer != wordDone {
		return errors.New(answer)
	}
	return nil
}
