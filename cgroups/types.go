package cgroups

import (
	"errors"
	"fmt"
	"time"
)

// Mode is the kind of control groups that a [Tree] uses.
type Mode int

// The modes.
const (
	ModeNone Mode = iota // nothing is enforced and nothing is counted
	ModeV1               // one hierarchy per controller, as root of the host
	ModeV2               // the unified hierarchy, delegated
)

// String returns "none", "v1" or "v2".
func (m Mode) String() string {
	switch m {
	case ModeNone:
		return "none"
	case ModeV1:
		return "v1"
	case ModeV2:
		return "v2"
	}
	return fmt.Sprintf("Mode(%d)", int(m))
}

// Limits bound a group and all groups below it. Swap is always off where memory is limited.
type Limits struct {
	Memory    int64 // bytes, kernel memory and tmpfs included; 0: no limit
	Pids      int64 // processes and threads at once, a slot's launcher included; 0: no limit
	CPUWeight int64 // share of the CPU beside other groups, 1 to 10000; 0: the kernel's 100
}

func (l Limits) validate() error {
	var errs []error
	if l.Memory < 0 {
		errs = append(errs, fmt.Errorf("memory limit %d is negative", l.Memory))
	}
	if l.Pids < 0 {
		errs = append(errs, fmt.Errorf("limit of %d processes is negative", l.Pids))
	}
	if l.CPUWeight < 0 || l.CPUWeight > 10000 {
		errs = append(errs, fmt.Errorf("CPU weight %d is not in 1 to 10000", l.CPUWeight))
	}
	return errors.Join(errs...)
}

// above returns l with reserve added to what is limited.
func (l Limits) above(reserve Limits) Limits {
	if l.Memory > 0 {
		l.Memory += reserve.Memory
	}
	if l.Pids > 0 {
		l.Pids += reserve.Pids
	}
	return l
}

// Stats are the counters of a group and all groups below it, those removed included. A counter that the host does not
// keep is zero; see [Enforced].
type Stats struct {
	MemoryPeak    int64         // bytes; before Linux 5.19 on v2: the same as MemoryCurrent
	MemoryCurrent int64         // bytes
	OOMKills      int64         // processes killed because memory was full; on v1 of this group alone
	PidsCurrent   int64         // processes and threads
	PidsMaxEvents int64         // how often fork failed at the limit; on v1, and before Linux 6.8, of this group alone
	CPUUser       time.Duration // on v1 scaled from clock ticks, so that user and system add up to the total
	CPUSystem     time.Duration
	CPUTotal      time.Duration // exact
}

// Enforced says what the groups of a [Tree] really do on this host.
type Enforced struct {
	Memory    bool // limit, peak and OOM kills
	Swap      bool // swap can be switched off; without it a program may use swap beyond its memory limit
	Pids      bool
	CPUTime   bool // counted for the whole process tree
	CPUWeight bool
	Freeze    bool
	Kill      bool // all processes, whatever they fork meanwhile
}
