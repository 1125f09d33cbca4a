package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"
)

// doc is what the tests keep: in all three modes of index, with a note.
type doc struct {
	At    time.Time
	Group string
	Name  string
	Body  []byte
}

func docs(t testing.TB, s *Store) *Table[doc] {
	t.Helper()
	table, err := NewTable(s, "docs", JSON[doc](),
		Index[doc]{Name: "newest", Entry: func(_ Key, d doc) (Entry, bool) {
			return Entry{Parts: [][]byte{NewestFirst(d.At)}, Note: []byte(d.Group)}, true
		}},
		Index[doc]{Name: "group", Mode: Last, Entry: func(_ Key, d doc) (Entry, bool) {
			return Entry{Parts: [][]byte{[]byte(d.Group)}}, d.Group != ""
		}},
		Index[doc]{Name: "name", Mode: Unique, Global: true, Entry: func(_ Key, d doc) (Entry, bool) {
			return Entry{Parts: [][]byte{[]byte(d.Name)}}, d.Name != ""
		}})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func open(t testing.TB, dir string, o Options) *Store {
	t.Helper()
	s, err := Open(dir, o)
	if err != nil {
		t.Fatalf("Open(%s): %v", dir, err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close(): %v", err)
		}
	})
	return s
}

func memory(t testing.TB) *Store { return open(t, "/store", Options{FS: vfs.NewMem()}) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir() + "/state/store"
	s := open(t, dir, Options{Schema: 2})
	if _, err := Open(dir, Options{Schema: 2}); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), dir+"/LOCK") {
		t.Errorf("Open of a held store = %v, want ErrLocked naming the file", err)
	}
	must(t, s.Close())
	for _, schema := range []uint32{1, 3} {
		if _, err := Open(dir, Options{Schema: schema}); !errors.Is(err, ErrSchema) {
			t.Errorf("Open(schema %d) of a store with 2 = %v, want ErrSchema", schema, err)
		}
	}
	open(t, dir, Options{Schema: 2})
	if err := docs0(s).Put(context.Background(), Key{"a", "b"}, doc{}); !errors.Is(err, ErrClosed) {
		t.Errorf("Put after Close = %v, want ErrClosed", err)
	}
}

func docs0(s *Store) *Table[doc] { return &Table[doc]{s: s, name: "docs", codec: JSON[doc]()} }

func TestKeys(t *testing.T) {
	parts := []string{"", "\x00", "\x00\x00", "\x00\x01", "\x00\xff", "\x01", "a", "a\x00", "a\x00b", "aa", "b", "\xff", "\xff\xff"}
	for i, a := range parts {
		for j, b := range parts {
			for k, c := range parts {
				key, want := Key{a, b}.appendTo(nil), Key{a, b}
				if got, err := parseKey(key); err != nil || got != want {
					t.Fatalf("parseKey(%q) = %v, %v, want %v", key, got, err, want)
				}
				wantOrder := min(max(i-j, -1), 1)
				if got := bytes.Compare(Key{a, c}.appendTo(nil), Key{b, parts[0]}.appendTo(nil)); wantOrder != 0 && got != wantOrder {
					t.Fatalf("order of %q and %q = %d, want %d (%d)", a, b, got, wantOrder, k)
				}
			}
		}
	}
	now := time.Unix(1e9, 0)
	if bytes.Compare(NewestFirst(now), NewestFirst(now.Add(1))) <= 0 || bytes.Compare(NewestFirst(time.Unix(-5, 0)), NewestFirst(now)) <= 0 {
		t.Error("NewestFirst does not sort later times first")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(Key{"a", "b\x00"}.appendTo(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if k, err := parseKey(b); err == nil && !bytes.Equal(k.appendTo(nil), b) {
			t.Errorf("parseKey(%q) = %q, which encodes differently", b, k)
		}
		splitRow(b)
		splitEntry(b)
	})
}

func TestRowsAndIndexes(t *testing.T) {
	s, ctx := memory(t), context.Background()
	table := docs(t, s)
	a, b, other := Key{"t", "a"}, Key{"t", "b"}, Key{"t2", "a"}
	must(t, table.Create(ctx, a, doc{Group: "g", Name: "n"}))
	if err := table.Create(ctx, a, doc{}); !errors.Is(err, ErrExists) {
		t.Errorf("Create twice = %v, want ErrExists", err)
	}
	if err := table.Put(ctx, other, doc{Name: "n"}); !errors.Is(err, ErrExists) {
		t.Errorf("Put with another's unique entry = %v, want ErrExists", err)
	}
	must(t, table.Put(ctx, b, doc{Group: "g"}))
	if k, _, err := table.Lookup(ctx, "group", "t", []byte("g")); err != nil || k != b {
		t.Errorf("Lookup(g) = %v, %v, want the last put %v", k, err, b)
	}
	must(t, table.Put(ctx, a, doc{Group: "h"})) // leaves g to b and gives n up
	if k, _, err := table.Lookup(ctx, "group", "t", []byte("g")); err != nil || k != b {
		t.Errorf("Lookup(g) = %v, %v, want still %v", k, err, b)
	}
	must(t, table.Put(ctx, other, doc{Name: "n"}))
	if k, _, err := table.Lookup(ctx, "name", "", []byte("n")); err != nil || k != other {
		t.Errorf("Lookup(n) = %v, %v, want %v", k, err, other)
	}
	if _, _, err := table.Lookup(ctx, "group", "t2", []byte("g")); !errors.Is(err, ErrNotFound) {
		t.Errorf("Lookup(g) of another tenant = %v, want ErrNotFound", err)
	}
	refused := errors.New("refused")
	if err := table.PutIf(ctx, b, doc{}, func(old *doc) error { return refused }); !errors.Is(err, refused) {
		t.Errorf("PutIf = %v, want the check's error", err)
	}
	must(t, table.Delete(ctx, b))
	for what, err := range map[string]error{"Delete": table.Delete(ctx, b), "Lookup": second(table.Lookup(ctx, "group", "t", []byte("g")))} {
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("%s after Delete = %v, want ErrNotFound", what, err)
		}
	}
	checkIndexes(t, table)
}

