package client

import (
	"fmt"
	"math"
	"time"

	"golang.org/x/sys/unix"

	"github.com/soulbox/soulbox/sandbox/agent/agentpb"
)

// MaxFileBytes is the most that one WriteFiles or ReadFiles can carry, in bytes.
const MaxFileBytes = 64 << 20

type (
	coverageRequest = agentpb.CoverageRequest
	response        = agentpb.RunResponse
)

// SlotSpec describes a slot.
type SlotSpec struct {
	Hostname   string
	UID, GID   uint32   // the program's
	LauncherID uint32   // uid and gid of the slot's PID 1; not the program's
	Filter     []byte   // raw array of struct sock_filter for the program; empty: none
	Hide       []string // absolute paths that the program finds empty
	Disk       int64    // bytes that its tmpfs holds before a run says more, what SoulBox writes included; 0: plenty
	Inodes     int64    // likewise; both or none
	CopyOf     *Slot    // whose work directory is to be copied: the tmpfs holds as much more
	// OwnGroup has the agent bound and count the slot in a cgroup of its own kernel, that may hold so many Processes.
	OwnGroup  bool
	Processes int64
	Memory    int64 // of a session with OwnGroup: bytes beyond which its processes are killed
}

// File is a regular file of the work directory.
type File struct {
	Path    string // relative, slash-separated, no ".."
	Content []byte
	Mode    uint32 // permission bits
}

// Rlimit is a resource limit of the program. A hard limit above the agent's own is lowered to that.
type Rlimit struct {
	Resource   int // unix.RLIMIT_*
	Soft, Hard uint64
}

// Command is a program and its limits.
type Command struct {
	Args        []string // Args[0] is a path, or a name looked up in PATH of Env
	Env         []string // "KEY=value"; the whole environment
	Dir         string   // absolute
	Stdin       []byte
	Rlimits     []Rlimit      // RLIMIT_CORE is 0 unless given
	DiskBytes   int64         // held in the tmpfs beyond what SoulBox wrote; > 0
	Inodes      int64         // likewise; > 0
	OutputBytes int64         // stdout and stderr together; > 0
	PollMemory  int64         // bytes, kept by polling; 0: not
	PollCPU     time.Duration // of the process tree, kept by polling; 0: not
}

// Usage is what a run has used so far; zero where nothing is known.
type Usage struct {
	Wall, User, System time.Duration
	Memory             int64 // bytes
}

// Event is one of start, output and usage.
type Event struct {
	Started bool // the program runs: its wall time begins
	Stdout  []byte
	Stderr  []byte
	Usage   *Usage
}

// Exit is how a run ended: facts, no verdict.
type Exit struct {
	Status     unix.WaitStatus // of the main process; SIGKILL when the launcher died first
	StartErrno unix.Errno      // not 0: the program was never started, Status means nothing
	StartStep  string          // with StartErrno: "exec", "chdir"

	Wall                    time.Duration // from exec to exit
	User, System            time.Duration // the main process and the children it waited for
	MaxRSS                  int64         // bytes, of the largest of these
	TreeUser, TreeSystem    time.Duration // all processes of the slot that were waited for
	PeakPolled              int64         // bytes; 0 without PollMemory
	PeakProcesses           int64         // processes and threads seen at once; a floor of the truth
	RefusedForks            int64         // how often it was refused one; counted with OwnGroup
	DiskUsed, DiskTotal     int64         // bytes of the program's own in the tmpfs, when the main process ended
	InodesUsed, InodesTotal int64

	DiskFull, InodesFull             bool // at the end
	FileFull                         bool // the program failed, and a file is exactly as large as RLIMIT_FSIZE
	LauncherGone                     bool // PID 1 of the slot died first
	OutputExceeded                   bool
	StdoutTruncated, StderrTruncated bool
	MemoryExceeded, CPUExceeded      bool // by polling
	Killed                           bool // by Kill, Close, a limit that the agent keeps, or a lost caller
}

// StartError describes why the program was not started; empty when it was.
func (x Exit) StartError() string {
	if x.StartErrno == 0 {
		return ""
	}
	return fmt.Sprintf("%s: %s", x.StartStep, x.StartErrno.Error())
}

// exitFrom takes what an agent claims and leaves what can be.
func exitFrom(e *agentpb.End) Exit {
	return Exit{
		Status:          unix.WaitStatus(e.GetWaitStatus() & 0xffff),
		StartErrno:      errno(e.GetStartErrno()),
		StartStep:       clip(e.GetStartStep(), 64),
		Wall:            duration(e.GetWallNanos()),
		User:            duration(e.GetUserNanos()),
		System:          duration(e.GetSystemNanos()),
		MaxRSS:          max(e.GetMaxRssBytes(), 0),
		TreeUser:        duration(e.GetTreeUserNanos()),
		TreeSystem:      duration(e.GetTreeSystemNanos()),
		PeakPolled:      max(e.GetPeakPolledBytes(), 0),
		PeakProcesses:   max(e.GetPeakProcesses(), 0),
		RefusedForks:    max(e.GetRefusedForks(), 0),
		DiskUsed:        max(e.GetDiskUsed(), 0),
		DiskTotal:       max(e.GetDiskTotal(), 0),
		InodesUsed:      max(e.GetInodesUsed(), 0),
		InodesTotal:     max(e.GetInodesTotal(), 0),
		DiskFull:        e.GetDiskFull(),
		InodesFull:      e.GetInodesFull(),
		FileFull:        e.GetFileFull(),
		LauncherGone:    e.GetLauncherGone(),
		OutputExceeded:  e.GetOutputExceeded(),
		StdoutTruncated: e.GetStdoutTruncated(),
		StderrTruncated: e.GetStderrTruncated(),
		MemoryExceeded:  e.GetMemoryExceeded(),
		CPUExceeded:     e.GetCpuExceeded(),
		Killed:          e.GetKilled(),
	}
}

func usageFrom(u *agentpb.Usage) *Usage {
	return &Usage{
		Wall:   duration(u.GetWallNanos()),
		User:   duration(u.GetUserNanos()),
		System: duration(u.GetSystemNanos()),
		Memory: max(u.GetMemoryBytes(), 0),
	}
}

// maxDuration is longer than any run and short enough that sums of a few do not overflow.
const maxDuration = time.Duration(math.MaxInt64 / 16)

func duration(nanos int64) time.Duration { return min(max(time.Duration(nanos), 0), maxDuration) }

// errno keeps 0 apart from what is out of the kernel's range: a failed start stays one.
func errno(n int32) unix.Errno {
	if n < 0 || n > 4095 {
		return unix.EIO
	}
	return unix.Errno(n)
}

func clip(s string, n int) string { return s[:min(len(s), n)] }
