package seccomp

import (
	"fmt"
	"slices"
	"syscall"

	"golang.org/x/net/bpf"
)

// A list of some 300 allowed calls takes 600 instructions, even as a tree, and the kernel runs the filter once for every
// number when it is installed. So the filter is linked from three parts: a prologue that answers ranges of unnamed
// numbers; for the calls that only their arguments allow, a filter that refuses all else; for the rest a filter that
// names what is refused. What is left is allowed, and verify proves that it is what the policy allows.

// part is what one libseccomp filter decides.
type part struct {
	otherwise Action
	calls     []partCall
}

// partCall is a call that a filter answers with action: always when no match is given.
type partCall struct {
	number uint32
	action Action
	when   []Match
}

// split sorts the rules of p into the filter of calls refused by default and the filter of all others.
func (p Profile) split(a arch) (narrow, wide part, err error) {
	narrow.otherwise, wide.otherwise = Errno(syscall.EPERM), Allow
	for _, c := range a.calls {
		r, ok := p.Rule(c.Name)
		if !ok {
			r = Rule{Action: p.Default}
		}
		switch {
		case len(r.When) == 0 && r.Action == Allow:
		case len(r.When) == 0:
			wide.calls = append(wide.calls, partCall{c.Number, r.Action, nil})
		case r.Action == wide.otherwise:
			wide.calls = append(wide.calls, partCall{c.Number, r.Then, r.When})
		case r.Action == narrow.otherwise:
			narrow.calls = append(narrow.calls, partCall{c.Number, r.Then, r.When})
			if len(r.Except) > 0 {
				narrow.calls = append(narrow.calls, partCall{c.Number, r.Answer, r.Except})
			}
		default:
			return part{}, part{}, fmt.Errorf("split profile %s: %s is neither allowed nor EPERM beside its conditions", p.Name, c.Name)
		}
	}
	_, single := a.unnamed()
	for _, n := range single {
		wide.calls = append(wide.calls, partCall{n, p.Default, nil})
	}
	return narrow, wide, nil
}

// prologue returns the instructions before the narrow filter (narrowLen instructions long), which the wide one
// follows. Calls of another architecture or convention go on to the wide filter, which knows them.
func (p Profile) prologue(a arch, narrow part, narrowLen int) ([]bpf.Instruction, error) {
	spans, _ := a.unnamed()
	equal := func(v uint32, target int) jump { return jump{bpf.JumpEqual, v, target} }
	jumps := []jump{{bpf.JumpNotEqual, a.audit, toWide}}
	if a.x32 > 0 {
		jumps = append(jumps, equal(noCall, toDefault), jump{bpf.JumpGreaterOrEqual, a.x32, toWide})
	}
	slices.Reverse(spans) // the last one is open: it comes first and needs one test
	for i, s := range spans {
		if i == 0 {
			jumps = append(jumps, jump{bpf.JumpGreaterOrEqual, s.first, toDefault})
			continue
		}
		jumps = append(jumps, jump{bpf.JumpGreaterThan, s.last, 1}, jump{bpf.JumpGreaterOrEqual, s.first, toDefault})
	}
	for _, c := range narrow.calls {
		jumps = append(jumps, equal(c.number, toNarrow))
	}
	return assembleProlog(jumps, p.Default, narrowLen)
}

// jump goes to target when the number (in the first jump, the architecture) compares so, and on otherwise.
type jump struct {
	test   bpf.JumpTest
	value  uint32
	target int // instructions to skip, or one of the labels
}

// The labels of a prologue.
const (
	toDefault = -1 - iota // answer with the profile's default
	toWide
	toNarrow
)

// assembleProlog lays the jumps out. They end with three instructions that are the targets of the labels: go to the
// wide filter, answer with the default, and, right before it, the narrow filter.
func assembleProlog(jumps []jump, otherwise Action, narrowLen int) ([]bpf.Instruction, error) {
	wideAt := len(jumps) + 2 // two loads come first, the second after the first jump
	defaultAt, narrowAt := wideAt+1, wideAt+2
	out := []bpf.Instruction{bpf.LoadAbsolute{Off: 4, Size: 4}}
	for i, j := range jumps {
		skip := j.target
		switch j.target {
		case toWide:
			skip = wideAt - len(out) - 1
		case toDefault:
			skip = defaultAt - len(out) - 1
		case toNarrow:
			skip = narrowAt - len(out) - 1
		}
		if skip > 255 {
			return nil, fmt.Errorf("assemble prologue: a jump over %d instructions is too long", skip)
		}
		out = append(out, bpf.JumpIf{Cond: j.test, Val: j.value, SkipTrue: uint8(skip)})
		if i == 0 {
			out = append(out, bpf.LoadAbsolute{Off: 0, Size: 4})
		}
	}
	return append(out, bpf.Jump{Skip: uint32(1 + narrowLen)}, bpf.RetConstant{Val: uint32(otherwise)}), nil
}

// link joins the prologue and the two compiled filters.
func (p Profile) link(a arch, narrow part, narrowFilter, wideFilter []byte) ([]byte, error) {
	instructions, err := p.prologue(a, narrow, len(narrowFilter)/instructionSize)
	if err != nil {
		return nil, err
	}
	raw, err := bpf.Assemble(instructions)
	if err != nil {
		return nil, fmt.Errorf("assemble prologue of profile %s: %w", p.Name, err)
	}
	return slices.Concat(encode(raw), narrowFilter, wideFilter), nil
}
