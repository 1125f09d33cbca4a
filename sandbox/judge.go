package sandbox

import "syscall"

// Facts are what is known of one ended step. They are gathered by the engine; [Judge] decides on nothing else.
type Facts struct {
	Cancelled     bool // the caller ended it, or went away, before it was over
	Internal      bool // SoulBox failed; nothing can be said of the program
	CompileFailed bool // the program was never started because its compile step failed

	// How the program's first process ended. When it was seen neither exiting nor dying of a signal (its slot was gone
	// first), Exited is false and Signal is 0.
	Exited   bool
	ExitCode int            // with Exited
	Signal   syscall.Signal // without Exited

	// The four reasons for which SoulBox itself kills the slot. They say that the limit was passed and the kill was
	// sent, not that the kill came before the program's own end.
	MemoryPolled   bool // memory, where no cgroup keeps it
	OutputExceeded bool // more was written than the limit lets through; the rest was discarded
	CPUExceeded    bool // CPU time, or one of the processes died of SIGXCPU
	Deadline       bool // wall time

	// What the kernel or the program's runtime did about a limit.
	OOMKills       int64 // processes of the step that the kernel's OOM killer ended
	OutOfMemory    bool  // it ended the way its language's runtime ends when it is out of memory
	DiskFull       bool  // no bytes were left in its tmpfs
	InodesFull     bool  // no inodes were left in its tmpfs
	FileSizeSignal bool  // one of its processes died of SIGXFSZ, or ignored it and left a file of just that size
	PidsMax        bool  // the kernel refused it a process or thread
}

// Judge decides a step's verdict, and lists the limits it touched in the order of the fields of [Limits]. It is the
// one place where verdicts are decided.
//
// The order: cancelled, internal, compile_error; then memory_limit, output_limit, cpu_limit and time_limit, each when
// that limit ended the program; then disk_limit and process_limit, when touched and the program did not exit with 0;
// then signalled, runtime_error, ok.
//
// What ended it: a program that exited, or died of another signal than SIGKILL, did so by itself, even if a limit's
// kill was already on its way. A SIGKILL is put down to the kills that SoulBox sent and only without one to the OOM
// killer, which may have ended a child long before. Two exceptions: output that was cut off is output_limit however
// the program ended, since whether the kill overtakes the exit is chance; and exit status 137 after an OOM kill is
// memory_limit, since it is how a shell reports that its child was killed.
func Judge(f Facts) (Verdict, []LimitName) {
	return f.verdict(), f.limitsHit()
}

func (f Facts) verdict() Verdict {
	switch {
	case f.Cancelled:
		return VerdictCancelled
	case f.Internal:
		return VerdictInternal
	case f.CompileFailed:
		return VerdictCompileError
	case f.memoryEndedIt():
		return VerdictMemoryLimit
	case f.OutputExceeded:
		return VerdictOutputLimit
	case f.CPUExceeded && f.killed(), f.died(syscall.SIGXCPU):
		return VerdictCPULimit
	case f.Deadline && f.killed():
		return VerdictTimeLimit
	case f.succeeded():
		return VerdictOK
	case f.DiskFull, f.InodesFull, f.fileTooLarge():
		return VerdictDiskLimit
	case f.PidsMax:
		return VerdictProcessLimit
	case f.Exited:
		return VerdictRuntimeError
	case f.Signal != 0:
		return VerdictSignalled
	}
	return VerdictInternal // gone, and nothing explains it
}

// limitsHit lists every limit that was touched, whether or not it ended the program.
func (f Facts) limitsHit() []LimitName {
	var hit []LimitName
	for _, l := range []struct {
		name    LimitName
		touched bool
	}{
		{LimitWallTime, f.Deadline},
		{LimitCPUTime, f.CPUExceeded || f.died(syscall.SIGXCPU)},
		{LimitMemory, f.OOMKills > 0 || f.MemoryPolled || f.ranOut()},
		{LimitProcesses, f.PidsMax},
		{LimitFileSize, f.fileTooLarge()},
		{LimitDisk, f.DiskFull},
		{LimitInodes, f.InodesFull},
		{LimitOutput, f.OutputExceeded},
	} {
		if l.touched {
			hit = append(hit, l.name)
		}
	}
	return hit
}

func (f Facts) memoryEndedIt() bool {
	if f.killed() {
		return f.MemoryPolled || (!f.sentKill() && (f.OOMKills > 0 || f.OutOfMemory))
	}
	const killedBySIGKILL = 128 + int(syscall.SIGKILL)
	return f.ranOut() || f.OOMKills > 0 && f.Exited && f.ExitCode == killedBySIGKILL
}

// ranOut reports whether the runtime ended out of memory. A program that survived the condition has not.
func (f Facts) ranOut() bool { return f.OutOfMemory && !f.succeeded() }

// fileTooLarge needs proof: a program that ignores SIGXFSZ sees EFBIG instead, which nobody else does.
func (f Facts) fileTooLarge() bool { return f.FileSizeSignal || f.died(syscall.SIGXFSZ) }

// sentKill reports whether SoulBox sent a kill for a limit.
func (f Facts) sentKill() bool {
	return f.MemoryPolled || f.OutputExceeded || f.CPUExceeded || f.Deadline
}

// killed reports whether a SIGKILL, or an end that nobody saw, is how it ended.
func (f Facts) killed() bool { return !f.Exited && (f.Signal == syscall.SIGKILL || f.Signal == 0) }

func (f Facts) died(s syscall.Signal) bool { return !f.Exited && f.Signal == s }

func (f Facts) succeeded() bool { return f.Exited && f.ExitCode == 0 }
