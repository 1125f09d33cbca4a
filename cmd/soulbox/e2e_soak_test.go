package main_test

import (
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/soulbox/soulbox/bench"
)

// soakSize is how long TestSoak takes: a few seconds by default, more under .ci/soak.
type soakSize struct {
	time   time.Duration
	seed   uint64
	report string // directory for the figures; empty: none
}

func soakSizeOf(t *testing.T) soakSize {
	t.Helper()
	long, err := time.ParseDuration(cmp.Or(os.Getenv("SOULBOX_SOAK_TIME"), "8s"))
	if err != nil || long <= 0 {
		t.Fatalf("SOULBOX_SOAK_TIME: %v, %v: want a duration such as 10m", long, err)
	}
	return soakSize{time: long, seed: seedOf(t), report: os.Getenv("SOULBOX_SOAK_REPORT")}
}

const (
	soakPatience  = "300s"
	soakPrograms  = 42 // at once; with the sandboxes, 50
	soakSandboxes = 8
)

// soakMix is programs of all languages and most verdicts on each runtime that the daemon has, with an endless loop in each
// language. Fifty at once on few CPUs are slow, so only those that are to run out of time have little of it.
func soakMix(runtimes []string) (mix []bench.Program) {
	for _, runtime := range runtimes {
		for _, p := range slices.Concat(bench.Mixed(), bench.Loops()) {
			p.Runtime = runtime
			p.Name += ", " + runtime
			if p.Verdict != "VERDICT_TIME_LIMIT" {
				p.Limits = maps.Clone(p.Limits)
				if p.Limits == nil {
					p.Limits = map[string]any{}
				}
				p.Limits["wallTime"] = soakPatience
			}
			mix = append(mix, p)
		}
	}
	return mix
}

// soakSample is what the daemon's process holds at one time.
type soakSample struct {
	at                time.Duration // since the start
	heap, rss         float64       // bytes
	goroutines, files float64
}

// sample reads the daemon's own figures.
func (d *daemon) sample(ctx context.Context) (s soakSample, err error) {
	a, err := d.try(ctx, http.MethodGet, "/metrics", nil)
	if err != nil {
		return s, err
	}
	if a.Status != http.StatusOK {
		return s, fmt.Errorf("GET /metrics: %d %s", a.Status, a.Body)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(string(a.Body)))
	if err != nil {
		return s, fmt.Errorf("read the metrics: %w", err)
	}
	for name, into := range map[string]*float64{"go_memstats_heap_alloc_bytes": &s.heap, "process_resident_memory_bytes": &s.rss,
		"go_goroutines": &s.goroutines, "process_open_fds": &s.files} {
		f := families[name]
		if f == nil || len(f.GetMetric()) != 1 {
			return s, fmt.Errorf("the metrics have no %s", name)
		}
		*into = f.GetMetric()[0].GetGauge().GetValue()
	}
	return s, nil
}

// watch takes a sample every second until ctx ends.
func (d *daemon) watch(ctx context.Context) (samples []soakSample, err error) {
	start := time.Now()
	for rest(ctx, time.Second) {
		s, more := d.sample(ctx)
		if more != nil {
			if ctx.Err() == nil {
				err = errors.Join(err, more)
			}
			continue
		}
		s.at = time.Since(start)
		samples = append(samples, s)
	}
	return samples, err
}

// soaked is how a soak went.
type soaked struct {
	programs      bench.LoadResult
	sandboxes     *torture
	samples       []soakSample
	before, after leftovers
	wall          time.Duration
}

// soak runs programs and sandboxes against d for so long.
func (d *daemon) soak(ctx context.Context, t *testing.T, mix []bench.Program, long time.Duration, seed uint64) *soaked {
	t.Helper()
	client := &bench.Client{URL: d.url, Key: testKey, HTTP: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	s := &soaked{sandboxes: newTorture(d)}
	start := time.Now()
	watched, stop := context.WithCancel(ctx)
	defer stop()
	var watcher, load sync.WaitGroup
	watcher.Go(func() {
		var err error
		if s.samples, err = d.watch(watched); err != nil {
			t.Errorf("the daemon's figures: %v", err)
		}
	})
	for i := range soakSandboxes {
		load.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(i)))
			for time.Since(start) < long {
				s.sandboxes.sandbox(ctx, rnd)
			}
		})
	}
	s.programs = bench.Load(ctx, client, bench.LoadOptions{Programs: mix, N: len(mix), For: long, Concurrency: soakPrograms, Seed: seed})
	load.Wait()
	s.wall = time.Since(start)
	stop()
	watcher.Wait()
	http.DefaultClient.CloseIdleConnections()
	return s
}

