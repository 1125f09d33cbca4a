package sandbox

import (
	"maps"
	"slices"
	"time"
)

// SandboxState is where a sandbox is in its life. Values are append-only, they are stored.
type SandboxState int

// The states of a sandbox. The last two are final.
const (
	SandboxUnspecified SandboxState = iota
	SandboxCreating
	SandboxRunning
	SandboxPaused  // its processes are frozen; time does not count
	SandboxStopped // it was deleted, its time ran out, or its supervisor ended
	SandboxFailed  // SoulBox could not start it, or it ended by itself or by a limit
)

// Final tells whether nothing of the sandbox runs any more.
func (s SandboxState) Final() bool { return s == SandboxStopped || s == SandboxFailed }

// SandboxLimits bound what all processes of a sandbox may use together. A zero field means the default.
type SandboxLimits struct {
	Memory    int64 // bytes, at least 16 MiB, swap is off; JSON memoryBytes
	Processes int64 // processes and threads at once; JSON processes
	OpenFiles int64 // descriptors of one process; JSON openFiles
	Disk      int64 // bytes that it has written; JSON diskBytes
}

// Sandbox is the record of a sandbox that lives until it is deleted or its time runs out.
type Sandbox struct {
	ID        ID
	Tenant    string
	Client    string // id of the key that made it
	RequestID string
	BodyHash  []byte // of the request, see Execution.BodyHash

	Image string // "host", or the name that it had in the library
	// ImageDigest is what that name stood for; empty for the host's.
	ImageDigest string
	Command     []string // what the image would run; nothing starts it by itself
	Runtime     string
	State       SandboxState
	Reason      string            // why it is in a final state, for people
	Labels      map[string]string // for filters
	Metadata    map[string]string // the client's own
	Env         map[string]string // of every process
	User        string            // who runs processes by default
	Workdir     string            // where they begin; empty: the user's home
	Limits      SandboxLimits     // in force
	Clamped     []LimitName       // asked above the operator's policy

	Timeout     time.Duration // how long it lives without being prolonged; 0: for ever
	IdleTimeout time.Duration // how long it lives without being used; 0: for ever
	DeadlineAt  time.Time     // when Timeout ends it; zero: never
	CreatedAt   time.Time
	StartedAt   time.Time // zero while it is created
	PausedAt    time.Time // zero unless it is paused
	EndedAt     time.Time // zero until a final state

	Log []LogEntry // what happened to it, the newest last; the last 200

	Block int // of ids, see [IDPool]
}

// clone copies what a later update could change.
func (s *Sandbox) clone() Sandbox {
	c := *s
	c.Labels, c.Metadata, c.Env = maps.Clone(s.Labels), maps.Clone(s.Metadata), maps.Clone(s.Env)
	c.Log = slices.Clone(s.Log)
	return c
}

// SandboxFilter selects sandboxes in a listing. Zero fields select all.
type SandboxFilter struct {
	States []SandboxState
	Image  string
	Labels map[string]string // all of them, with these values
}

// Selects tells whether s is one that f selects.
func (f SandboxFilter) Selects(s *Sandbox) bool {
	if f.Image != "" && f.Image != s.Image {
		return false
	}
	for k, v := range f.Labels {
		if has, ok := s.Labels[k]; !ok || has != v {
			return false
		}
	}
	for _, state := range f.States {
		if state == s.State {
			return true
		}
	}
	return len(f.States) == 0
}

// CreateSandbox asks for a sandbox.
type CreateSandbox struct {
	Tenant, Client string // as in [Request]

	RequestID   string // optional idempotency key of the client's
	Image       string // empty: the operator's default
	Runtime     string // empty: the default
	Labels      map[string]string
	Metadata    map[string]string
	Env         map[string]string
	User        string         // empty: the image's, "user" on the host's
	Workdir     string         // absolute; empty: the image's, "/" where it says none, on the host's the user's home
	Limits      SandboxLimits  // zero fields: defaults
	Timeout     *time.Duration // nil: the default; 0: for ever, if the policy allows it
	IdleTimeout time.Duration
}