func second[A, B any](_ A, _ B, err error) error { return err }

func TestBatchIsAtomic(t *testing.T) {
	s, ctx := memory(t), context.Background()
	table := docs(t, s)
	more, err := NewTable(s, "more", JSON[int]())
	must(t, err)
	b := s.NewBatch()
	more.PutTo(b, Key{"t", "1"}, 1, nil)
	table.DeleteTo(b, Key{"t", "absent"})
	if err := b.Commit(ctx); !errors.Is(err, ErrNotFound) {
		t.Errorf("Commit = %v, want ErrNotFound", err)
	}
	if _, err := more.Get(ctx, Key{"t", "1"}); !errors.Is(err, ErrNotFound) {
		t.Errorf("Get after a failed batch = %v, want ErrNotFound", err)
	}
	b = s.NewBatch()
	more.PutTo(b, Key{"t", "1"}, 1, nil)
	more.PutTo(b, Key{"t", "1"}, 2, func(old *int) error {
		if old == nil || *old != 1 {
			return errors.New("a batch does not see its own changes")
		}
		return nil
	})
	table.PutTo(b, Key{"t", "x"}, doc{Group: "g"}, nil)
	must(t, b.Commit(ctx))
	if n, err := more.Get(ctx, Key{"t", "1"}); n != 2 || err != nil {
		t.Errorf("Get = %v, %v, want 2", n, err)
	}
	if err := more.Put(ctx, Key{"", "1"}, 1); err == nil {
		t.Error("Put without a tenant succeeded")
	}
	if _, err := NewTable(s, "more", JSON[int]()); err == nil {
		t.Error("NewTable took a name twice")
	}
}

