package seccomp

import (
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
	for _, p := range []Profile{Program(), Agent()} {
		if err := p.Validate(); err != nil {
			t.Errorf("%s: %v", p.Name, err)
		}
	}
}

var update = flag.Bool("update", false, "rewrite the goldens")

// TestGolden shows a policy call by call: a change of any decision is a change of a golden.
func TestGolden(t *testing.T) {
	for _, p := range []Profile{Program(), Agent()} {
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
		fmt.Fprintf(&b, "%d\t%s\t%s\t%s\n", c.Number, c.Name, action, r.Reason)
	}
	fmt.Fprintf(&b, "%d-\t-\t%v\tno call\n", next, p.Default)
	return b.String()
}

func TestCompile(t *testing.T) {
	for _, p := range []Profile{Program(), Agent()} {
		filter := compiled(t, p)
		t.Logf("%s: %d instructions", p.Name, len(filter)/instructionSize)
		if n := len(filter) / instructionSize; n > 400 {
			t.Errorf("%s: %d instructions, want at most 400", p.Name, n)
		}
	}
}

// TestCompiledAgrees evaluates both filters over every number and far more arguments than Compile itself does.
func TestCompiledAgrees(t *testing.T) {
	for _, p := range []Profile{Program(), Agent()} {
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
