// Package seccomp holds SoulBox's system call policy as data, compiles it to BPF and evaluates the result.
//
// A [Profile] decides every system call number of an architecture: each call the kernel has named belongs to exactly
// one [Rule], which says why, and a number without a name is answered with ENOSYS, so that a C library falls back to
// an older call. [Program] is for untrusted executions, [Agent] for PID 1 of a sandbox and the launchers it starts.
//
// [Compile] needs libseccomp, so it exists only in a build with cgo and the tag libseccomp; everything else is pure Go.
// It returns a filter only after every number of the architecture was evaluated and found to agree with the policy.
//
// The package never installs a filter: the launcher and the agent do.
package seccomp

//go:generate go run gencalls.go
