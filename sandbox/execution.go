package sandbox

import (
	"context"
	"iter"
	"time"
)

// State is where an execution is in its life. Values are append-only, they are stored.
type State int

// The states of an execution.
const (
	StateUnspecified State = iota
	StateQueued
	StateRunning
	StateDone
)

// Verdict is what SoulBox says of a finished execution. Values are append-only, they are stored.
type Verdict int

// The verdicts, see [Judge] for the order in which they are decided.
const (
	VerdictUnspecified  Verdict = iota
	VerdictOK                   // exit status 0
	VerdictRuntimeError         // another exit status
	VerdictSignalled            // killed by a signal that SoulBox did not send
	VerdictCompileError         // the compile step failed; see Execution.Compile
	VerdictTimeLimit            // wall time
	VerdictCPULimit
	VerdictMemoryLimit
	VerdictOutputLimit
	VerdictDiskLimit // bytes, inodes or file size
	VerdictProcessLimit
	VerdictCancelled
	VerdictInternal // SoulBox failed; the program is not to blame
)

// Usage is what a step used.
type Usage struct {
	Wall       time.Duration
	User       time.Duration // whole process tree
	System     time.Duration // whole process tree
	PeakMemory int64         // bytes
}

// Step is the outcome of one step: compile or run.
type Step struct {
	Verdict         Verdict
	ExitCode        int    // -1 when killed
	Signal          string // "SIGKILL" or ""
	Stdout          []byte // at most Limits.Output together with Stderr
	Stderr          []byte
	StdoutTruncated bool
	StderrTruncated bool
	Usage           Usage
	LimitsHit       []LimitName
}

// Execution is the record of one request and, once done, its result. It is what the [Journal] keeps.
type Execution struct {
	ID             ID
	Tenant         string
	Client         string
	RequestID      string
	BodyHash       []byte // of the request, to tell a repeated request id from a conflicting one
	Language       string // the recipe's name
	Image          string // "host", or the name that it had in the library
	ImageDigest    string // what that name stood for; empty for the host's
	Runtime        string
	State          State
	Step                       // the run step; of it only the verdict is set when compiling failed
	Compile        *Step       // nil for languages that do not compile
	Limits         Limits      // in force
	Clamped        []LimitName // asked above the operator's policy
	Unenforced     []LimitName // kept by rlimits and polling, not by a cgroup
	Outputs        []File
	OutputsExpired bool   // output and files were there and are not kept any more
	Detail         string // with VerdictInternal: what to tell the client
	CreatedAt      time.Time
	StartedAt      time.Time // zero while queued
	EndedAt        time.Time // zero until done
}

// EventKind says what an [Event] carries.
type EventKind int

// The kinds of events, in the order in which they can come; stdout and stderr interleave.
const (
	EventStarted EventKind = iota + 1 // the program is about to start; Execution has the id
	EventStdout                       // Data
	EventStderr                       // Data
	EventUsage                        // Usage so far, about once a second
	EventResult                       // Execution is the result; always the last event
)

// Event is one thing that happened to an execution. Seq counts from 1 without gaps.
type Event struct {
	Seq       uint64
	Kind      EventKind
	Data      []byte
	Compile   bool // stdout, stderr or usage of the compile step
	Usage     Usage
	Execution *Execution // with EventStarted and EventResult; read-only
}

// Handle follows one execution. Its methods can be called from any goroutine.
type Handle interface {
	// ID returns the execution's id.
	ID() ID
	// Snapshot returns the record as it is now.
	Snapshot() Execution
	// Wait returns the result when the execution is done, or ctx's error. It does not cancel.
	Wait(ctx context.Context) (Execution, error)
	// Events yields all events with a Seq above after, as they happen, and ends after EventResult. It yields an
	// error only for ctx.
	Events(ctx context.Context, after uint64) iter.Seq2[Event, error]
	// Cancel ends the execution with VerdictCancelled. It is a no-op once done.
	Cancel()
}

// Filter selects executions in a listing. Zero fields select all.
type Filter struct {
	State    State
	Language string
}
