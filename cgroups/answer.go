package cgroups

// Answer is what a probe found out about one feature.
type Answer string

// The three answers of a probe.
const (
	AnswerYes     Answer = "yes"
	AnswerNo      Answer = "no"
	AnswerUnknown Answer = "unknown" // the probe could not tell
)

// Feature is one thing that a host's control groups can do.
type Feature struct {
	Name   string // "cgroup.memory.peak"
	Answer Answer
	Detail string // what was found, and what its lack costs
}
