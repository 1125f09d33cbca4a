package agent

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sys/unix"

	"github.com/soulbox/soulbox/sandbox/agent/agentpb"
)

// groupWatch keeps the memory limit of a session that has a cgroup of its own: gVisor counts memory and bounds none.
type groupWatch struct {
	changed chan struct{} // cap 1: the limit is another

	mu    sync.Mutex
	limit int64 // bytes; 0: none
	peak  int64
	kills int64
}

func newGroupWatch(limit int64) *groupWatch {
	return &groupWatch{changed: make(chan struct{}, 1), limit: limit}
}

// see notes what is held now. It returns how long the next look can wait, and whether what is held is too much.
func (w *groupWatch) see(memory int64) (wait time.Duration, over bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.peak = max(w.peak, memory)
	if w.limit > 0 && memory > w.limit {
		w.kills++
		return pollEvery, true
	}
	if w.limit <= 0 {
		return usageEvery, false
	}
	return untilFull(w.limit-memory, usageEvery), false
}

// set changes the limit.
func (w *groupWatch) set(limit int64) {
	w.mu.Lock()
	w.limit = limit
	w.mu.Unlock()
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// counts returns the most memory seen, and how often it was too much.
func (w *groupWatch) counts() (peak, kills int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.peak, w.kills
}

// watchMemory kills all processes of the session whenever they hold more than they may.
func (s *session) watchMemory() {
	timer := time.NewTimer(pollEvery)
	defer timer.Stop()
	for {
		select {
		case <-s.slot.launcher.dead:
			return
		case <-s.memory.changed:
		case <-timer.C:
		}
		memory, err := s.slot.group.number("memory.current")
		if err != nil {
			return // the session is over
		}
		wait, over := s.memory.see(memory)
		if over {
			_ = s.signal(0, unix.SIGKILL, flagEverybody) // it is looked at again
		}
		timer.Reset(wait)
	}
}

// Limit changes the limits of a session with a cgroup of its own.
func (s *sessionService) Limit(_ context.Context, req *connect.Request[agentpb.LimitRequest]) (*connect.Response[agentpb.LimitResponse], error) {
	sess, err := s.openSession()
	if err != nil {
		return nil, rpcError(err)
	}
	g, want := sess.slot.group, req.Msg.GetGroup()
	if g == nil || want.GetProcesses() <= 0 || want.GetMemoryBytes() <= 0 {
		return nil, connect.NewError(connect.CodeFailedPrecondition, errors.New("the session has no cgroup of its own, or the limits are none"))
	}
	if err := writeAt(g.dir, "pids.max", strconv.FormatInt(want.GetProcesses()+1, 10)); err != nil {
		return nil, rpcError(err)
	}
	sess.memory.set(want.GetMemoryBytes())
	return connect.NewResponse(&agentpb.LimitResponse{}), nil
}
