package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// state is where a slot is in its life.
type state int

const (
	statePrepared state = iota
	stateRunning
	stateEnded
)

// slot is one slot: a launcher, its work directory and at most one run.
type slot struct {
	id       string
	uid, gid int
	launcher *launcher
	work     *os.Root
	group    *group   // in the agent's own kernel; nil where the host's cgroups know the slot
	workDir  *os.File // the same directory, for statfs; of a session the slot's root
	proc     *os.File // /proc of the slot's pid namespace

	killed  atomic.Bool    // by Kill, Close, a limit, or a lost caller
	running sync.WaitGroup // the run; added to under mu

	mu    sync.Mutex // serialises what changes the work directory
	state state
}

var (
	errState  = errors.New("the slot is not in the state for this")
	errClosed = errors.New("the slot is closed")
)

// newSlot starts a launcher and has it make the slot. It takes over own, also when it fails.
func newSlot(ctx context.Context, r *reaper, launcherPath, id string, m prepareMessage, own *group, cgroups []*os.File) (_ *slot, err error) {
	s := &slot{id: id, uid: int(m.uid), gid: int(m.gid), group: own}
	if s.launcher, err = startLauncher(r, launcherPath); err != nil {
		return nil, errors.Join(err, own.remove())
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	tree, err := s.launcher.prepare(ctx, m, cgroups)
	if err != nil {
		return nil, fmt.Errorf("prepare slot: %w", err)
	}
	s.workDir, s.proc = tree[0], tree[1]
	if m.session {
		return s, nil // nothing of it is reached by way of a work directory
	}
	s.work, err = os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", s.workDir.Fd()))
	if err != nil {
		return nil, fmt.Errorf("open work directory of slot: %w", err)
	}
	return s, nil
}

// kill ends everything that runs in the slot, on SoulBox's behalf.
func (s *slot) kill() {
	s.killed.Store(true)
	s.launcher.end()
}

// begin moves the slot from prepared to running and returns what SoulBox has written. [slot.finish] follows.
func (s *slot) begin() (space, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != statePrepared {
		return space{}, fmt.Errorf("run: %w", errState)
	}
	base, err := s.space()
	if err != nil {
		return space{}, err
	}
	s.state = stateRunning
	s.running.Add(1)
	return base, nil
}

// finish is called once nothing of the run uses the slot any more.
func (s *slot) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = stateEnded
	s.running.Done()
}

// close kills and frees. The slot must be out of the table, so that it is called once.
func (s *slot) close() error {
	s.kill()
	s.mu.Lock()
	if s.state == statePrepared {
		s.state = stateEnded // no run begins from now on
	}
	s.mu.Unlock()
	s.running.Wait()
	s.mu.Lock() // a call that works on the files has ended; what comes later finds them closed
	defer s.mu.Unlock()
	err := s.launcher.close()
	for _, f := range []*os.File{s.workDir, s.proc} {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}
	if s.work != nil {
		err = errors.Join(err, s.work.Close())
	}
	return errors.Join(err, s.group.remove())
}

// space is what a file system holds and can hold.
type space struct {
	used, total, inodesUsed, inodesTotal int64
}

func (s *slot) space() (space, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(s.workDir.Fd()), &st); err != nil {
		return space{}, fmt.Errorf("statfs work directory of slot: %w", err)
	}
	return space{
		used:        int64(st.Blocks-st.Bfree) * st.Bsize,
		total:       int64(st.Blocks) * st.Bsize,
		inodesUsed:  int64(st.Files - st.Ffree),
		inodesTotal: int64(st.Files),
	}, nil
}
