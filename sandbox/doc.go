// Package sandbox knows what a sandbox and an execution are, and the one path each takes.
//
// An execution is one program run to its end: a [Request] goes in, an [Execution] with a [Verdict] comes out. The
// [Engine] admits it, starts a sandbox for it through a [Runtime], has the sandbox's agent prepare and run slots,
// reads what the kernel counted, judges the facts and journals the result.
//
// Invariants: a program that fails is a result, never an error; everything that leaves this package as an error is
// an [*Error]; nothing that was started outlives its sandbox.
//
// The package never speaks the API's wire format and never knows how the [Journal] stores what it is given.
package sandbox
