package images

import (
	"fmt"
	"slices"
	"strings"
)

// Sample is a small program that shows that a language works, and what must come of it.
type Sample struct {
	Name     string   `toml:"name"`
	Code     string   `toml:"code"`
	Args     []string `toml:"args"`
	Stdin    string   `toml:"stdin"`
	Stdout   string   `toml:"stdout"`    // what it prints
	Stderr   string   `toml:"stderr"`    // what it must mention on stderr
	ExitCode int      `toml:"exit_code"` // how it ends
	Signal   string   `toml:"signal"`    // what ends it instead, such as "SIGABRT"

	CompileError  bool   `toml:"compile_error"`  // it must not compile; then nothing runs
	CompileStderr string `toml:"compile_stderr"` // what the compiler must mention then
}

// Outcome is what came of a sample.
type Outcome struct {
	Compiled       bool // there was nothing to compile, or it did
	CompileStderr  string
	Stdout, Stderr string
	ExitCode       int
	Signal         string // "SIGABRT"; empty when it exited
}

// Problem says what is wrong with the outcome of s, "" when nothing is.
func (s Sample) Problem(o Outcome) string {
	switch {
	case s.CompileError && o.Compiled:
		return "it must not compile, and does"
	case s.CompileError && !strings.Contains(o.CompileStderr, s.CompileStderr):
		return fmt.Sprintf("the compiler does not mention %q: %q", s.CompileStderr, o.CompileStderr)
	case s.CompileError:
		return ""
	case !o.Compiled:
		return fmt.Sprintf("it does not compile: %q", o.CompileStderr)
	case o.Signal != s.Signal:
		return fmt.Sprintf("it ends by signal %q, not %q: %q", o.Signal, s.Signal, o.Stderr)
	case s.Signal == "" && o.ExitCode != s.ExitCode:
		return fmt.Sprintf("it ends with %d, not %d: %q", o.ExitCode, s.ExitCode, o.Stderr)
	case o.Stdout != s.Stdout:
		return fmt.Sprintf("it prints %q, not %q", o.Stdout, s.Stdout)
	case !strings.Contains(o.Stderr, s.Stderr):
		return fmt.Sprintf("it does not mention %q on stderr: %q", s.Stderr, o.Stderr)
	}
	return ""
}

// samples checks that there are samples, and that each one can be right.
func (c *compiler) samples() {
	if len(c.file.Samples) == 0 {
		c.failf("samples is empty")
	}
	var names []string
	for _, s := range c.file.Samples {
		switch {
		case s.Name == "" || s.Code == "":
			c.failf("sample %q: name or code is empty", s.Name)
		case slices.Contains(names, s.Name):
			c.failf("sample %q is there twice", s.Name)
		case s.CompileError && c.file.Compile == nil:
			c.failf("sample %q: there is nothing to compile", s.Name)
		case s.CompileError && (s.Stdout != "" || s.Stderr != "" || s.ExitCode != 0 || s.Signal != ""):
			c.failf("sample %q: it must not compile, so nothing can come of running it", s.Name)
		case s.Signal != "" && s.ExitCode != 0:
			c.failf("sample %q: it ends with an exit code or by a signal, not both", s.Name)
		}
		names = append(names, s.Name)
	}
}
