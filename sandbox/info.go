package sandbox

import "github.com/soulbox/soulbox/cgroups"

// Language is what this host can run of one recipe.
type Language struct {
	Name       string
	Title      string // "C++"
	Aliases    []string
	Extensions []string // with the dot
	Entrypoint string   // default file name
	Compiled   bool
	Available  bool
	Version    string   // as the interpreter or compiler prints it; empty when unavailable
	Missing    []string // programs that were not found
	Install    string   // the command that installs them; empty when nothing is missing
	Limits     Limits   // defaults of the run step
	Compile    Limits   // defaults of the compile step; zero when not compiled

	Interactive []string // the command of its interactive interpreter; empty when it has none
}

// Answer is what a probe found out about one feature.
type Answer string

// The three answers of a probe.
const (
	AnswerYes     Answer = "yes"
	AnswerNo      Answer = "no"
	AnswerUnknown Answer = "unknown" // the probe could not tell
)

// Feature is one capability of this host or runtime.
type Feature struct {
	Name   string // "cgroup.memory"
	Answer Answer
	Detail string // why, and what it costs when it is missing
}

// Warning is a setting or a lack of the host that weakens isolation.
type Warning struct {
	Name string // stable: "memory-unenforced"
	Text string // what it costs and what to do
}

// SystemInfo describes a running engine.
type SystemInfo struct {
	Version   string
	Runtimes  []RuntimeInfo
	Features  []Feature
	Warnings  []Warning
	Policy    Limits // maximal limits a caller can ask for
	Queued    int
	Running   int
	MaxQueue  int
	MaxBoxes  int
	Memory    int64 // bytes that the limits of all running sandboxes may add up to
	MemoryUse int64 // bytes they add up to now

	Goroutines int // of the daemon: at rest, always about as many
}

// RuntimeInfo is what a [Runtime] can do on this host. Tests and callers branch on nothing else.
type RuntimeInfo struct {
	Name     string // "runc"
	Version  string
	Rootless bool
	Enforced []LimitName // limits that the kernel keeps for the whole process tree; others are kept by rlimits and polling
	Features []Feature

	Unavailable string // why it can run nothing here, for who asks for it; empty when it can
	// OwnKernel says that each sandbox runs on a kernel of its own. The host's cgroups then see it as one: its slots are
	// bounded and counted within, by its agent, which kills a slot that holds more memory than it may. The host's limits
	// are Overhead above the sandbox's: a program that outruns the agent ends its sandbox there.
	OwnKernel bool
	Overhead  cgroups.Limits // what the runtime itself may use for one sandbox
}
