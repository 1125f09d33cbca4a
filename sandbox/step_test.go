package sandbox

import (
	"context"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/soulbox/soulbox/cgroups"
	"github.com/soulbox/soulbox/images"
	"github.com/soulbox/soulbox/sandbox/agent/client"
)

// Wait statuses as the kernel encodes them.
func exited(code int) unix.WaitStatus             { return unix.WaitStatus(code << 8) }
func killedBy(sig syscall.Signal) unix.WaitStatus { return unix.WaitStatus(sig) }

func TestCommand(t *testing.T) {
	spec := stepSpec{command: images.Command{Args: []string{"a", "b"}, Env: []string{"A=1"}, Dir: "/work"}, stdin: []byte("in"),
		limits: Limits{CPUTime: 1500 * time.Millisecond, Memory: 64, Processes: 7, OpenFiles: 8, FileSize: 9, Disk: 10, Inodes: 11, Output: 12}}
	want := client.Command{Args: []string{"a", "b"}, Env: []string{"A=1"}, Dir: "/work", Stdin: []byte("in"),
		DiskBytes: 10, Inodes: 11, OutputBytes: 12, Rlimits: []client.Rlimit{
			{Resource: unix.RLIMIT_NOFILE, Soft: 8, Hard: 8}, {Resource: unix.RLIMIT_FSIZE, Soft: 9, Hard: 9},
			{Resource: unix.RLIMIT_STACK, Soft: stackBytes, Hard: stackBytes}, {Resource: unix.RLIMIT_CPU, Soft: 3, Hard: 4},
		}}
	if diff := cmp.Diff(want, command(spec, cgroups.Enforced{Memory: true, Pids: true, CPUTime: true}, false)); diff != "" {
		t.Errorf("with cgroups: command differs (-want +got):\n%s", diff)
	}
	want.Rlimits = append(want.Rlimits, client.Rlimit{Resource: unix.RLIMIT_NPROC, Soft: 7, Hard: 7})
	want.PollMemory, want.PollCPU = 64, 1500*time.Millisecond
	if diff := cmp.Diff(want, command(spec, cgroups.Enforced{}, false)); diff != "" {
		t.Errorf("without cgroups: command differs (-want +got):\n%s", diff)
	}
	want.Rlimits = want.Rlimits[:len(want.Rlimits)-1]
	if diff := cmp.Diff(want, command(spec, cgroups.Enforced{}, true)); diff != "" {
		t.Errorf("with a group of its own kernel's: command differs (-want +got):\n%s", diff)
	}
}

