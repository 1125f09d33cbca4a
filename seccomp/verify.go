package seccomp

import (
	"fmt"
	"iter"
	"slices"
)

// verify returns an error unless filter decides every call of the architecture as p does: all numbers up to 4095 and
// the borders of the ranges above, each with the arguments that p's conditions tell apart, and foreign calls.
func (p Profile) verify(name string, filter []byte) error {
	a, err := findArch(name)
	if err != nil {
		return err
	}
	e, err := newEvaluator(filter)
	if err != nil {
		return err
	}
	for d, want := range p.cases(a, near) {
		got, err := e.run(d)
		if err != nil {
			return err
		}
		if got != want {
			return fmt.Errorf("verify filter of profile %s: call %d of architecture %#x with arguments %#x: got %v, want %v",
				p.Name, d.Number, d.Arch, d.Args, got, want)
		}
	}
	return nil
}

// cases iterates over calls and what p decides of them; around widens the values that conditions ask for.
func (p Profile) cases(a arch, around func([]uint64) []uint64) iter.Seq2[Data, Action] {
	return func(yield func(Data, Action) bool) {
		rules := map[uint32]Rule{}
		for _, c := range a.calls {
			if r, ok := p.Rule(c.Name); ok {
				rules[c.Number] = r
			}
		}
		for n := range uint32(4096) {
			r, ok := rules[n]
			if !ok {
				r = Rule{Action: p.Default}
			}
			for _, args := range r.arguments(around) {
				if !yield(Data{Number: n, Arch: a.audit, Args: args}, r.Decide(args)) {
					return
				}
			}
			if !yield(Data{Number: n, Arch: a.audit ^ 1}, p.BadArch) ||
				a.x32 > 0 && !yield(Data{Number: a.x32 + n, Arch: a.audit}, p.BadArch) {
				return
			}
		}
		for _, n := range []uint32{1 << 16, 1<<30 - 1, noCall} {
			if !yield(Data{Number: n, Arch: a.audit}, p.Default) {
				return
			}
		}
	}
}

// arguments returns argument lists on both sides of every condition of r: for each argument the values that conditions
// ask for and those around them, in every combination with the values of the other arguments.
func (r Rule) arguments(around func([]uint64) []uint64) [][6]uint64 {
	plain := map[uint][]uint64{}
	for _, m := range slices.Concat(r.When, r.Except) {
		for _, c := range m {
			plain[c.Arg] = append(plain[c.Arg], c.Value)
		}
	}
	list := [][6]uint64{{}, {^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)}}
	for arg := range uint(6) {
		values := slices.Compact(slices.Sorted(slices.Values(plain[arg])))
		if len(values) == 0 {
			continue
		}
		var next [][6]uint64
		for _, base := range list {
			for _, v := range around(values) {
				base[arg] = v
				next = append(next, base)
			}
		}
		list = append(list, next...)
	}
	return list
}

// near returns values and each of them a bit beside itself: enough to tell that every condition is there.
func near(values []uint64) []uint64 {
	out := slices.Clone(values)
	for _, v := range values {
		out = append(out, v^1, v^1<<4, v|1<<32, ^v)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
