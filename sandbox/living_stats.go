package sandbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/soulbox/soulbox/cgroups"
	"github.com/soulbox/soulbox/sandbox/agent/client"
)

// sessionStats reads the counters of the session's own group: only there cgroup v1 counts who was killed for memory.
func (l *living) sessionStats() (cgroups.Stats, error) { return l.box.cg.SlotStats(sessionSlot) }

// Stats is what a sandbox uses.
type Stats struct {
	At             time.Time
	CPUUser        time.Duration // since it started
	CPUSystem      time.Duration
	Memory         int64 // bytes
	MemoryPeak     int64 // bytes; 0: not known
	MemoryLimit    int64
	Processes      int64 // and threads
	ProcessLimit   int64
	Disk           int64 // bytes written, as of the last look
	DiskLimit      int64
	OOMKills       int64
	ThrottledForks int64 // how often fork failed at the limit
}

// stats reads the counters.
func (l *living) stats(ctx context.Context) (Stats, error) {
	rec := l.snapshot()
	l.mu.Lock()
	out := Stats{At: time.Now().UTC(), MemoryLimit: rec.Limits.Memory, ProcessLimit: rec.Limits.Processes, Disk: l.disk, DiskLimit: rec.Limits.Disk}
	l.mu.Unlock()
	has := l.kept()
	var st, session cgroups.Stats
	if has.Memory || has.CPUTime || has.Pids {
		var err, err2 error
		st, err = l.box.cg.User().Stats()
		session, err2 = l.sessionStats()
		if err := errors.Join(err, err2); err != nil {
			return Stats{}, fmt.Errorf("read counters of sandbox %s: %w", rec.ID, err)
		}
	}
	var m client.Measurement
	if !has.Memory || !has.CPUTime || !has.Pids {
		var err error
		if m, err = l.box.agent.Measure(ctx); err != nil {
			return Stats{}, err
		}
	}
	out.CPUUser, out.CPUSystem, out.Memory, out.Processes = m.User, m.System, m.Memory, m.Processes
	out.MemoryPeak, out.OOMKills, out.ThrottledForks = m.PeakMemory, m.MemoryKills, m.RefusedForks
	if has.CPUTime {
		out.CPUUser, out.CPUSystem = st.CPUUser, st.CPUSystem
	}
	if has.Memory {
		out.Memory, out.MemoryPeak, out.OOMKills = st.MemoryCurrent, st.MemoryPeak, session.OOMKills
	}
	if has.Pids {
		out.Processes, out.ThrottledForks = max(st.PidsCurrent-1, 0), st.PidsMaxEvents // without the launcher
	}
	return out, nil
}