// TestSoak keeps a daemon busy with good and hostile programs in all languages, fifty at a time, and with sandboxes that are
// created, used, left and killed. No verdict is wrong, nothing is left afterwards, and the daemon's memory does not grow.
func TestSoak(t *testing.T) {
	size := soakSizeOf(t)
	t.Logf("SOULBOX_SEED=%d, %v", size.seed, size.time)
	d := startDaemon(t, "--max-running", "50", "--retention-max-count", "500")
	mix := soakMix(d.runtimes(t))
	d.soak(t.Context(), t, mix, min(size.time/2, 10*time.Second), size.seed+1)
	before := d.resting(t)
	s := d.soak(t.Context(), t, mix, size.time, size.seed)
	s.before, s.after = before, d.wantBorne(t, s.programs, s.sandboxes, before)
	if was, is, ok := flat(s.samples); !ok {
		t.Errorf("the daemon's heap grew: its least was %.1f MiB in the first half and %.1f MiB in the second", mib(was), mib(is))
	}
	if size.report != "" {
		if err := s.write(size); err != nil {
			t.Error(err)
		}
	}
}

// runtimes lists those that the daemon can run programs with.
func (d *daemon) runtimes(t *testing.T) (names []string) {
	t.Helper()
	for _, r := range decode[struct{ Runtimes []struct{ Name string } }](t, d.get(t, "/v1/system/info")).Runtimes {
		names = append(names, r.Name)
	}
	if len(names) == 0 {
		t.Fatal("the daemon names no runtime")
	}
	return names
}

// growth is how much the heap may seem to grow in a run, in bytes: when its least is taken there is always some garbage.
const growth = 8 << 20

// flat tells whether the heap's least in the second half is what it was in the first. What a collection leaves is what is
// held; garbage comes and goes above it.
func flat(samples []soakSample) (was, is float64, ok bool) {
	if len(samples) < 4 {
		return 0, 0, true // too short to say
	}
	least := func(s []soakSample) float64 {
		return slices.MinFunc(s, func(a, b soakSample) int { return cmp.Compare(a.heap, b.heap) }).heap
	}
	was, is = least(samples[:len(samples)/2]), least(samples[len(samples)/2:])
	return was, is, is <= was*1.25+growth
}

func mib(bytes float64) float64 { return bytes / (1 << 20) }

// write leaves report.md and the samples as memory.csv and counts.csv.
func (s *soaked) write(size soakSize) error {
	memory := [][]string{{"seconds", "heap", "resident"}}
	counts := [][]string{{"seconds", "goroutines", "descriptors"}}
	for _, x := range s.samples {
		at := fmt.Sprintf("%.1f", x.at.Seconds())
		memory = append(memory, []string{at, fmt.Sprintf("%.2f", mib(x.heap)), fmt.Sprintf("%.2f", mib(x.rss))})
		counts = append(counts, []string{at, fmt.Sprint(x.goroutines), fmt.Sprint(x.files)})
	}
	for name, rows := range map[string][][]string{"memory.csv": memory, "counts.csv": counts} {
		f, err := os.Create(filepath.Join(size.report, name))
		if err != nil {
			return err
		}
		if err := errors.Join(csv.NewWriter(f).WriteAll(rows), f.Close()); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(size.report, "report.md"), []byte(s.report(size)), 0o600)
}

// report returns the figures as Markdown.
func (s *soaked) report(size soakSize) string {
	var b strings.Builder
	got := s.programs
	fmt.Fprintf(&b, "Seed %d: %d programs, %d at a time, and %d sandboxes, %d at a time, in %.0f s.\n\n", size.seed, got.Executions, soakPrograms,
		s.sandboxes.done["create"], soakSandboxes, s.wall.Seconds())
	fmt.Fprintf(&b, "| Verdict | Programs |\n|---|--:|\n")
	for _, v := range slices.Sorted(maps.Keys(got.Verdicts)) {
		fmt.Fprintf(&b, "| `%s` | %d |\n", v, got.Verdicts[v])
	}
	steps := 0
	for _, n := range s.sandboxes.done {
		steps += n
	}
	fmt.Fprintf(&b, "\nOf %d programs %d had the result that they must have; of %d steps in sandboxes %d had not.\n\n", got.Executions, got.Right,
		steps, len(s.sandboxes.wrong))
	if was, is, _ := flat(s.samples); was > 0 {
		last := s.samples[len(s.samples)-1]
		fmt.Fprintf(&b, "The daemon's heap at its least: %.1f MiB in the first half, %.1f MiB in the second; resident at the end: %.1f MiB.\n\n",
			mib(was), mib(is), mib(last.rss))
	}
	b.WriteString(countsTable(s.before, s.after))
	return b.String()
}
