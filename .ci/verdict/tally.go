package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// event is one line of `go test -json`; see `go doc test2json`.
type event struct {
	Action      string
	Package     string
	ImportPath  string // of build-output and build-fail, in place of Package
	Test        string
	Elapsed     float64 // seconds
	Output      string
	FailedBuild string
}

// test names one test of one package.
type test struct{ pkg, name string }

func (t test) String() string { return t.pkg + " " + t.name }

// tally counts the tests of a run and prints what people want to see of it: a line for each package, and everything
// that a failed test printed.
type tally struct {
	out            io.Writer
	passed, failed int
	skipped        []test
	running        map[string]bool     // packages that have not ended
	ran            map[string]int      // tests of a package
	output         map[test][]string   // what was printed and is not yet known to be wanted
	build          map[string][]string // what the compiler said
	failures       map[string]bool     // packages with a failed test
}

func newTally(out io.Writer) *tally {
	return &tally{out: out, running: map[string]bool{}, ran: map[string]int{}, output: map[test][]string{},
		build: map[string][]string{}, failures: map[string]bool{}}
}

func (t *tally) line() string {
	s := fmt.Sprintf("%d passed, %d failed", t.passed, t.failed)
	if len(t.skipped) > 0 {
		s += fmt.Sprintf(", %d skipped", len(t.skipped))
	}
	return s
}

// read takes events to the end of r. Lines that are no events are passed on: the go command prints some.
func (t *tally) read(r io.Reader) error {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil || e.Action == "" {
				fmt.Fprintf(t.out, "%s\n", strings.TrimRight(string(line), "\n"))
			} else {
				t.add(e)
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("read test events: %w", err)
		}
	}
	for _, pkg := range slices.Sorted(maps.Keys(t.running)) {
		if !t.failures[pkg] {
			t.failed++
		}
		fmt.Fprintf(t.out, "FAIL %s: its tests did not end\n", pkg)
		t.print(pkg)
	}
	return nil
}

func (t *tally) add(e event) {
	id := test{e.Package, e.Test}
	switch e.Action {
	case "start":
		t.running[e.Package] = true
	case "build-output":
		t.build[e.ImportPath] = append(t.build[e.ImportPath], e.Output)
	case "output":
		t.output[id] = append(t.output[id], e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			t.endPackage(e)
		} else {
			t.endTest(e, id)
		}
	}
}

func (t *tally) endTest(e event, id test) {
	t.ran[e.Package]++
	switch e.Action {
	case "pass":
		t.passed++
		delete(t.output, id)
	case "skip":
		t.skipped = append(t.skipped, id)
		delete(t.output, id)
	case "fail":
		t.failed++
		t.failures[e.Package] = true
		fmt.Fprintf(t.out, "FAIL %s (%.2f s)\n%s", id, e.Elapsed, strings.Join(t.output[id], ""))
		delete(t.output, id)
	}
}

func (t *tally) endPackage(e event) {
	delete(t.running, e.Package)
	switch {
	case e.Action == "fail":
		// A package fails without a failed test when it does not compile, panics or runs out of time.
		if !t.failures[e.Package] {
			t.failed++
		}
		fmt.Fprintf(t.out, "FAIL %s (%.1f s)\n%s", e.Package, e.Elapsed, strings.Join(t.build[e.FailedBuild], ""))
		if !t.failures[e.Package] {
			t.print(e.Package)
		}
	case t.ran[e.Package] > 0:
		fmt.Fprintf(t.out, "ok   %s (%.1f s, %d tests)\n", e.Package, e.Elapsed, t.ran[e.Package])
	}
	delete(t.output, test{e.Package, ""})
}

// print shows all that tests of the package printed which did not end, and the package itself.
func (t *tally) print(pkg string) {
	for id, lines := range t.output {
		if id.pkg == pkg {
			fmt.Fprint(t.out, strings.Join(lines, ""))
		}
	}
}
