package seccomp

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestProfilesAreWhole(t *testing.T) {
	for _, p := range []Profile{Program(), Session(), Agent()} {
		if err := p.Validate(); err != nil {
			t.Errorf("%s: %v", p.Name, err)
		}
	}
}

var update = flag.Bool("update", false, "rewrite the goldens")

// TestGolden shows a policy call by call: a change of any decision is a change of a golden.
func TestGolden(t *testing.T) {
	for _, p := range []Profile{Program(), Session(), Agent()} {
		for _, arch := range []string{"amd64", "arm64"} {
			name := "testdata/" + p.Name + "." + arch + ".golden"
			got := describe(t, p, arch)
			if *update {
				if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("%s differs (-want +got); -update rewrites it:\n%s", name, diff)
			}
		}
	}
}

// describe lists every number from 0 to the last that has a name, runs of others as one line.
func describe(t *testing.T, p Profile, arch string) string {
	t.Helper()
	calls, err := Calls(arch)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	next := uint32(0)
	for _, c := range calls {
		if next < c.Number {
			fmt.Fprintf(&b, "%d-%d\t-\t%v\tno call\n", next, c.Number-1, p.Default)
		}
		next = c.Number + 1
		r, ok := p.Rule(c.Name)
		if !ok {
			t.Fatalf("profile %s: %s has no rule", p.Name, c.Name)
		}
		action := r.Action.String()
		for i, m := range r.When {
			if i == 0 {
				action += fmt.Sprintf(", %v when", r.Then)
			} else {
				action += " or"
			}
			for _, cond := range m {
				action += fmt.Sprintf(" arg%d&%#x=%#x", cond.Arg, cond.Mask, cond.Value)
			}
		}
		for i, m := range r.Except {
			if i == 0 {
				action += fmt.Sprintf(", %v when", r.Answer)
			} else {
				action += " or"
			}
			for _, cond := range m {
				action += fmt.Sprintf(" arg%d&%#x=%#x", cond.Arg, cond.Mask, cond.Value)
			}
		}
		fmt.Fprintf(&b, "%d\t%s\t%s\t%s\n", c.Number, c.Name, action, r.Reason)
	}
	fmt.Fprintf(&b, "%d-\t-\t%v\tno call\n", next, p.Default)
	return b.String()
}

func TestCompile(t *testing.T) {
	for _, p := range []Profile{Program(), Session(), Agent()} {
		filter := compiled(t, p)
		t.Logf("%s: %d instructions", p.Name, len(filter)/instructionSize)
		if n := len(filter) / instructionSize; n > 400 {
			t.Errorf("%s: %d instructions, want at most 400", p.Name, n)
		}
	}
}

// TestCompiledAgrees evaluates both filters over every number and far more arguments than Compile itself does.
func TestCompiledAgrees(t *testing.T) {
	for _, p := range []Profile{Program(), Session(), Agent()} {
		e, err := newEvaluator(compiled(t, p))
		if err != nil {
			t.Fatal(err)
		}
		a, err := findArch(runtime.GOARCH)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for d, want := range p.cases(a, farAround) {
			n++
			if got, err := e.run(d); err != nil || got != want {
				t.Fatalf("%s: Evaluate(%+v) = %v, %v; want %v", p.Name, d, got, err, want)
			}
			if decided, err := p.Decide(runtime.GOARCH, d); n%16 == 0 && (err != nil || decided != want) {
				t.Fatalf("%s: Decide(%+v) = %v, %v; want %v", p.Name, d, decided, err, want)
			}
		}
		t.Logf("%s: %d calls evaluated", p.Name, n)
	}
}

// farAround returns values, every single bit flipped in each, upper halves set, and the small numbers.
func farAround(values []uint64) []uint64 {
	out := slices.Clone(values)
	for n := range uint64(24) {
		out = append(out, n)
	}
	for _, v := range values {
		out = append(out, ^v, v|0xffffffff<<32)
		for bit := range 64 {
			if len(values) == 1 || bit%8 == 0 {
				out = append(out, v^1<<bit)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// compiled returns p's filter for this machine.
func compiled(t *testing.T, p Profile) []byte {
	t.Helper()
	filter, err := Compile(p, runtime.GOARCH)
	need(t, err)
	return filter
}

// TestAgentAllowsWhatProgramAllows: a program runs under both filters.
func TestAgentAllowsWhatProgramAllows(t *testing.T) {
	a, err := findArch("amd64")
	if err != nil {
		t.Fatal(err)
	}
	agent := Agent()
	for d, action := range Program().cases(a, near) {
		if action != Allow {
			continue
		}
		if got, err := agent.Decide("amd64", d); err != nil || got != Allow {
			t.Fatalf("agent: call %d with %#x = %v, %v; program allows it", d.Number, d.Args, got, err)
		}
	}
}

func TestValidateReports(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Profile)
		want   string
	}{
		"second rule":    {func(p *Profile) { p.Rules = append(p.Rules, allow("again", "read")) }, "read has two rules"},
		"no rule":        {func(p *Profile) { p.Rules = p.Rules[1:] }, "write has no rule"},
		"unknown name":   {func(p *Profile) { p.Rules = append(p.Rules, allow("typo", "raed")) }, "no architecture has a call raed"},
		"no reason":      {func(p *Profile) { p.Rules[0].Reason = "" }, `the rule of "read" lacks`},
		"idle condition": {func(p *Profile) { p.Rules[0].When, p.Rules[0].Then = oneOf(0, 1), Allow }, "conditions of read change nothing"},
		"never holds":    {func(p *Profile) { p.Rules[0].When = []Match{{{0, 1, 2}}} }, "can never show"},
		"seventh":        {func(p *Profile) { p.Rules[0].When = []Match{{{6, 1, 1}}} }, "no argument 6"},
		"twice":          {func(p *Profile) { p.Rules[0].When = []Match{{{0, 1, 1}, {0, 2, 2}}} }, "stands twice"},
		"empty match":    {func(p *Profile) { p.Rules[0].When = []Match{{}} }, "without conditions"},
	} {
		p := Program()
		test.change(&p)
		if err := p.Validate(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: Validate() = %v, want an error with %q", name, err, test.want)
		}
	}
}

// TestVerifyFinds proves that a filter for one profile does not pass for another's.
func TestVerifyFinds(t *testing.T) {
	if err := Agent().verify(runtime.GOARCH, compiled(t, Program())); err == nil {
		t.Error("verify took the program's filter for the agent's")
	}
}

func TestByName(t *testing.T) {
	for name, want := range map[string]bool{"program": true, "agent": true, "session": true, "": false} {
		if p, ok := ByName(name); ok != want || ok && p.Name != name {
			t.Errorf("ByName(%q) = %q, %v; want %v", name, p.Name, ok, want)
		}
	}
}

func TestUnknownArchitecture(t *testing.T) {
	if _, err := Program().Decide("sparc", Data{}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Decide on sparc: %v, want ErrUnsupported", err)
	}
	if _, err := Compile(Program(), "sparc"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Compile for sparc: %v, want ErrUnsupported", err)
	}
}
