package agent

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// pollEvery is the rest between two looks at a slot whose limits no cgroup keeps.
	pollEvery = 10 * time.Millisecond
	// fastest is how much memory programs can take at most, in bytes for each second; gVisor hands out about 1 GiB to each CPU.
	fastest = 4 << 30
	// pollSoonest is the shortest rest between two looks at a slot's own cgroup.
	pollSoonest = 2 * time.Millisecond
	// usageEvery is how often a run reports its usage.
	usageEvery = time.Second
	// tick is the unit of /proc/PID/stat: USER_HZ is 100 on every architecture SoulBox knows.
	tick = 10 * time.Millisecond
	// maxProc bounds one file of /proc.
	maxProc = 64 << 10
)

// sample is what the processes of a slot have used and hold at one moment.
type sample struct {
	user, system time.Duration // of the living, and of the dead that were waited for
	memory       int64         // bytes
	threads      int64         // of all processes but the launcher
}

// untilFull is how long it takes at least until programs have taken so many bytes, longest at most.
func untilFull(left int64, longest time.Duration) time.Duration {
	return min(max(time.Duration(float64(left)/fastest*float64(time.Second)), pollSoonest), longest)
}

// rest is how long the next look at a cgroup of the slot's own can wait; others are looked at every time.
func (r *run) rest(every time.Duration) time.Duration {
	if r.s.group == nil {
		return every
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	rest := usageEvery
	if r.spec.pollMemory > 0 {
		rest = untilFull(r.spec.pollMemory-r.last.memory, rest)
	}
	if r.spec.pollCPU > 0 {
		left := r.spec.pollCPU - r.last.user - r.last.system
		rest = min(rest, max(left/time.Duration(runtime.NumCPU()), pollSoonest))
	}
	return rest
}

// sample reads the slot's own cgroup, or adds up the processes in its /proc. The launcher counts for what it reaped, not for itself. A process
// that vanishes meanwhile is left out; so are the dead whose parent ignores SIGCHLD, for whom the kernel keeps no
// account.
func (s *slot) sample(memory bool) (sample, error) {
	if s.group != nil {
		return s.group.sample()
	}
	var sum sample
	d, err := openAt(s.proc, ".", unix.O_DIRECTORY)
	if err != nil {
		return sum, err
	}
	defer d.Close()
	for {
		names, err := d.Readdirnames(512)
		if err == io.EOF {
			return sum, nil
		} else if err != nil {
			return sum, fmt.Errorf("list processes of slot: %w", err)
		}
		for _, name := range names {
			pid, err := strconv.Atoi(name)
			if err != nil {
				continue
			}
			if stat, err := readAt(s.proc, name+"/stat"); err == nil {
				user, system, threads, ok := parseStat(stat, pid == 1)
				if ok {
					sum.user += user
					sum.system += system
					sum.threads += threads
				}
			}
			if memory && pid != 1 {
				sum.memory += s.processMemory(name)
			}
		}
	}
}

// processMemory returns the proportional share of what a process has mapped; where the kernel does not tell, what it
// shares with nobody.
func (s *slot) processMemory(pid string) int64 {
	if rollup, err := readAt(s.proc, pid+"/smaps_rollup"); err == nil {
		if n, ok := parseRollup(rollup); ok {
			return n
		}
	}
	if statm, err := readAt(s.proc, pid+"/statm"); err == nil {
		if n, ok := parseStatm(statm); ok {
			return n
		}
	}
	return 0
}

// parseStat returns the times in /proc/PID/stat: the process's own and those of the children it waited for, or the
// latter alone; and how many threads it has, none with childrenOnly.
func parseStat(b []byte, childrenOnly bool) (user, system time.Duration, threads int64, ok bool) {
	// The name, in parentheses, can hold anything, parentheses too.
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(f) < 18 {
		return 0, 0, 0, false
	}
	var n [5]int64 // utime stime cutime cstime, fields 14 to 17 of the whole line, and num_threads, field 20
	for i, field := range []int{11, 12, 13, 14, 17} {
		v, err := strconv.ParseInt(string(f[field]), 10, 64)
		if err != nil || v < 0 || v > 1<<40 {
			return 0, 0, 0, false
		}
		n[i] = v
	}
	if childrenOnly {
		n[0], n[1], n[4] = 0, 0, 0
	}
	return time.Duration(n[0]+n[2]) * tick, time.Duration(n[1]+n[3]) * tick, n[4], true
}

// parseRollup returns the bytes of the Pss line of /proc/PID/smaps_rollup.
func parseRollup(b []byte) (int64, bool) {
	for line := range bytes.Lines(b) {
		rest, found := bytes.CutPrefix(line, []byte("Pss:"))
		f := bytes.Fields(rest)
		if !found || len(f) == 0 {
			continue
		}
		n, err := strconv.ParseInt(string(f[0]), 10, 64)
		return n << 10, err == nil && n >= 0 && n < 1<<50
	}
	return 0, false
}

// parseStatm returns resident less shared bytes of /proc/PID/statm.
func parseStatm(b []byte) (int64, bool) {
	f := bytes.Fields(b)
	if len(f) < 3 {
		return 0, false
	}
	resident, err1 := strconv.ParseInt(string(f[1]), 10, 64)
	shared, err2 := strconv.ParseInt(string(f[2]), 10, 64)
	if err1 != nil || err2 != nil || resident < 0 || resident > 1<<40 || shared < 0 || shared > resident {
		return 0, false
	}
	return (resident - shared) * int64(os.Getpagesize()), true
}

func openAt(dir *os.File, name string, flags int) (*os.File, error) {
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_CLOEXEC|flags, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s of slot: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

func readAt(dir *os.File, name string) ([]byte, error) {
	f, err := openAt(dir, name, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxProc))
	if err != nil {
		return nil, fmt.Errorf("read %s of slot: %w", name, err)
	}
	return b, nil
}
