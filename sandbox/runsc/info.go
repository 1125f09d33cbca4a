package runsc

import (
	"github.com/soulbox/soulbox/cgroups"
	"github.com/soulbox/soulbox/sandbox"
)

// Info implements [sandbox.Runtime].
func (r *Runtime) Info() sandbox.RuntimeInfo {
	has := r.opts.Cgroups.Enforced()
	return sandbox.RuntimeInfo{
		Name: Name, Version: "gVisor " + Version, Rootless: r.opts.Rootless, OwnKernel: true, Overhead: Overhead(), Enforced: enforced(has),
		Features: Features(), Unavailable: r.opts.Unavailable,
	}
}

// Features are where a sandbox of gVisor differs from others for what runs in it.
func Features() []sandbox.Feature {
	return []sandbox.Feature{
		{Name: "kernel", Answer: sandbox.AnswerYes, Detail: "programs speak to a kernel of their own, gVisor's, and not to the host's"},
		{Name: "memory-bound", Answer: sandbox.AnswerNo, Detail: "the sandbox's agent looks at memory every few milliseconds and kills; a program that is quicker ends its sandbox"},
		{Name: "freezer", Answer: sandbox.AnswerNo, Detail: "a sandbox is paused by SIGSTOP to all of its processes"},
		{Name: "first-process", Answer: sandbox.AnswerNo, Detail: "the first process is less guarded from within: all can look at its namespaces, and in a sandbox " +
			"that lives on root can list its descriptors, read its counters, and kill it, which ends the sandbox"},
		{Name: "priorities", Answer: sandbox.AnswerNo, Detail: "nice values and oom_score_adj can be set to anything, and change nothing"},
	}
}

// Overhead is what gVisor itself may use for one sandbox, beside its programs and its agent. docs/isolation.md says how it
// was measured.
func Overhead() cgroups.Limits {
	return cgroups.Limits{Memory: 96 << 20, Pids: 8192}
}

// enforced lists the limits that are kept for the whole process tree: those that need no cgroup, processes and CPU time,
// which the sentry counts, and memory where the host's cgroup ends what passes it by more than the overhead.
func enforced(has cgroups.Enforced) []sandbox.LimitName {
	all := []sandbox.LimitName{sandbox.LimitWallTime, sandbox.LimitOpenFiles, sandbox.LimitFileSize, sandbox.LimitDisk,
		sandbox.LimitInodes, sandbox.LimitOutput, sandbox.LimitCPUTime, sandbox.LimitProcesses}
	if has.Memory {
		all = append(all, sandbox.LimitMemory)
	}
	return all
}
