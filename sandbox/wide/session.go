package wide

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// Session is what the daemon was given by its supervisor.
type Session struct {
	StateDir   string
	RunDir     string // tmpfs, 0711, of the wide mount namespace
	Range      Range
	UID        int            // of the user who started the supervisor, as the host sees it
	Generation int            // 1 for the first daemon, counted up at each restart
	Lock       *os.File       // id lock, shared with inner: what is locked through it stays locked when the daemon dies
	Listeners  []net.Listener // in the order of [Options.Listen]

	ready *os.File // nil when nobody waits for it
}

// Ready tells the supervisor that the daemon does what it is for. Until then a daemon of a new executable can give way to
// one of the old.
func (s *Session) Ready() error {
	if s.ready == nil {
		return nil
	}
	_, err := s.ready.Write([]byte{1})
	err = errors.Join(err, s.ready.Close())
	s.ready = nil
	if err != nil {
		return fmt.Errorf("tell the supervisor that the daemon is ready: %w", err)
	}
	return nil
}

// Daemon returns the session of this process, or nil when it is no daemon: when argv[0] is not [DaemonName].
func Daemon() (*Session, error) {
	if len(os.Args) == 0 || os.Args[0] != DaemonName {
		return nil, nil
	}
	cfg, err := readConfig(os.NewFile(fdConfig, "config"))
	if err != nil {
		return nil, err
	}
	for fd := fdLock; fd < fdListener+cfg.Listeners; fd++ {
		unix.CloseOnExec(fd)
	}
	s := &Session{StateDir: cfg.StateDir, RunDir: cfg.RunDir, Range: cfg.Range, UID: cfg.UID, Generation: cfg.Generation,
		Lock: os.NewFile(fdLock, "ids.lock")}
	if cfg.Ready {
		unix.CloseOnExec(fdReady)
		s.ready = os.NewFile(fdReady, "ready")
	}
	for i := range cfg.Listeners {
		f := os.NewFile(uintptr(fdListener+i), "listener")
		l, err := net.FileListener(f)
		if err != nil {
			return nil, fmt.Errorf("use the inherited listening socket %d: %w", i, err)
		}
		if err := f.Close(); err != nil {
			return nil, fmt.Errorf("close the inherited listening socket %d: %w", i, err)
		}
		s.Listeners = append(s.Listeners, l)
	}
	return s, nil
}
