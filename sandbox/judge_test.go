package sandbox

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestJudge is the specification of verdicts.
func TestJudge(t *testing.T) {
	exit := func(code int) Facts { return Facts{Exited: true, ExitCode: code} }
	sig := func(s syscall.Signal) Facts { return Facts{Signal: s} }
	with := func(f Facts, change ...func(*Facts)) Facts {
		for _, c := range change {
			c(&f)
		}
		return f
	}
	cancelled := func(f *Facts) { f.Cancelled = true }
	internal := func(f *Facts) { f.Internal = true }
	compile := func(f *Facts) { f.CompileFailed = true }
	polled := func(f *Facts) { f.MemoryPolled = true }
	output := func(f *Facts) { f.OutputExceeded = true }
	cpu := func(f *Facts) { f.CPUExceeded = true }
	deadline := func(f *Facts) { f.Deadline = true }
	oomKill := func(f *Facts) { f.OOMKills++ }
	oom := func(f *Facts) { f.OutOfMemory = true }
	disk := func(f *Facts) { f.DiskFull = true }
	inodes := func(f *Facts) { f.InodesFull = true }
	xfsz := func(f *Facts) { f.FileSizeSignal = true }
	pids := func(f *Facts) { f.PidsMax = true }
	const (
		kill = syscall.SIGKILL
		segv = syscall.SIGSEGV
	)
	type names = []LimitName

	for _, tc := range []struct {
		name  string
		facts Facts
		want  Verdict
		hit   []LimitName
	}{
		{"exit 0", exit(0), VerdictOK, nil},
		{"exit 3", exit(3), VerdictRuntimeError, nil},
		{"exit 137 by itself", exit(137), VerdictRuntimeError, nil},
		{"exit 152 and 153 by itself", exit(153), VerdictRuntimeError, nil},
		{"SIGSEGV", sig(segv), VerdictSignalled, nil},
		{"killed itself", sig(kill), VerdictSignalled, nil},
		{"an end that nobody saw", Facts{}, VerdictInternal, nil},

		{"cancelled while running", with(sig(kill), cancelled), VerdictCancelled, nil},
		{"cancelled before it started", with(Facts{}, cancelled), VerdictCancelled, nil},
		{"cancelled beats everything", with(sig(kill), cancelled, internal, compile, oomKill, output, cpu, deadline, disk, inodes, xfsz, pids),
			VerdictCancelled, names{LimitWallTime, LimitCPUTime, LimitMemory, LimitProcesses, LimitFileSize, LimitDisk, LimitInodes, LimitOutput}},
		{"internal", with(sig(kill), internal), VerdictInternal, nil},
		{"internal beats compile error", with(Facts{}, internal, compile), VerdictInternal, nil},
		{"internal beats a limit", with(sig(kill), internal, deadline), VerdictInternal, names{LimitWallTime}},
		{"compile error", with(Facts{}, compile), VerdictCompileError, nil},

		{"OOM killer", with(sig(kill), oomKill), VerdictMemoryLimit, names{LimitMemory}},
		{"OOM killer took the launcher too", with(Facts{}, oomKill), VerdictMemoryLimit, names{LimitMemory}},
		{"memory, by polling", with(sig(kill), polled), VerdictMemoryLimit, names{LimitMemory}},
		{"OOM kill of a child, exit 0", with(exit(0), oomKill), VerdictOK, names{LimitMemory}},
		{"OOM kill of a child, exit 1", with(exit(1), oomKill), VerdictRuntimeError, names{LimitMemory}},
		{"OOM kill of a shell's child", with(exit(137), oomKill), VerdictMemoryLimit, names{LimitMemory}},
		{"OOM kill of a child, then SIGSEGV", with(sig(segv), oomKill), VerdictSignalled, names{LimitMemory}},
		{"OOM kill of a child, later the deadline", with(sig(kill), oomKill, deadline), VerdictTimeLimit, names{LimitWallTime, LimitMemory}},
		{"OOM kill of a child, later CPU", with(sig(kill), oomKill, cpu), VerdictCPULimit, names{LimitCPUTime, LimitMemory}},
		{"memory polled too late", with(exit(0), polled), VerdictOK, names{LimitMemory}},
		{"memory polled, exited with 1 first", with(exit(1), polled), VerdictRuntimeError, names{LimitMemory}},
		{"runtime out of memory, exit", with(exit(1), oom), VerdictMemoryLimit, names{LimitMemory}},
		{"runtime out of memory, abort", with(sig(syscall.SIGABRT), oom), VerdictMemoryLimit, names{LimitMemory}},
		{"runtime out of memory, survived", with(exit(0), oom), VerdictOK, nil},
		{"runtime out of memory, then hung", with(sig(kill), oom, deadline), VerdictTimeLimit, names{LimitWallTime, LimitMemory}},
		{"memory beats the others", with(sig(kill), polled, output, cpu, deadline),
			VerdictMemoryLimit, names{LimitWallTime, LimitCPUTime, LimitMemory, LimitOutput}},

		{"output, killed", with(sig(kill), output), VerdictOutputLimit, names{LimitOutput}},
		{"output, exited before the kill", with(exit(0), output), VerdictOutputLimit, names{LimitOutput}},
		{"output, SIGPIPE", with(sig(syscall.SIGPIPE), output), VerdictOutputLimit, names{LimitOutput}},
		{"output and an OOM kill", with(sig(kill), output, oomKill), VerdictOutputLimit, names{LimitMemory, LimitOutput}},
		{"output beats CPU and wall", with(sig(kill), output, cpu, deadline), VerdictOutputLimit, names{LimitWallTime, LimitCPUTime, LimitOutput}},

		{"CPU, by polling", with(sig(kill), cpu), VerdictCPULimit, names{LimitCPUTime}},
		{"CPU, SIGXCPU", sig(syscall.SIGXCPU), VerdictCPULimit, names{LimitCPUTime}},
		{"CPU, exit 0 before the kill", with(exit(0), cpu), VerdictOK, names{LimitCPUTime}},
		{"CPU, exit 1 before the kill", with(exit(1), cpu), VerdictRuntimeError, names{LimitCPUTime}},
		{"CPU beats wall", with(sig(kill), cpu, deadline), VerdictCPULimit, names{LimitWallTime, LimitCPUTime}},

		{"wall", with(sig(kill), deadline), VerdictTimeLimit, names{LimitWallTime}},
		{"wall, the slot gone", with(Facts{}, deadline), VerdictTimeLimit, names{LimitWallTime}},
		{"wall, exit 0 before the kill", with(exit(0), deadline), VerdictOK, names{LimitWallTime}},
		{"wall, exit 1 before the kill", with(exit(1), deadline), VerdictRuntimeError, names{LimitWallTime}},
		{"wall, SIGSEGV before the kill", with(sig(segv), deadline), VerdictSignalled, names{LimitWallTime}},
		{"wall beats disk and processes", with(sig(kill), deadline, disk, pids), VerdictTimeLimit, names{LimitWallTime, LimitProcesses, LimitDisk}},

		{"disk full, exit 1", with(exit(1), disk), VerdictDiskLimit, names{LimitDisk}},
		{"disk full, SIGBUS", with(sig(syscall.SIGBUS), disk), VerdictDiskLimit, names{LimitDisk}},
		{"disk full, exit 0", with(exit(0), disk), VerdictOK, names{LimitDisk}},
		{"inodes gone, exit 1", with(exit(1), inodes), VerdictDiskLimit, names{LimitInodes}},
		{"inodes gone, exit 0", with(exit(0), inodes), VerdictOK, names{LimitInodes}},
		{"SIGXFSZ", sig(syscall.SIGXFSZ), VerdictDiskLimit, names{LimitFileSize}},
		{"SIGXFSZ of a child, exit 1", with(exit(1), xfsz), VerdictDiskLimit, names{LimitFileSize}},
		{"SIGXFSZ of a child, exit 0", with(exit(0), xfsz), VerdictOK, names{LimitFileSize}},
		{"disk beats processes", with(exit(1), disk, pids), VerdictDiskLimit, names{LimitProcesses, LimitDisk}},
		{"processes, exit 1", with(exit(1), pids), VerdictProcessLimit, names{LimitProcesses}},
		{"processes, signal", with(sig(syscall.SIGABRT), pids), VerdictProcessLimit, names{LimitProcesses}},
		{"processes, exit 0", with(exit(0), pids), VerdictOK, names{LimitProcesses}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, hit := Judge(tc.facts)
			if got != tc.want {
				t.Errorf("Judge(%+v) = verdict %d, want %d", tc.facts, got, tc.want)
			}
			if diff := cmp.Diff(tc.hit, hit); diff != "" {
				t.Errorf("Judge(%+v): limits hit (-want +got):\n%s", tc.facts, diff)
			}
		})
	}
}

