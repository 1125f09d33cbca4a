package seccomp

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Profile is the whole policy for one kind of process.
type Profile struct {
	Name    string
	Rules   []Rule
	Default Action // for numbers that no rule names
	BadArch Action // for calls by another convention than the architecture's own: 32-bit, x32
}

// Rule decides some system calls.
type Rule struct {
	Calls  []string // kernel names; an architecture without one of them ignores it
	Action Action   // unless one of When holds
	When   []Match
	Then   Action  // when one of When holds
	Except []Match // looked at when none of When holds
	Answer Action  // when one of Except holds
	Reason string
}

// Match holds when all its conditions do.
type Match []Cond

// Cond holds when an argument, after the mask, has a value. Masks stay below 32 bits wherever the kernel itself looks at
// 32 bits only, or the upper half would be a way around the rule.
type Cond struct {
	Arg   uint // 0 to 5
	Mask  uint64
	Value uint64
}

// Call is a system call of an architecture.
type Call struct {
	Number uint32
	Name   string
}

// ByName returns the profile of a name.
func ByName(name string) (Profile, bool) {
	for _, p := range []Profile{Program(), Session(), Agent()} {
		if p.Name == name {
			return p, true
		}
	}
	return Profile{}, false
}

// Calls returns the system calls of an architecture in Go's spelling, by rising number.
func Calls(arch string) ([]Call, error) {
	switch arch {
	case "amd64":
		return callsAMD64(), nil
	case "arm64":
		return callsARM64(), nil
	}
	return nil, fmt.Errorf("list system calls of %s: %w", arch, errors.ErrUnsupported)
}

// Rule returns the rule of a call, false when the default decides it.
func (p Profile) Rule(call string) (Rule, bool) {
	for _, r := range p.Rules {
		if slices.Contains(r.Calls, call) {
			return r, true
		}
	}
	return Rule{}, false
}

// Decide returns what r does with a call's arguments.
func (r Rule) Decide(args [6]uint64) Action {
	for _, m := range r.When {
		if m.holds(args) {
			return r.Then
		}
	}
	for _, m := range r.Except {
		if m.holds(args) {
			return r.Answer
		}
	}
	return r.Action
}

func (m Match) holds(args [6]uint64) bool {
	for _, c := range m {
		if args[c.Arg]&c.Mask != c.Value {
			return false
		}
	}
	return true
}

// Decide returns what p does with a call on an architecture: the specification that a compiled filter is held to.
func (p Profile) Decide(arch string, d Data) (Action, error) {
	a, err := findArch(arch)
	if err != nil {
		return 0, err
	}
	if d.Arch != a.audit || a.x32 > 0 && d.Number >= a.x32 && d.Number != noCall {
		return p.BadArch, nil
	}
	for _, c := range a.calls {
		if c.Number != d.Number {
			continue
		}
		if r, ok := p.Rule(c.Name); ok {
			return r.Decide(d.Args), nil
		}
	}
	return p.Default, nil
}

// Validate reports everything that is wrong with p: calls that two rules name or none, names that no architecture
// has, rules without a reason, conditions that can never hold.
func (p Profile) Validate() error {
	var errs []error
	named := map[string]bool{}
	for _, r := range p.Rules {
		first := strings.Join(r.Calls[:min(1, len(r.Calls))], "")
		if r.Reason == "" || len(r.Calls) == 0 {
			errs = append(errs, fmt.Errorf("profile %s: the rule of %q lacks calls or a reason", p.Name, first))
		}
		if len(r.When) > 0 && r.Then == r.Action {
			errs = append(errs, fmt.Errorf("profile %s: the conditions of %s change nothing", p.Name, first))
		}
		for _, name := range r.Calls {
			if named[name] {
				errs = append(errs, fmt.Errorf("profile %s: %s has two rules", p.Name, name))
			}
			named[name] = true
		}
		for _, m := range slices.Concat(r.When, r.Except) {
			errs = append(errs, m.validate(first))
		}
	}
	known := map[string]bool{}
	for _, c := range slices.Concat(callsAMD64(), callsARM64()) {
		if !named[c.Name] && !known[c.Name] {
			errs = append(errs, fmt.Errorf("profile %s: %s has no rule", p.Name, c.Name))
		}
		known[c.Name] = true
	}
	for name := range named {
		if !known[name] {
			errs = append(errs, fmt.Errorf("profile %s: no architecture has a call %s", p.Name, name))
		}
	}
	return errors.Join(errs...)
}

// validate checks m; libseccomp takes each argument once in a conjunction.
func (m Match) validate(call string) error {
	var seen [6]bool
	for _, c := range m {
		switch {
		case c.Arg > 5:
			return fmt.Errorf("rule of %s: no argument %d", call, c.Arg)
		case c.Value&^c.Mask != 0:
			return fmt.Errorf("rule of %s: value %#x can never show under mask %#x", call, c.Value, c.Mask)
		case seen[c.Arg]:
			return fmt.Errorf("rule of %s: argument %d stands twice in one match", call, c.Arg)
		}
		seen[c.Arg] = true
	}
	if len(m) == 0 {
		return fmt.Errorf("rule of %s: a match without conditions", call)
	}
	return nil
}