func TestFillStep(t *testing.T) {
	stats := cgroups.Stats{MemoryPeak: 1 << 20, CPUUser: 3 * time.Second, CPUSystem: time.Second}
	counted := cgroups.Enforced{Memory: true, CPUTime: true}
	for _, c := range []struct {
		name string
		exit client.Exit
		has  cgroups.Enforced
		want Step
	}{
		{"exit status", client.Exit{Status: exited(3), Wall: 5}, cgroups.Enforced{}, Step{ExitCode: 3, Usage: Usage{Wall: 5}}},
		{"signal", client.Exit{Status: killedBy(syscall.SIGSEGV)}, cgroups.Enforced{}, Step{ExitCode: -1, Signal: "SIGSEGV"}},
		{"not found", client.Exit{StartErrno: unix.ENOENT}, cgroups.Enforced{}, Step{ExitCode: 127}},
		{"not executable", client.Exit{StartErrno: unix.EACCES}, cgroups.Enforced{}, Step{ExitCode: 126}},
		{"truncated", client.Exit{StdoutTruncated: true}, cgroups.Enforced{}, Step{StdoutTruncated: true}},
		{"usage of the tree", client.Exit{User: 1, System: 1, TreeUser: 2, TreeSystem: 3, MaxRSS: 5, PeakPolled: 7}, cgroups.Enforced{},
			Step{Usage: Usage{User: 2, System: 3, PeakMemory: 7}}},
		{"usage of the first process", client.Exit{User: 1, System: 2, MaxRSS: 5}, cgroups.Enforced{},
			Step{Usage: Usage{User: 1, System: 2, PeakMemory: 5}}},
		{"usage from the cgroup", client.Exit{User: 1, TreeUser: 2, MaxRSS: 5}, counted,
			Step{Usage: Usage{User: 3 * time.Second, System: time.Second, PeakMemory: 1 << 20}}},
	} {
		got := Step{}
		fillStep(&got, c.exit, stats, c.has)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: step differs (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestFactsOf(t *testing.T) {
	for _, c := range []struct {
		name  string
		exit  client.Exit
		stats cgroups.Stats
		watch *watch
		want  Facts
	}{
		{"exit status", client.Exit{Status: exited(2)}, cgroups.Stats{}, &watch{}, Facts{Exited: true, ExitCode: 2}},
		{"signal", client.Exit{Status: killedBy(syscall.SIGKILL)}, cgroups.Stats{}, &watch{}, Facts{ExitCode: -1, Signal: syscall.SIGKILL}},
		{"not started", client.Exit{StartErrno: unix.EACCES}, cgroups.Stats{}, &watch{}, Facts{Exited: true, ExitCode: 127}},
		{"a shell's child wrote too large a file", client.Exit{Status: exited(128 + 25)}, cgroups.Stats{}, &watch{},
			Facts{Exited: true, ExitCode: 153, FileSizeSignal: true}},
		{"a file of just the limit's size", client.Exit{Status: exited(1), FileFull: true}, cgroups.Stats{}, &watch{},
			Facts{Exited: true, ExitCode: 1, FileSizeSignal: true}},
		{"counted", client.Exit{Status: exited(0)}, cgroups.Stats{OOMKills: 2, PidsMaxEvents: 1}, &watch{},
			Facts{Exited: true, OOMKills: 2, PidsMax: true}},
		{"watched", client.Exit{Status: killedBy(syscall.SIGKILL)}, cgroups.Stats{}, &watch{deadline: true, cpuExceeded: true},
			Facts{ExitCode: -1, Signal: syscall.SIGKILL, Deadline: true, CPUExceeded: true}},
		{"polled", client.Exit{Status: exited(0), MemoryExceeded: true, CPUExceeded: true, OutputExceeded: true, DiskFull: true, InodesFull: true},
			cgroups.Stats{}, &watch{}, Facts{Exited: true, MemoryPolled: true, CPUExceeded: true, OutputExceeded: true, DiskFull: true, InodesFull: true}},
	} {
		if diff := cmp.Diff(c.want, factsOf(c.exit, c.stats, c.watch)); diff != "" {
			t.Errorf("%s: facts differ (-want +got):\n%s", c.name, diff)
		}
	}
}

// TestWallTimeRunsFromTheStart gives the agent its own time to start the program.
func TestWallTimeRunsFromTheStart(t *testing.T) {
	for _, c := range []struct {
		name  string
		begin time.Duration // after which the program starts; 0: never
		want  time.Duration // until the slot is to be killed
	}{
		{"at once", 1, 2*time.Second + 1},
		{"late", 10 * time.Second, 12 * time.Second},
		{"never", 0, startTime + 2*time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWatch(nil, Limits{WallTime: 2 * time.Second}, false)
				began := time.Now()
				if c.begin > 0 {
					time.AfterFunc(c.begin, func() { w.begin(); w.begin() })
				}
				kill := w.untilKill(t.Context())
				if after := time.Since(began); !kill || !w.deadline || after != c.want {
					t.Errorf("kill %t, deadline %t after %v, want both after %v", kill, w.deadline, after, c.want)
				}
			})
		})
	}
}

func TestWatchEnds(t *testing.T) {
	w := newWatch(nil, Limits{WallTime: time.Hour}, false)
	close(w.ended)
	if w.untilKill(t.Context()) || w.deadline {
		t.Error("an ended program is to be killed")
	}
	w = newWatch(nil, Limits{WallTime: time.Hour}, false)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if !w.untilKill(ctx) || w.deadline {
		t.Error("a cancelled program is not to be killed, or for its wall time")
	}
}

func TestPause(t *testing.T) {
	w := &watch{cpu: time.Hour}
	if got := w.pause(0); got != cpuPollMax {
		t.Errorf("far from the limit: %v, want %v", got, cpuPollMax)
	}
	if got := w.pause(2 * time.Hour); got != cpuPollMin {
		t.Errorf("past the limit: %v, want %v", got, cpuPollMin)
	}
}
