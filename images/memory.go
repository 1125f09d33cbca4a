package images

import (
	"regexp"
	"syscall"
)

// OutOfMemoryTail is how many of the last bytes of stderr [Recipe.OutOfMemory] should be given: enough to hold the
// message in front of a long stack trace.
const OutOfMemoryTail = 64 << 10

// signature is one way in which a runtime says that it ran out of memory. All its conditions must hold.
type signature struct {
	exit   *int           // exit status
	signal syscall.Signal // 0: any, and none
	stderr *regexp.Regexp // what it printed
}

type signatureFile struct {
	Exit   *int   `toml:"exit"`
	Signal string `toml:"signal"` // "SIGABRT"
	Stderr string `toml:"stderr"` // regular expression
}

// signature compiles f. A signature without a message would take every crash for a lack of memory.
func (c *compiler) signature(f signatureFile) signature {
	s := signature{exit: f.Exit}
	switch f.Signal {
	case "":
	case "SIGABRT":
		s.signal = syscall.SIGABRT
	case "SIGSEGV":
		s.signal = syscall.SIGSEGV
	case "SIGTRAP":
		s.signal = syscall.SIGTRAP
	default:
		c.failf("out_of_memory: unknown signal %q", f.Signal)
	}
	if f.Stderr == "" || f.Exit == nil && f.Signal == "" {
		c.failf("out_of_memory: want a message, and an exit status or a signal")
	}
	var err error
	if s.stderr, err = regexp.Compile(f.Stderr); err != nil {
		c.failf("out_of_memory: compile stderr: %w", err)
	}
	return s
}

// OutOfMemory tells whether a program that ended in this way ran out of memory by its runtime's own account. The exit
// status counts when signal is 0; stderrTail holds the end of what the program wrote, see [OutOfMemoryTail]. A program
// can write such a message itself: the answer is good for a verdict about the program, and for nothing else.
func (r *Recipe) OutOfMemory(exit int, signal syscall.Signal, stderrTail []byte) bool {
	for _, s := range r.outOfMemory {
		var how bool
		if signal != 0 {
			how = s.signal == signal
		} else {
			how = s.exit != nil && *s.exit == exit
		}
		if how && s.stderr.Match(stderrTail) {
			return true
		}
	}
	return false
}
