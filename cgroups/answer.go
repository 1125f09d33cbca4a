package cgroups

// Answer is what a probe found out about one feature.
type Answer string

// The three answers of a probe.
const (
	AnswerYes     Answer = "yes"
	AnswerNo      Answer = "no"
	AnswerUnknown Answer = "unknown" // the probe could not tell
)
