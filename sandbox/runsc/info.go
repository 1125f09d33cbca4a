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
