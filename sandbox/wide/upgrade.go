package wide

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// readyMost bounds how long the daemon of a new executable may take until it is ready.
const readyMost = 2 * time.Minute

// HandOver is the signal on which a daemon ends in order and leaves its sandboxes to the next one.
const HandOver = syscall.SIGUSR2

// upgrade is a request to start the daemon from another file, and how far it has come: the old daemon is ending, or the
// new one starts, or the old executable's starts again since the new one's failed.
type upgrade struct {
	file   *os.File
	old    *os.File // the executable before
	pipe   *os.File // where the new daemon says that it is ready; nil while the old one ends
	isUp   chan struct{}
	timer  *time.Timer
	failed error // why the old one starts again
}

// ready is closed when the new daemon is; nil while there is none.
func (u *upgrade) ready() <-chan struct{} {
	if u == nil {
		return nil
	}
	return u.isUp
}

// late fires when the new daemon has taken too long.
func (u *upgrade) late() <-chan time.Time {
	if u == nil || u.timer == nil || u.failed != nil {
		return nil // the old executable has all the time it needs
	}
	return u.timer.C
}

// listen passes outer's requests to the loop until outer is gone.
func (s *supervisor) listen() {
	defer close(s.outerGone)
	for {
		word, f, err := readPacket(s.control)
		if err != nil {
			return
		}
		if word == wordUpgrade && f != nil {
			s.requests <- &upgrade{file: f}
		}
	}
}

// answer tells outer what came of a request.
func (s *supervisor) answer(err error) {
	word := wordDone
	if err != nil {
		word = err.Error()
	}
	if err := sendPacket(s.control, word, nil); err != nil {
		s.log.Warn("nobody was told what came of an upgrade", "err", err)
	}
}

// begin asks the daemon to end for another one.
func (s *supervisor) begin(u *upgrade) {
	switch {
	case s.stopping:
		s.answer(errors.Join(errors.New("the daemon is stopping"), u.file.Close()))
	case s.upgrade != nil:
		s.answer(errors.Join(errors.New("another upgrade is under way"), u.file.Close()))
	default:
		s.log.Info("the daemon hands over to one of another executable")
		u.old, s.upgrade = s.exe, u
		if s.daemon != 0 {
			s.kill(HandOver)
		} // else it is started soon, and from the new file
	}
}

// turn follows on the end of a daemon during an upgrade: of the old one, or of the new one before it was ready.
func (s *supervisor) turn(ws syscall.WaitStatus) {
	u := s.upgrade
	switch {
	case u.failed != nil: // the old executable's daemon, after the new one's had failed
		s.log.Error("daemon died, starting it again", "status", statusOf(ws), "delay", s.delay)
		s.again = time.After(s.delay)
		s.delay = min(2*s.delay, restartLast)
		return
	case u.pipe != nil:
		s.fail(fmt.Errorf("the daemon of the new executable ended with status %d before it was ready; its log says why", statusOf(ws)))
	case ws.Exited() && ws.ExitStatus() == 0:
	default:
		s.log.Warn("the daemon did not hand over in order", "status", statusOf(ws))
	}
	s.again = time.After(0)
}

// startOrFallBack starts a daemon. During an upgrade it is that of the new executable, or of the old one if that fails.
func (s *supervisor) startOrFallBack() error {
	u := s.upgrade
	if u == nil {
		return s.start(nil)
	}
	if u.failed == nil {
		s.exe = u.file
	}
	err := s.startWatched(u)
	if err != nil && u.failed == nil {
		s.fail(err)
		err = s.startWatched(u)
	}
	return err
}

// startWatched starts a daemon and waits for it to be ready, behind the loop's back.
func (s *supervisor) startWatched(u *upgrade) error {
	u.discard()
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make a pipe for the daemon: %w", err)
	}
	err = s.start(w)
	if err = errors.Join(err, w.Close()); err != nil {
		return errors.Join(err, r.Close())
	}
	u.pipe, u.isUp, u.timer = r, make(chan struct{}), time.NewTimer(readyMost)
	go func(isUp chan struct{}) { // ends with the pipe, which the daemon's end or discard closes
		var one [1]byte
		if n, _ := r.Read(one[:]); n == 1 {
			close(isUp)
		}
	}(u.isUp)
	return nil
}

// discard closes what waits for a daemon.
func (u *upgrade) discard() {
	if u.pipe != nil {
		_ = u.pipe.Close() // of which nothing is read any more
		u.timer.Stop()
	}
	u.pipe, u.isUp, u.timer = nil, nil, nil
}

// fail goes back to the old executable.
func (s *supervisor) fail(why error) {
	s.log.Error("the upgrade failed: the old executable is started again", "err", why)
	s.upgrade.failed, s.exe = why, s.upgrade.old
}

// finish ends an upgrade once a daemon is ready, that of the new executable or of the old one again.
func (s *supervisor) finish() {
	u := s.upgrade
	u.discard()
	s.upgrade, s.delay = nil, restartFirst
	gone := u.old // the executable that is of no use any more
	if u.failed != nil {
		gone = u.file
	}
	var err error
	if gone != nil {
		err = gone.Close()
	}
	if u.failed != nil {
		err = errors.Join(fmt.Errorf("%w; the old one serves again", u.failed), err)
	} else {
		s.log.Info("the daemon of the new executable is ready")
	}
	s.answer(err)
}

// executable is the path from which the daemon is started. It goes through the supervisor's own descriptors: in the
// process that is to become the daemon, others stand under these numbers.
func (s *supervisor) executable() string {
	if s.exe == nil {
		return "/proc/self/exe"
	}
	return fmt.Sprintf("/proc/1/fd/%d", s.exe.Fd())
}
