package store

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"
)

// checkIndexes compares every index entry with the entries that the rows ask for.
func checkIndexes(t testing.TB, table *Table[doc]) {
	t.Helper()
	want, got := map[string]string{}, map[string]string{}
	claimed := map[string]int{} // by how many rows, for entries that only one can have
	must(t, table.Each(context.Background(), Query{AllTenants: true}, func(r Row[doc]) error {
		for _, name := range table.order {
			x := table.indexes[name]
			if e, in := x.Entry(r.Key, r.Value); in {
				enc := encodeEntry(table.name, name, x.Mode, x.Global, r.Key, e)
				want[string(enc.key)] = string(enc.value)
				claimed[string(enc.key)]++
			}
		}
		return nil
	}))
	prefix := append([]byte(table.name), 0, kindIndex)
	it, err := table.s.db.NewIter(nil)
	must(t, err)
	for ok := it.SeekGE(prefix); ok && string(it.Key()[:min(len(prefix), len(it.Key()))]) == string(prefix); ok = it.Next() {
		got[string(it.Key())] = string(it.Value())
	}
	must(t, it.Close())
	for key, n := range claimed {
		if _, there := got[key]; n > 1 && there {
			want[key] = got[key] // whichever was last
		} else if n > 1 {
			delete(want, key) // the last owner gave it up
		}
	}
	// An entry taken over and then given up leads nowhere although an older row still names it.
	for key := range want {
		if _, there := got[key]; !there && key[len(table.name)+2:][:5] == "group" {
			delete(want, key)
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("index entries (-rows ask for +stored):\n%s", d)
	}
}

// TestCrash lets writers run on a file system that is cloned, as a crash would leave it, at random moments.
func TestCrash(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			fs := vfs.NewCrashableMem()
			crash := func() *vfs.MemFS {
				return fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: int(seed%5) * 25, RNG: rng})
			}
			s := open(t, "/state/store", Options{FS: fs})
			table := docs(t, s)
			const rows, writers = 12, 4
			var mu sync.Mutex
			acked := map[string]int64{} // id → newest acknowledged version
			write := func(w int, rng *rand.Rand, version int64) {
				id := fmt.Sprintf("%d-%d", w, rng.IntN(rows))
				d := doc{At: time.Unix(version, 0), Group: fmt.Sprint(rng.IntN(5)), Name: "n" + id, Body: make([]byte, rng.IntN(1<<rng.IntN(19)))}
				if err := table.Put(context.Background(), Key{"t", id}, d); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				acked[id] = version
				mu.Unlock()
			}
			for range 4 {
				var wg sync.WaitGroup
				for w := range writers {
					rng := rand.New(rand.NewPCG(rng.Uint64(), 0))
					wg.Go(func() {
						for range 15 {
							write(w, rng, rng.Int64N(1<<33))
						}
					})
				}
				mu.Lock()
				want := maps.Clone(acked)
				mu.Unlock()
				during := crash()
				wg.Wait()
				after := crash()
				checkCrashed(t, during, want, false)
				checkCrashed(t, after, maps.Clone(acked), true)
			}
		})
	}
}

// checkCrashed opens what a crash left. Every acknowledged row must be there, in exactly its version when nothing was
// written since.
func checkCrashed(t *testing.T, fs *vfs.MemFS, acked map[string]int64, exact bool) {
	t.Helper()
	s, err := Open("/state/store", Options{FS: fs})
	if err != nil {
		t.Fatalf("Open after a crash: %v", err)
	}
	defer s.Close()
	table := docs(t, s)
	for id, version := range acked {
		d, err := table.Get(context.Background(), Key{"t", id})
		if err != nil {
			t.Errorf("acknowledged row is lost: %v", err)
		} else if exact && d.At.Unix() != version {
			t.Errorf("row %s has version %d, acknowledged was %d", id, d.At.Unix(), version)
		}
	}
	checkIndexes(t, table)
}

// TestKill runs itself as a writer, kills it while it writes, and looks for everything it was told.
func TestKill(t *testing.T) {
	if dir := os.Getenv("STORE_TEST_WRITER"); dir != "" {
		writeForever(t, dir)
		return
	}
	dir := t.TempDir() + "/store"
	acked := map[string]bool{}
	for round := range 3 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKill$")
		cmd.Env = append(os.Environ(), "STORE_TEST_WRITER="+dir, fmt.Sprint("STORE_TEST_ROUND=", round))
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			var id string
			if _, err := fmt.Sscanf(lines.Text(), "acked %s .", &id); err == nil {
				acked[id] = true // a line cut short by the kill lacks its end
			}
			if n == 300 {
				must(t, cmd.Process.Kill())
			}
		}
		if err := cmd.Wait(); err == nil || len(acked) < 200*(round+1) {
			t.Fatalf("writer ended with %v after %d acknowledged rows", err, len(acked))
		}
		s, err := Open(dir, Options{})
		must(t, err)
		table := docs(t, s)
		for id := range acked {
			if _, err := table.Get(context.Background(), Key{"t", id}); err != nil {
				t.Errorf("acknowledged row is lost: %v", err)
			}
		}
		checkIndexes(t, table)
		must(t, s.Close())
	}
}

func writeForever(t *testing.T, dir string) {
	s, err := Open(dir, Options{})
	must(t, err)
	table := docs(t, s)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%s-%d-%d", os.Getenv("STORE_TEST_ROUND"), w, i)
				if err := table.Put(context.Background(), Key{"t", id}, doc{Name: id, Body: make([]byte, 1<<(i%17))}); err != nil {
					panic(err)
				}
				mu.Lock()
				fmt.Printf("acked %s .\n", id)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}