// TestJudgeInvariants goes through every combination of facts.
func TestJudgeInvariants(t *testing.T) {
	ends := []Facts{{}, {Exited: true}, {Exited: true, ExitCode: 1}, {Exited: true, ExitCode: 137},
		{Signal: syscall.SIGKILL}, {Signal: syscall.SIGSEGV}, {Signal: syscall.SIGXCPU}, {Signal: syscall.SIGXFSZ}}
	limitOf := map[Verdict][]LimitName{
		VerdictTimeLimit: {LimitWallTime}, VerdictCPULimit: {LimitCPUTime}, VerdictMemoryLimit: {LimitMemory},
		VerdictOutputLimit: {LimitOutput}, VerdictProcessLimit: {LimitProcesses},
		VerdictDiskLimit: {LimitDisk, LimitInodes, LimitFileSize},
	}
	for bits := range 1 << 13 {
		for _, f := range ends {
			for i, p := range []*bool{&f.Cancelled, &f.Internal, &f.CompileFailed, &f.MemoryPolled, &f.OutputExceeded, &f.CPUExceeded,
				&f.Deadline, &f.OutOfMemory, &f.DiskFull, &f.InodesFull, &f.FileSizeSignal, &f.PidsMax} {
				*p = bits>>i&1 == 1
			}
			f.OOMKills = int64(bits >> 12 & 1)
			v, hit := Judge(f)
			if problem := judgement(f, v, hit, limitOf[v]); problem != "" {
				t.Fatalf("Judge(%+v) = %d, %v: %s", f, v, hit, problem)
			}
		}
	}
}

// judgement returns what no verdict may ever be, "" when v is none of it.
func judgement(f Facts, v Verdict, hit, explain []LimitName) string {
	known := false
	for _, e := range explain {
		for _, h := range hit {
			known = known || e == h
		}
	}
	switch {
	case v == VerdictUnspecified:
		return "no verdict"
	case len(explain) > 0 && !known:
		return fmt.Sprintf("none of %v is listed", explain)
	case (v == VerdictCancelled) != f.Cancelled:
		return "cancelled if and only if it was"
	case v == VerdictOK && (!f.Exited || f.ExitCode != 0 || f.Internal || f.CompileFailed):
		return "ok without exit 0"
	case v == VerdictRuntimeError && (!f.Exited || f.ExitCode == 0):
		return "runtime error without an exit status"
	case v == VerdictSignalled && f.Signal == 0:
		return "signalled without a signal"
	}
	return ""
}
