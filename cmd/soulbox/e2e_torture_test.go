package main_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/soulbox/soulbox/bench"
)

// tortureSize is how much TestTorture does: the least by default, all of it under .ci/torture.
type tortureSize struct {
	programs, sandboxes int
	seed                uint64
	report              string // file for the figures; empty: none
}

func tortureSizeOf(t *testing.T) tortureSize {
	t.Helper()
	return tortureSize{programs: int(numberOf(t, "SOULBOX_TORTURE_PROGRAMS", 100)), sandboxes: int(numberOf(t, "SOULBOX_TORTURE_SANDBOXES", 25)),
		seed: seedOf(t), report: os.Getenv("SOULBOX_TORTURE_REPORT")}
}

// numberOf is the value of a variable of the environment.
func numberOf(t *testing.T, name string, standard uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return standard
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// seedOf is what a load is drawn from: another one each time, or SOULBOX_SEED.
func seedOf(t *testing.T) uint64 {
	t.Helper()
	return numberOf(t, "SOULBOX_SEED", uint64(time.Now().UnixNano()))
}

// torture is a load of sandboxes, and how it went.
type torture struct {
	d *daemon

	mu    sync.Mutex
	done  map[string]int // of each kind of step
	took  map[string][]time.Duration
	wrong []string
}

func newTorture(d *daemon) *torture {
	return &torture{d: d, done: map[string]int{}, took: map[string][]time.Duration{}}
}

// count notes that a step was done, and what was wrong about it.
func (o *torture) count(kind string, since time.Time, wrong string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.done[kind]++
	o.took[kind] = append(o.took[kind], time.Since(since))
	if wrong != "" {
		o.wrong = append(o.wrong, kind+": "+wrong)
	}
}

// ask sends a request that must be answered with 200, again while there is no room, and decodes the answer into v.
func (o *torture) ask(ctx context.Context, kind, method, path string, body, v any) bool {
	since := time.Now()
	for {
		a, err := o.d.try(ctx, method, path, body)
		switch {
		case err != nil:
			o.count(kind, since, err.Error())
			return false
		case a.Status == http.StatusTooManyRequests:
			if !rest(ctx, 100*time.Millisecond) {
				return false
			}
			continue
		case a.Status != http.StatusOK:
			o.count(kind, since, fmt.Sprintf("%d %s", a.Status, a.Body))
			return false
		}
		if v != nil {
			err = json.Unmarshal(a.Body, v)
		}
		o.count(kind, since, errorText(err))
		return err == nil
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// rest waits for d; false: ctx has ended.
func rest(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// sandbox leads one sandbox through its life.
func (o *torture) sandbox(ctx context.Context, rnd *rand.Rand) {
	var s box
	if !o.ask(ctx, "create", http.MethodPost, "/v1/sandboxes", object{"timeout": "600s", "limits": object{"memoryBytes": 128 << 20, "processes": 64}}, &s) {
		return
	}
	path := "/v1/sandboxes/" + s.ID
	for range 3 + rnd.IntN(4) {
		o.step(ctx, path, rnd)
	}
	if rnd.IntN(5) == 0 {
		if o.ask(ctx, "pause", http.MethodPost, path+":pause", object{}, nil) && rnd.IntN(2) == 0 {
			o.ask(ctx, "resume", http.MethodPost, path+":resume", object{}, nil)
		}
	}
	if rnd.IntN(5) == 0 {
		o.ask(ctx, "run out of time", http.MethodPost, path+":setTimeout", object{"timeout": "0.001s"}, nil)
	}
	o.ask(ctx, "delete", http.MethodDelete, path, nil, nil)
}

// step does one thing in a sandbox and looks at what came of it.
func (o *torture) step(ctx context.Context, path string, rnd *rand.Rand) {
	var x ended
	switch n := rnd.IntN(9); n {
	case 0:
		if o.ask(ctx, "program", http.MethodPost, path+":exec", object{"shell": "echo $((6 * 7)); exit 3"}, &x) && (x.Stdout != "42\n" || x.ExitCode != 3) {
			o.count("program", time.Now(), fmt.Sprintf("%+v", x))
		}
	case 1:
		o.file(ctx, path, rnd)
	case 2:
		o.ask(ctx, "detached program", http.MethodPost, path+":exec", object{"shell": "(setsid sleep 1000 &); yes | head -c 500000; sleep 1000", "detach": true}, nil)
	case 3:
		if o.ask(ctx, "program beyond its time", http.MethodPost, path+":exec", object{"shell": "sleep 1000 & sleep 1000", "timeout": "0.1s"}, &x) && !x.TimedOut {
			o.count("program beyond its time", time.Now(), fmt.Sprintf("%+v", x))
		}
	case 4:
		if o.ask(ctx, "much output", http.MethodPost, path+":exec", object{"shell": "head -c 800000 /dev/zero | tr '\\0' x"}, &x) && len(x.Stdout) != 800_000 {
			o.count("much output", time.Now(), fmt.Sprintf("%d bytes", len(x.Stdout)))
		}
	case 5:
		o.ask(ctx, "memory hog", http.MethodPost, path+":exec", object{"args": []string{"python3", "-c", "b = []\nwhile True: b.append(bytearray(1 << 22))"}, "timeout": "30s"}, nil)
	case 6:
		o.ask(ctx, "fork bomb", http.MethodPost, path+":exec", object{"args": []string{"python3", "-c", "import os\nwhile True:\n  try: os.fork()\n  except OSError: pass"}, "timeout": "0.3s"}, nil)
		// Its processes hold every place there is: the sandbox's next program is theirs to end.
		o.ask(ctx, "end of a fork bomb", http.MethodPost, path+":pause", object{}, nil)
		o.ask(ctx, "end of a fork bomb", http.MethodPost, path+":resume", object{}, nil)
	case 7:
		o.left(ctx, path)
	case 8:
		o.stats(ctx, path)
	}
}

// file writes a file and reads it back.
func (o *torture) file(ctx context.Context, path string, rnd *rand.Rand) {
	size := 1 + rnd.IntN(2<<20)
	content := bytes.Repeat([]byte{byte(rnd.IntN(256)), byte(rnd.IntN(256)), byte(rnd.IntN(256))}, size/3+1)
	sum := sha256.Sum256(content)
	at := inPath(path, "", fmt.Sprint("f", rnd.IntN(1000)))
	if !o.ask(ctx, "write a file", http.MethodPut, at, content, nil) {
		return
	}
	since := time.Now()
	a, err := o.d.try(ctx, http.MethodGet, at, nil)
	switch {
	case err != nil:
		o.count("read a file", since, err.Error())
	case a.Status != http.StatusOK || sha256.Sum256(a.Body) != sum:
		o.count("read a file", since, fmt.Sprintf("%d, %d bytes of %d, sum %s", a.Status, len(a.Body), len(content), hex.EncodeToString(sum[:4])))
	default:
		o.count("read a file", since, "")
	}
}

// left goes away from a program that runs.
func (o *torture) left(ctx context.Context, path string) {
	since := time.Now()
	ctx, leave := context.WithTimeout(ctx, 50*time.Millisecond)
	defer leave()
	if a, err := o.d.try(ctx, http.MethodPost, path+":exec", object{"shell": "sleep 1000"}); err == nil && a.Status != http.StatusTooManyRequests {
		o.count("left program", since, fmt.Sprintf("%d %s", a.Status, a.Body))
		return
	}
	o.count("left program", since, "")
}

// stats reads a few lines of a stream and leaves it.
func (o *torture) stats(ctx context.Context, path string) {
	since := time.Now()
	ctx, leave := context.WithTimeout(ctx, answerWait)
	defer leave()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, o.d.url+path+"/stats:stream?interval=0.1s", nil)
	if err != nil {
		o.count("stream", since, err.Error())
		return
	}
	r.Header.Set("X-API-Key", testKey)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		o.count("stream", since, err.Error())
		return
	}
	defer res.Body.Close()
	_, err = io.ReadFull(res.Body, make([]byte, 300))
	o.count("stream", since, errorText(err))
}

// load leads n sandboxes through their lives, eight at a time.
func (o *torture) load(ctx context.Context, n int, seed uint64) {
	tokens := make(chan struct{}, 8)
	var wg sync.WaitGroup
	for i := range n {
		tokens <- struct{}{}
		wg.Go(func() {
			defer func() { <-tokens }()
			o.sandbox(ctx, rand.New(rand.NewPCG(seed, uint64(i))))
		})
	}
	wg.Wait()
	http.DefaultClient.CloseIdleConnections()
}

// resting returns the counts once two agree and nothing is held.
func (d *daemon) resting(t *testing.T) leftovers {
	t.Helper()
	var now leftovers
	if !poll(d.exited, stopWait, func() bool {
		last := now
		now = d.leftovers(t)
		return now == last && now.Directories == 0 && now.Cgroups == 0 && now.Locks == 0
	}) {
		t.Fatalf("not at rest: %+v", now)
	}
	return now
}

// TestTorture runs mixed programs and sandboxes with files, streams, pauses and kills against one daemon, and counts
// everything before and after. .ci/torture is this test with more of each.
func TestTorture(t *testing.T) {
	size := tortureSizeOf(t)
	t.Logf("SOULBOX_SEED=%d, %d programs, %d sandboxes", size.seed, size.programs, size.sandboxes)
	d := startDaemon(t)
	ctx := t.Context()
	client := &bench.Client{URL: d.url, Key: testKey, HTTP: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	begin := func(programs, sandboxes int, seed uint64) (bench.LoadResult, *torture) {
		o := newTorture(d)
		var wg sync.WaitGroup
		wg.Go(func() { o.load(ctx, sandboxes, seed) })
		got := bench.Load(ctx, client, bench.LoadOptions{N: programs, Concurrency: 12, Seed: seed})
		wg.Wait()
		return got, o
	}
	begin(40, 8, size.seed+1)
	before := d.resting(t)
	start := time.Now()
	got, o := begin(size.programs, size.sandboxes, size.seed)
	wall := time.Since(start)
	after := d.wantBorne(t, got, o, before)
	report := tortureReport(size, wall, got, o, before, after)
	t.Log("\n" + report)
	if size.report != "" {
		if err := os.WriteFile(filepath.Clean(size.report), []byte(report), 0o600); err != nil {
			t.Error(err)
		}
	}
}

// wantBorne wants all of a load to have gone as it must, and nothing to be left of it. It returns what there is.
func (d *daemon) wantBorne(t *testing.T, got bench.LoadResult, o *torture, before leftovers) (after leftovers) {
	t.Helper()
	if got.Right != got.Executions {
		t.Errorf("of %d executions %d were right; wrong %v, failed %v", got.Executions, got.Right, got.Wrong, got.Failed)
	}
	for _, wrong := range o.wrong[:min(20, len(o.wrong))] {
		t.Errorf("sandboxes: %s", wrong)
	}
	if !poll(d.exited, stopWait, func() bool {
		after = d.leftovers(t)
		return after.within(before)
	}) {
		t.Errorf("something is left (-before +after):\n%s", cmp.Diff(before, after))
	}
	if n := d.sandboxDirs(t); n > 0 {
		t.Errorf("%d directories of sandboxes are left", n)
	}
	return after
}

// tortureReport returns the figures as Markdown.
func tortureReport(size tortureSize, wall time.Duration, got bench.LoadResult, o *torture, before, after leftovers) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Seed %d: %d programs, 12 at a time, and %d sandboxes, 8 at a time, in %.0f s.\n\n", size.seed, got.Executions, o.done["create"], wall.Seconds())
	fmt.Fprintf(&b, "| Verdict | Programs |\n|---|--:|\n")
	for _, v := range slices.Sorted(maps.Keys(got.Verdicts)) {
		fmt.Fprintf(&b, "| `%s` | %d |\n", v, got.Verdicts[v])
	}
	fmt.Fprintf(&b, "\nOf %d programs %d had the result that they must have.\n\n", got.Executions, got.Right)
	fmt.Fprintf(&b, "| In sandboxes | Times | Median | 99 %% |\n|---|--:|--:|--:|\n")
	for _, kind := range slices.Sorted(maps.Keys(o.done)) {
		took := o.took[kind]
		slices.Sort(took)
		fmt.Fprintf(&b, "| %s | %d | %.0f ms | %.0f ms |\n", kind, o.done[kind], ms(took[len(took)/2]), ms(took[len(took)*99/100]))
	}
	fmt.Fprintf(&b, "\n%d of these were not as they must be.\n\n", len(o.wrong))
	b.WriteString(countsTable(before, after))
	return b.String()
}

// countsTable returns what was held before and after a load as Markdown.
func countsTable(before, after leftovers) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| Held by the daemon and its supervisor | Before | After |\n|---|--:|--:|\n")
	for _, row := range []struct {
		name string
		was  int
		is   int
	}{
		{"processes", before.Processes, after.Processes}, {"mounts", before.Mounts, after.Mounts}, {"descriptors", before.Descriptors, after.Descriptors},
		{"locks of ids", before.Locks, after.Locks}, {"goroutines", before.Goroutines, after.Goroutines},
		{"directories of sandboxes", before.Directories, after.Directories}, {"cgroups", before.Cgroups, after.Cgroups},
	} {
		fmt.Fprintf(&b, "| %s | %d | %d |\n", row.name, row.was, row.is)
	}
	return b.String()
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
