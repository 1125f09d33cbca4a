package agent

import (
	"net/http"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// metricsRest is over how long CPU use is measured.
const metricsRest = 200 * time.Millisecond

// metrics is envd's /metrics, sampled from the processes: the agent sees no cgroup. The daemon, which does, answers in its
// place where it can.
func (s *Server) metrics(w http.ResponseWriter, r *http.Request) {
	sess, err := s.openSession()
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	before, err := sess.slot.sample(false)
	if err == nil {
		select {
		case <-time.After(metricsRest):
		case <-r.Context().Done():
			return
		}
	}
	now, err2 := sess.slot.sample(true)
	disk, err3 := sess.slot.space()
	if err != nil || err2 != nil || err3 != nil {
		http.Error(w, "the session is ending", http.StatusServiceUnavailable)
		return
	}
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	total := int64(info.Totalram) * int64(info.Unit)
	used := max(now.user+now.system-before.user-before.system, 0)
	writeJSON(w, map[string]any{
		"ts": time.Now().Unix(), "cpu_count": runtime.NumCPU(), "cpu_used_pct": 100 * float64(used) / float64(metricsRest),
		"mem_total": total, "mem_used": now.memory, "mem_cache": 0, "mem_total_mib": total >> 20, "mem_used_mib": now.memory >> 20,
		"disk_used": disk.used, "disk_total": disk.total,
	})
}