func TestScanPages(t *testing.T) {
	s, ctx := memory(t), context.Background()
	table := docs(t, s)
	at := func(i int) time.Time { return time.Unix(int64(1000+i/2), 0) } // two at a time: ties
	for i := range 20 {
		must(t, table.Put(ctx, Key{"t", fmt.Sprintf("k%02d", i)}, doc{At: at(i), Group: fmt.Sprint(i % 2)}))
	}
	must(t, table.Put(ctx, Key{"t2", "foreign"}, doc{At: at(3)}))
	q := Query{Tenant: "t", Index: "newest", Limit: 3, Scope: "odd", Keep: func(n []byte) bool { return string(n) == "1" }}
	var got []string
	for {
		page, err := table.Scan(ctx, q)
		must(t, err)
		for _, r := range page.Rows {
			got = append(got, r.Key.ID)
		}
		if page.Next == "" {
			break
		}
		q.Cursor = page.Next
		// Newer rows do not disturb the pages to come, nor does the loss of the last row.
		must(t, table.Put(ctx, Key{"t", fmt.Sprintf("new%d", len(got))}, doc{At: at(100), Group: "1"}))
		must(t, table.Delete(ctx, page.Rows[len(page.Rows)-1].Key))
	}
	want := strings.Fields("k19 k17 k15 k13 k11 k09 k07 k05 k03 k01")
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("pages (-want +got):\n%s", d)
	}
	for name, bad := range map[string]Query{
		"garbage":       {Tenant: "t", Index: "newest", Cursor: "garbage!"},
		"other scope":   {Tenant: "t", Index: "newest", Cursor: q.Cursor},
		"other tenant":  {Tenant: "t2", Index: "newest", Scope: "odd", Cursor: q.Cursor},
		"other listing": {Tenant: "t", Scope: "odd", Cursor: q.Cursor},
		"changed":       {Tenant: "t", Index: "newest", Scope: "odd", Cursor: q.Cursor[:len(q.Cursor)-4] + "AAAA"},
	} {
		if _, err := table.Scan(ctx, bad); !errors.Is(err, ErrCursor) {
			t.Errorf("Scan with a cursor of %s = %v, want ErrCursor", name, err)
		}
	}
	page, err := table.Scan(ctx, Query{Tenant: "t", MaxBytes: 1})
	if err != nil || len(page.Rows) != 1 || page.Next == "" {
		t.Errorf("Scan of one byte = %d rows, next %q, %v, want one row and a cursor", len(page.Rows), page.Next, err)
	}
	if _, err := table.Scan(ctx, Query{}); err == nil {
		t.Error("Scan without a tenant succeeded")
	}
	all := 0
	must(t, table.Each(ctx, Query{AllTenants: true}, func(Row[doc]) error { all++; return nil }))
	if want := 20 + 1; all != want { // each page but the last added one and removed one
		t.Errorf("Each of all tenants = %d rows, want %d", all, want)
	}
}

func TestLargeValuesAndCheckpoint(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	s := open(t, dir+"/store", Options{MaxValue: 96 << 20})
	table := docs(t, s)
	body := make([]byte, 24<<20)
	rng := rand.NewChaCha8([32]byte{1})
	rng.Read(body)
	must(t, table.Put(ctx, Key{"t", "big"}, doc{Body: body}))
	if err := table.Put(ctx, Key{"t", "huge"}, doc{Body: make([]byte, 96<<20)}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("Put above MaxValue = %v, want ErrTooLarge", err)
	}
	must(t, s.Checkpoint(dir+"/copy"))
	must(t, table.Delete(ctx, Key{"t", "big"}))
	must(t, s.Close())
	got, err := docs(t, open(t, dir+"/copy", Options{})).Get(ctx, Key{"t", "big"})
	if err != nil || !bytes.Equal(got.Body, body) {
		t.Errorf("Get of the copy = %d bytes, %v, want the same %d", len(got.Body), err, len(body))
	}
}

// countFS counts the syncs of write-ahead logs. Each takes a while, as on a disk, so that writers meet.
type countFS struct {
	vfs.FS
	syncs atomic.Int64
}

type countFile struct {
	vfs.File
	fs *countFS
}

func (fs *countFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.Create(name, c)
	return fs.wrap(name, f, err)
}

func (fs *countFS) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.ReuseForWrite(from, to, c)
	return fs.wrap(to, f, err)
}

func (fs *countFS) wrap(name string, f vfs.File, err error) (vfs.File, error) {
	if err != nil || !strings.HasSuffix(name, ".log") {
		return f, err
	}
	return &countFile{f, fs}, nil
}

func (f *countFile) slow() {
	f.fs.syncs.Add(1)
	<-time.After(2 * time.Millisecond)
}

func (f *countFile) Sync() error     { f.slow(); return f.File.Sync() }
func (f *countFile) SyncData() error { f.slow(); return f.File.SyncData() }

func (f *countFile) SyncTo(n int64) (bool, error) { f.slow(); return f.File.SyncTo(n) }

func TestGroupCommit(t *testing.T) {
	const writers, each = 64, 20
	fs := &countFS{FS: vfs.NewMem()}
	s := open(t, "/store", Options{FS: fs})
	table := docs(t, s)
	before := fs.syncs.Load()
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				if err := table.Put(context.Background(), Key{"t", fmt.Sprintf("%d-%d", w, i)}, doc{Name: fmt.Sprint(w, i)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	syncs := fs.syncs.Load() - before
	t.Logf("%d writes, %d syncs", writers*each, syncs)
	if syncs == 0 || syncs > writers*each/4 {
		t.Errorf("%d writes took %d syncs, want some, and at most a quarter", writers*each, syncs)
	}
	if got := s.Stats(); got.Syncs != fs.syncs.Load() || got.Size < writers*each {
		t.Errorf("Stats = %+v, want %d syncs and a size", got, fs.syncs.Load())
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := s.Stats(); got != (Stats{}) {
		t.Errorf("Stats of a closed store = %+v", got)
	}
}
