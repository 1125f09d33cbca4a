package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestLoadCounts(t *testing.T) {
	programs := Mixed()
	busy := 0
	d := &daemon{answer: func(in request) (Execution, int) {
		switch x := expected(programs, in); {
		case busy < 3:
			busy++
			return Execution{}, http.StatusTooManyRequests
		case in.Code == programs[0].Code: // right verdict, wrong output
			x.Stdout = "bye\n"
			return x, http.StatusOK
		case x.Verdict == "VERDICT_SIGNALLED": // wrong verdict
			x.Verdict = "VERDICT_RUNTIME_ERROR"
			return x, http.StatusOK
		case x.Verdict == "VERDICT_TIME_LIMIT": // no answer
			return Execution{}, http.StatusInternalServerError
		default:
			return x, http.StatusOK
		}
	}}
	n := 4 * len(programs)
	got := Load(t.Context(), serve(t, d), LoadOptions{N: n, Concurrency: 5})
	if got.Right != n-12 || len(got.Wrong) != 8 || len(got.Failed) != 4 || got.Busy != 3 {
		t.Errorf("Load of %d = %d right, %d wrong, %d failed, %d busy; want %d, 8, 4, 3\n%s", n, got.Right, len(got.Wrong), len(got.Failed), got.Busy,
			n-12, strings.Join(got.Wrong, "\n"))
	}
	if len(d.requests) != n+3 || d.most > 5 {
		t.Errorf("the daemon saw %d requests, %d at once; want %d, at most 5", len(d.requests), d.most, n+3)
	}
	if len(got.Latency.Samples) != n-4 || got.Latency.Median <= 0 || got.Wall <= 0 {
		t.Errorf("Load measured %d latencies, median %v, wall %v; want %d above 0", len(got.Latency.Samples), got.Latency.Median, got.Wall, n-4)
	}
}

func TestLoadEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	d := &daemon{answer: func(request) (Execution, int) {
		cancel(errors.New("enough"))
		return Execution{}, http.StatusTooManyRequests
	}}
	got := Load(ctx, serve(t, d), LoadOptions{N: 6, Concurrency: 2})
	if len(got.Failed) != 6 {
		t.Errorf("Load = %+v, want 6 failed", got)
	}
}

func TestLoadOrderFollowsTheSeed(t *testing.T) {
	order := func(seed uint64) []request {
		d := &daemon{answer: func(in request) (Execution, int) { return expected(Mixed(), in), http.StatusOK }}
		Load(t.Context(), serve(t, d), LoadOptions{N: 30, Concurrency: 1, Seed: seed})
		return d.requests
	}
	if diff := cmp.Diff(order(1), order(1)); diff != "" {
		t.Errorf("two loads of seed 1 differ:\n%s", diff)
	}
	if cmp.Equal(order(1), order(2)) {
		t.Error("loads of seeds 1 and 2 have the same order")
	}
}

// shell is a program that any host can run.
func shell(language, hostCode string) Program {
	return Program{Name: "hello", Language: language, File: "main.sh", Code: "inside", Verdict: verdictOK, Stdout: "hello\n",
		Host: Host{Code: hostCode, Steps: [][]string{{"true"}, {"sh", "main.sh"}}}}
}

func TestCold(t *testing.T) {
	programs := []Program{shell("one", "echo hello"), shell("two", "cat > f; echo hello")}
	d := &daemon{answer: func(in request) (Execution, int) { return expected(programs, in), http.StatusOK }}
	got, err := Cold(t.Context(), serve(t, d), ColdOptions{Programs: programs, Runs: 3})
	if err != nil {
		t.Fatal(err)
	}
	if len(d.requests) != 8 {
		t.Errorf("Cold made %d requests, want 3 and one that does not count for each of 2 programs", len(d.requests))
	}
	for i, r := range got {
		if r.Language != programs[i].Language || len(r.Sandbox.Samples) != 3 || len(r.Bare.Samples) != 3 ||
			math.Abs(r.Ratio-r.Sandbox.Median/r.Bare.Median) > 1e-9 {
			t.Errorf("Cold: result %d = %+v, want 3 samples on each side and their ratio", i, r)
		}
	}
}

