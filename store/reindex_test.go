package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"
)

// oldDocs is docs as an older program had it: one index less, and one that is gone by now.
func oldDocs(t testing.TB, s *Store) *Table[doc] {
	t.Helper()
	table, err := NewTable(s, "docs", JSON[doc](),
		Index[doc]{Name: "group", Mode: Last, Entry: func(_ Key, d doc) (Entry, bool) {
			return Entry{Parts: [][]byte{[]byte(d.Group)}}, d.Group != ""
		}},
		Index[doc]{Name: "gone", Entry: func(_ Key, d doc) (Entry, bool) { return Entry{Parts: [][]byte{[]byte(d.Name)}}, true }})
	must(t, err)
	return table
}

func TestReindex(t *testing.T) {
	fs, ctx := vfs.NewMem(), context.Background()
	s := open(t, "/store", Options{FS: fs})
	old := oldDocs(t, s)
	const rows = 2*reindexRows + 10
	for i := range rows {
		must(t, old.Put(ctx, Key{"t", fmt.Sprintf("%04d", i)}, doc{At: time.Unix(int64(i), 0), Group: "g", Name: fmt.Sprint(i)}))
	}
	must(t, old.Put(ctx, Key{"t", "0003"}, doc{Group: "g", Name: "last"}))
	must(t, s.Close())

	s = open(t, "/store", Options{FS: fs})
	table := docs(t, s)
	if n, err := table.Reindex(ctx); err != nil || n != rows {
		t.Fatalf("Reindex = %d, %v, want %d", n, err, rows)
	}
	checkIndexes(t, table)
	if k, _, err := table.Lookup(ctx, "group", "t", []byte("g")); err != nil || k.ID != "0003" {
		t.Errorf("the row put last = %v, %v, want 0003: an entry that was there must stay", k, err)
	}
	must(t, table.Put(ctx, Key{"t", "new"}, doc{Name: "new"}))
	if n, err := table.Reindex(ctx); n != 0 || err != nil {
		t.Errorf("Reindex again = %d, %v, want 0", n, err)
	}
}

// TestReindexWhileWriting: rows that change meanwhile keep what was written last.
func TestReindexWhileWriting(t *testing.T) {
	fs, ctx := vfs.NewMem(), context.Background()
	s := open(t, "/store", Options{FS: fs})
	old := oldDocs(t, s)
	const rows = 300
	for i := range rows {
		must(t, old.Put(ctx, Key{"t", fmt.Sprint(i)}, doc{Name: fmt.Sprint(i)}))
	}
	must(t, s.Close())
	s = open(t, "/store", Options{FS: fs})
	table := docs(t, s)
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range rows {
			var err error
			if k := (Key{"t", fmt.Sprint(i)}); i%2 == 0 {
				err = table.Put(ctx, k, doc{Name: fmt.Sprint(i), Group: "written"})
			} else {
				err = table.Delete(ctx, k)
			}
			if err != nil {
				t.Error(err)
			}
		}
	})
	if _, err := table.Reindex(ctx); err != nil {
		t.Error(err)
	}
	wg.Wait()
	checkIndexes(t, table)
	n := 0
	must(t, table.Each(ctx, Query{AllTenants: true}, func(r Row[doc]) error {
		if n++; r.Value.Group != "written" {
			t.Errorf("row %s lost what was written", r.Key.ID)
		}
		return nil
	}))
	if n != rows/2 {
		t.Errorf("%d rows, want %d", n, rows/2)
	}
}

// TestReindexCrash cuts a reindexing off at random moments; the next one ends it.
func TestReindexCrash(t *testing.T) {
	ctx := context.Background()
	for seed := range uint64(5) {
		rng := rand.New(rand.NewPCG(seed, 1))
		fs := vfs.NewCrashableMem()
		s := open(t, "/state/store", Options{FS: fs})
		old := oldDocs(t, s)
		for i := range 2000 {
			must(t, old.Put(ctx, Key{"t", fmt.Sprint(i)}, doc{Name: fmt.Sprint(i)}))
		}
		must(t, s.Close())
		s = open(t, "/state/store", Options{FS: fs})
		table := docs(t, s)
		// It is cut off where it reads a random row.
		decode, left := table.codec.Decode, 1+rng.IntN(1999)
		var crashed *vfs.MemFS
		table.codec.Decode = func(b []byte) (doc, error) {
			if left--; left < 0 {
				return doc{}, errors.New("cut off")
			}
			if left == 0 {
				crashed = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: int(seed) * 25, RNG: rng})
			}
			return decode(b)
		}
		if _, err := table.Reindex(ctx); err == nil || crashed == nil {
			t.Fatalf("Reindex = %v, want it cut off", err)
		}
		after := open(t, "/state/store", Options{FS: crashed})
		again := docs(t, after)
		if _, err := again.Reindex(ctx); err != nil {
			t.Fatal(err)
		}
		checkIndexes(t, again)
	}
}

func TestEntries(t *testing.T) {
	table := docs(t, memory(t))
	ctx := context.Background()
	for i, tenant := range []string{"a", "a", "a", "b"} {
		must(t, table.Put(ctx, Key{tenant, fmt.Sprint(i)}, doc{At: time.Unix(int64(i), 0), Group: fmt.Sprint("g", i)}))
	}
	for _, c := range []struct {
		name string
		q    Query
		most int
		want []string
	}{
		{"a tenant", Query{Tenant: "a", Index: "newest"}, 9, []string{"a/2 g2", "a/1 g1", "a/0 g0"}},
		{"until told", Query{Tenant: "a", Index: "newest"}, 2, []string{"a/2 g2", "a/1 g1"}},
		{"all", Query{AllTenants: true, Index: "newest"}, 9, []string{"a/2 g2", "a/1 g1", "a/0 g0", "b/3 g3"}},
		{"by note", Query{Tenant: "a", Index: "newest", Keep: func(n []byte) bool { return string(n) == "g1" }}, 9, []string{"a/1 g1"}},
	} {
		var got []string
		err := table.Entries(ctx, c.q, func(k Key, note []byte) (bool, error) {
			got = append(got, k.Tenant+"/"+k.ID+" "+string(note))
			return len(got) < c.most, nil
		})
		if d := cmp.Diff(c.want, got); err != nil || d != "" {
			t.Errorf("%s: %v (-want +got):\n%s", c.name, err, d)
		}
	}
	wrong := errors.New("wrong")
	if err := table.Entries(ctx, Query{Tenant: "a", Index: "newest"}, func(Key, []byte) (bool, error) { return true, wrong }); !errors.Is(err, wrong) {
		t.Errorf("fn's error became %v", err)
	}
	if err := table.Entries(ctx, Query{Tenant: "a"}, nil); err == nil {
		t.Error("entries of no index are no error")
	}
}
