package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"github.com/soulbox/soulbox/cmd/soulbox/config"
	"github.com/soulbox/soulbox/sandbox"
	"github.com/soulbox/soulbox/store"
)

func instant(n int) time.Time { return time.Unix(1_700_000_000+int64(n), 0).UTC() }

// ended is an execution number n of tenant that ended at second n.
func ended(tenant string, n, output int) *sandbox.Execution {
	return &sandbox.Execution{ID: sandbox.ID(fmt.Sprintf("%s%04d", tenant, n)), Tenant: tenant, Client: "c", RequestID: fmt.Sprint(n), State: sandbox.StateDone,
		CreatedAt: instant(-n), EndedAt: instant(n), Step: sandbox.Step{Stdout: bytes.Repeat([]byte{'x'}, output)}}
}

func putAll(t testing.TB, j *journal, list ...*sandbox.Execution) {
	t.Helper()
	for _, x := range list {
		if err := j.Put(t.Context(), x); err != nil {
			t.Fatal(err)
		}
	}
}

// ids lists a tenant's executions, the oldest first by their ends.
func ids(t testing.TB, j *journal, tenant string) (list []sandbox.ID) {
	t.Helper()
	xs, _, err := j.List(t.Context(), tenant, sandbox.Filter{}, 1000, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range xs {
		list = append(list, x.ID)
	}
	slices.Sort(list)
	return list
}

// recount compares the tally with what the rows say.
func recount(t testing.TB, j *journal) {
	t.Helper()
	want := map[string]usage{}
	err := j.executions.Each(context.Background(), store.Query{AllTenants: true}, func(r store.Row[executionRow]) error {
		if u := r.Value.usage(); u != (usage{}) {
			want[r.Key.Tenant] = want[r.Key.Tenant].plus(u)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]usage{}
	for _, tenant := range j.kept.tenants() {
		got[tenant] = j.kept.of(tenant)
	}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(usage{})); d != "" {
		t.Errorf("the tally (-rows +tally):\n%s", d)
	}
}

func sweeper(j *journal, rules config.Retention, now time.Time) *retention {
	r := newRetention(j, rules, slog.New(slog.DiscardHandler))
	r.now = func() time.Time { return now }
	return r
}

func TestDue(t *testing.T) {
	for _, c := range []struct {
		name  string
		rules config.Retention
		age   time.Duration
		u     usage
		want  bool
	}{
		{"no rules", config.Retention{}, 1 << 60, usage{1 << 60, 1 << 60}, false},
		{"age", config.Retention{MaxAge: time.Hour}, time.Hour + 1, usage{1, 1}, true},
		{"exactly the age", config.Retention{MaxAge: time.Hour}, time.Hour, usage{1, 1}, false},
		{"count", config.Retention{MaxCount: 2}, 0, usage{3, 1}, true},
		{"exactly the count", config.Retention{MaxCount: 2}, 0, usage{2, 1}, false},
		{"bytes", config.Retention{MaxBytes: 10}, 0, usage{1, 11}, true},
		{"exactly the bytes", config.Retention{MaxBytes: 10}, 0, usage{1, 10}, false},
		{"only output", config.Retention{OutputMaxAge: 1}, 1 << 60, usage{1, 1}, false},
	} {
		if got := due(&c.rules, instant(0), instant(0).Add(c.age), c.u); got != c.want {
			t.Errorf("%s: due = %t, want %t", c.name, got, c.want)
		}
	}
}

func TestSweep(t *testing.T) {
	size := func(j *journal) int64 { return j.kept.of("a").bytes / j.kept.of("a").count }
	for _, c := range []struct {
		name  string
		rules func(*journal) config.Retention
		a, b  int // how many of ten are left
	}{
		{"nothing", func(*journal) config.Retention { return config.Retention{} }, 10, 3},
		{"age", func(*journal) config.Retention { return config.Retention{MaxAge: 6 * time.Second} }, 7, 0},
		{"count", func(*journal) config.Retention { return config.Retention{MaxCount: 4} }, 4, 3},
		{"bytes", func(j *journal) config.Retention { return config.Retention{MaxBytes: 5*size(j) + size(j)/2} }, 5, 3},
		{"whatever is first", func(*journal) config.Retention { return config.Retention{MaxCount: 8, MaxAge: 5 * time.Second} }, 6, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			fs := vfs.NewMem()
			j, s := openJournal(t, fs)
			for _, n := range []int{3, 7, 1, 9, 0, 2, 8, 4, 6, 5} { // not in order
				putAll(t, j, ended("a", n, 10))
			}
			putAll(t, j, ended("b", 0, 10), ended("b", 1, 10), ended("b", 2, 10))
			going := ended("a", 9999, 0)
			going.State = sandbox.StateRunning
			going.EndedAt = time.Time{}
			putAll(t, j, going)
			if err := sweeper(j, c.rules(j), instant(9)).sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
			for tenant, n := range map[string]int{"a": c.a, "b": c.b} {
				var want []sandbox.ID
				for i := range n {
					want = append(want, ended(tenant, map[string]int{"a": 10, "b": 3}[tenant]-n+i, 0).ID)
				}
				if tenant == "a" {
					want = append(want, going.ID)
				}
				if d := cmp.Diff(want, ids(t, j, tenant)); d != "" {
					t.Errorf("left of %s (-want +got):\n%s", tenant, d)
				}
			}
			recount(t, j)
			if _, err := j.ByRequest(t.Context(), "a", "c", "0"); (sandbox.KindOf(err) == sandbox.KindNotFound) != (c.a < 10) {
				t.Errorf("the request id of the oldest: %v", err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			j, _ = openJournal(t, fs)
			recount(t, j)
		})
	}
}

// TestSweepManyBatches forgets more than one batch holds, of rows and of outputs.
func TestSweepManyBatches(t *testing.T) {
	j, _ := openJournal(t, vfs.NewMem())
	const n = 2*sweepRows + 7
	for i := range n {
		putAll(t, j, ended("a", i, 1))
	}
	r := sweeper(j, config.Retention{OutputMaxAge: time.Second}, instant(n+10))
	if err := r.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	recount(t, j)
	if got := len(outputs(t, j)); got != 0 {
		t.Errorf("%d executions have output, want none", got)
	}
	r.set(config.Retention{MaxCount: 3})
	if err := r.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := j.kept.of("a").count; got != 3 {
		t.Errorf("%d executions left, want 3", got)
	}
	recount(t, j)
}

// outputs lists who is in the index of those with output.
func outputs(t *testing.T, j *journal) (list []string) {
	t.Helper()
	err := j.executions.Entries(t.Context(), store.Query{AllTenants: true, Index: byOutput}, func(k store.Key, _ []byte) (bool, error) {
		list = append(list, k.ID)
		return true, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestOutputExpires(t *testing.T) {
	j, _ := openJournal(t, vfs.NewMem())
	old, young := fullExecution(), fullExecution()
	old.OutputsExpired, young.OutputsExpired = false, false
	young.ID, young.RequestID, young.EndedAt = "iyoung", "2", old.EndedAt.Add(time.Hour)
	silent := ended("default", 0, 0)
	putAll(t, j, old, young, silent)
	if err := sweeper(j, config.Retention{OutputMaxAge: time.Minute}, old.EndedAt.Add(2*time.Minute)).sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := *fullExecution()
	want.OutputsExpired, want.Stdout, want.Stderr, want.Outputs = true, nil, nil, nil
	compile := *want.Compile
	compile.Stdout, compile.Stderr = nil, nil
	want.Compile = &compile
	for _, w := range []*sandbox.Execution{&want, young, silent} {
		got, err := j.Get(t.Context(), w.Tenant, w.ID)
		if d := cmp.Diff(w, got); err != nil || d != "" {
			t.Errorf("%s: %v (-want +got):\n%s", w.ID, err, d)
		}
	}
	if got := outputs(t, j); !slices.Equal(got, []string{"iyoung"}) {
		t.Errorf("with output: %v, want the young one", got)
	}
	recount(t, j)
}

// TestOutputIsPacked: output takes less room on disk, and a page of a listing is bounded by what it takes in memory.
func TestOutputIsPacked(t *testing.T) {
	j, _ := openJournal(t, vfs.NewMem())
	const n = 8 << 20
	for i := range 6 {
		putAll(t, j, ended("a", i, n))
	}
	if u := j.kept.of("a"); u.bytes > n/10 {
		t.Errorf("6 times %d equal bytes take %d, want few", n, u.bytes)
	}
	page, next, err := j.List(t.Context(), "a", sandbox.Filter{}, 100, "")
	if err != nil || len(page) != 4 || next == "" {
		t.Errorf("a page has %d executions, next %q, %v; want 32 MiB of output on it, and another page", len(page), next, err)
	}
	if len(page) > 0 && !bytes.Equal(page[0].Stdout, bytes.Repeat([]byte{'x'}, n)) {
		t.Error("the output differs")
	}
	putAll(t, j, ended("b", 0, packAbove), ended("b", 1, packAbove+1))
	for _, id := range []sandbox.ID{"b0000", "b0001"} {
		if x, err := j.Get(t.Context(), "b", id); err != nil || len(x.Stdout) < packAbove {
			t.Errorf("output of %s: %d bytes, %v", id, len(x.Stdout), err)
		}
	}
}

// TestOldRecords: what was written before there were packed outputs and an order of ends is read, counted and forgotten.
func TestOldRecords(t *testing.T) {
	fs := vfs.NewMem()
	s, err := store.Open("/store", store.Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	old, err := store.NewTable(s, "executions", store.JSON[*executionRecord](),
		store.Index[*executionRecord]{Name: byNewest, Entry: func(_ store.Key, r *executionRecord) (store.Entry, bool) {
			return store.Entry{Parts: [][]byte{store.NewestFirst(r.CreatedAt)}, Note: append([]byte{byte(r.State)}, r.Language...)}, true
		}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		x := ended("a", i, 3000)
		if err := old.Put(t.Context(), store.Key{Tenant: "a", ID: string(x.ID)}, recordExecution(x)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	j, _ := openJournal(t, fs)
	recount(t, j)
	if got := j.kept.of("a"); got.count != 5 || got.bytes < 5*3000 {
		t.Errorf("counted %+v, want 5 with their output", got)
	}
	if x, err := j.Get(t.Context(), "a", "a0004"); err != nil || !cmp.Equal(x, ended("a", 4, 3000)) {
		t.Errorf("an old record: %v\n%s", err, cmp.Diff(ended("a", 4, 3000), x))
	}
	if err := sweeper(j, config.Retention{MaxCount: 3, OutputMaxAge: 2 * time.Second}, instant(6)).sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]sandbox.ID{"a0002", "a0003", "a0004"}, ids(t, j, "a")); d != "" {
		t.Errorf("left (-want +got):\n%s", d)
	}
	if got := outputs(t, j); !slices.Equal(got, []string{"a0004"}) {
		t.Errorf("with output: %v, want the youngest", got)
	}
	recount(t, j)
}

// TestRetentionCrash sweeps on a file system that crashes at random moments: what is left is whole and rightly counted,
// the youngest are never lost, and the next sweep ends what was begun.
func TestRetentionCrash(t *testing.T) {
	for seed := range uint64(6) {
		rng := rand.New(rand.NewPCG(seed, 2))
		fs := vfs.NewCrashableMem()
		j, _ := openJournal(t, fs)
		rules := config.Retention{MaxCount: 20, OutputMaxAge: 10 * time.Second}
		for i := range 120 {
			putAll(t, j, ended("a", i, rng.IntN(2000)))
			if rng.IntN(20) == 0 {
				if err := sweeper(j, rules, instant(i)).sweep(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if rng.IntN(12) != 0 {
				continue
			}
			after, _ := openJournal(t, fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: int(seed%3) * 50, RNG: rng}))
			recount(t, after)
			if err := sweeper(after, rules, instant(i)).sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
			var want []sandbox.ID
			for k := max(0, i-19); k <= i; k++ {
				want = append(want, ended("a", k, 0).ID)
			}
			if d := cmp.Diff(want, ids(t, after, "a")); d != "" {
				t.Fatalf("after a crash at %d (-want +got):\n%s", i, d)
			}
			recount(t, after)
		}
	}
}

// told is a log that says when something was forgotten.
type told struct {
	slog.Handler
	forgot chan struct{}
}

func (h told) Enabled(context.Context, slog.Level) bool { return true }

func (h told) Handle(context.Context, slog.Record) error {
	h.forgot <- struct{}{}
	return nil
}

// TestRetentionRuns: what is too many goes as it comes, and new rules count at once.
func TestRetentionRuns(t *testing.T) {
	j, _ := openJournal(t, vfs.NewMem())
	h := told{slog.DiscardHandler, make(chan struct{}, 100)}
	r := newRetention(j, config.Retention{MaxCount: 2}, slog.New(h))
	stop := runUntil(t.Context(), r.run)
	putAll(t, j, ended("a", 0, 0), ended("a", 1, 0))
	putAll(t, j, ended("a", 2, 0))
	<-h.forgot
	r.set(config.Retention{MaxAge: time.Second})
	<-h.forgot
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if got := ids(t, j, "a"); len(got) != 0 {
		t.Errorf("left: %v, want none", got)
	}
	recount(t, j)
}
