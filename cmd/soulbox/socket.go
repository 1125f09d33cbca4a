package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	socketFile = "soulbox.sock" // in the state directory
	noSocket   = "none"         // what --socket says to have none

	// maxSocketPath is the length in bytes of the longest path that a socket can have: sun_path less its final zero.
	maxSocketPath = 107
	// probeTime bounds the look whether somebody serves on a socket that is there.
	probeTime = 2 * time.Second
)

// errSocketInUse means that a socket's file belongs to a process that serves on it.
var errSocketInUse = errors.New("another process serves on this socket")

// socketPath returns the absolute path that --socket and the state directory say, "" for none. The default gives way to
// a path that is too long for a socket; one that was asked for does not.
func socketPath(flag, stateDir string) (path string, tooLong bool, err error) {
	if flag == noSocket {
		return "", false, nil
	}
	path = flag
	if path == "" {
		path = filepath.Join(stateDir, socketFile)
	}
	if path, err = filepath.Abs(path); err != nil {
		return "", false, fmt.Errorf("--socket: %w", err)
	}
	switch {
	case len(path) <= maxSocketPath:
		return path, false, nil
	case flag == "":
		return "", true, nil
	}
	return "", false, fmt.Errorf("--socket: %s is %d bytes long, a socket's path has at most %d: choose a shorter one, or %s",
		path, len(path), maxSocketPath, noSocket)
}

// listenSocket makes a socket that its owner alone can connect to. A file that a dead daemon left is replaced; one that
// somebody serves on, or that is no socket, is an error.
func listenSocket(path string) (_ *os.File, err error) {
	if err := removeStale(path); err != nil {
		return nil, fmt.Errorf("--socket: %w", err)
	}
	// Between bind and chmod nobody can connect: there is no listen yet for the mode of the file to guard, and the umask
	// is not the process's to change while other goroutines make files.
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("--socket: make a socket: %w", err)
	}
	f := os.NewFile(uintptr(fd), path)
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}); err != nil {
		return nil, fmt.Errorf("--socket: bind %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, fmt.Errorf("--socket: %w", err)
	}
	if err := syscall.Listen(fd, syscall.SOMAXCONN); err != nil {
		return nil, fmt.Errorf("--socket: listen on %s: %w", path, err)
	}
	return f, nil
}

// removeStale removes a socket that nobody serves on.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s is there and is no socket: remove it, or choose another path", path)
	}
	conn, err := net.DialTimeout("unix", path, probeTime) //nolint:noctx // it has its own, short bound
	if err == nil {
		return errors.Join(fmt.Errorf("%s: %w: stop that process, or choose another path", path, errSocketInUse), conn.Close())
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("see whether somebody serves on %s: %w", path, err)
	}
	return os.Remove(path)
}

// checkSocket returns nil when path is a socket of the user uid that others cannot have put there.
func checkSocket(path string, uid int) error {
	info, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("find the daemon's socket: %w", err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || info.Mode().Type() != fs.ModeSocket || int(st.Uid) != uid {
		return fmt.Errorf("%s is no socket of user id %d", path, uid)
	}
	return nil
}