func TestColdReportsErrors(t *testing.T) {
	good := func(in request) (Execution, int) {
		return Execution{Verdict: verdictOK, Stdout: "hello\n"}, http.StatusOK
	}
	bad := func(in request) (Execution, int) {
		return Execution{Verdict: "VERDICT_INTERNAL", Stderr: "broken"}, http.StatusOK
	}
	refused := func(in request) (Execution, int) { return Execution{}, http.StatusForbidden }
	missing := shell("x", "")
	missing.Host.Steps = [][]string{{"no-such-command"}}
	for name, test := range map[string]struct {
		answer  func(request) (Execution, int)
		program Program
		want    string
	}{
		"verdict":      {bad, shell("x", "echo hello"), "got VERDICT_INTERNAL (exit 0, limits []), want VERDICT_OK: broken"},
		"refusal":      {refused, shell("x", "echo hello"), "403 Forbidden"},
		"host output":  {good, shell("x", "echo other"), `on the host printed "other\n"`},
		"host failure": {good, shell("x", "echo why >&2; exit 3"), "exit status 3: why"},
		"host missing": {good, missing, "find no-such-command"},
	} {
		_, err := Cold(t.Context(), serve(t, &daemon{answer: test.answer}), ColdOptions{Programs: []Program{test.program}, Runs: 1})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: Cold: %v, want an error with %q", name, err, test.want)
		}
	}
}

// TestHelloOnTheHost runs the comparison programs whose interpreter is here: what does not run bare measures nothing.
func TestHelloOnTheHost(t *testing.T) {
	host, err := newBare()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := host.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, p := range Hello() {
		t.Run(p.Language, func(t *testing.T) {
			switch _, err := host.run(t.Context(), p); {
			case errors.Is(err, exec.ErrNotFound) && os.Getenv("SOULBOX_CI") == "":
				t.Skip(err)
			case err != nil:
				t.Error(err)
			}
		})
	}
}

func TestMixedNamesEveryProgramOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range Mixed() {
		key := p.Language + " " + p.Name
		if seen[key] || p.Verdict == "" || p.File == "" || (p.Verdict == verdictOK) != (p.Stdout != "") {
			t.Errorf("program %q is there twice or incomplete: %+v", key, p)
		}
		seen[key] = true
	}
}

func TestSummarize(t *testing.T) {
	var durations []time.Duration
	for n := range 101 {
		durations = append(durations, time.Duration(100-n)*time.Millisecond)
	}
	got := summarize(durations)
	if math.Abs(got.Median-50) > 0.5 || math.Abs(got.P90-90) > 1 || math.Abs(got.P99-99) > 1 || got.Samples[0] != 100 {
		t.Errorf("summarize(100 to 0 ms) = %v, %v, %v, first %v; want about 50, 90, 99, and 100", got.Median, got.P90, got.P99, got.Samples[0])
	}
	if got := summarize(nil); got.Median != 0 {
		t.Errorf("summarize(nil).Median = %v, want 0", got.Median)
	}
}

func TestReport(t *testing.T) {
	r := Report{
		Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), CPUs: 2, Arch: "amd64",
		Cold: []ColdResult{{Language: "python", Sandbox: Times{Median: 30, P90: 40, Samples: []float64{30}}, Bare: Times{Median: 10, P90: 11}, Ratio: 3}},
		Load: &LoadResult{Executions: 4, Right: 3, Wrong: []string{"a\nb"}, Failed: []string{}, Verdicts: map[string]int{verdictOK: 4}, Wall: 2},
	}
	var b bytes.Buffer
	if err := r.WriteMarkdown(&b); err != nil {
		t.Fatal(err)
	}
	want := `2026-01-02 03:04:05, 2 CPUs, amd64

| language | runs | sandbox p50 ms | p90 | bare p50 ms | p90 | ratio |
|---|---:|---:|---:|---:|---:|---:|
| python | 1 | 30.0 | 40.0 | 10.0 | 11.0 | 3.00 |

4 executions in 2.0 s (2.0/s): 3 right, 1 wrong, 0 failed, 0 refusals retried; p50 0 ms, p90 0, p99 0

| verdict | count |
|---|---:|
| VERDICT_OK | 4 |
- a b
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("WriteMarkdown (-want +got):\n%s", diff)
	}
	path := filepath.Join(t.TempDir(), "report.json")
	if err := r.Save(path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, back); diff != "" {
		t.Errorf("Save and read (-want +got):\n%s", diff)
	}
}
