package agent

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// rest reads a follower to its end.
func rest(t *testing.T, f *follower) (string, int64) {
	t.Helper()
	defer f.close()
	var b strings.Builder
	first := int64(-1)
	for {
		p, err := f.read(t.Context(), nil)
		if errors.Is(err, io.EOF) {
			return b.String(), first
		} else if err != nil {
			t.Fatal(err)
		}
		if first < 0 {
			first = p.offset
		}
		if p.offset != first+int64(b.Len()) {
			t.Fatalf("a piece at %d after %d bytes from %d", p.offset, b.Len(), first)
		}
		b.Write(p.data)
	}
}

func TestTranscriptOffsets(t *testing.T) {
	tr := newTranscript()
	for _, part := range []string{"abc", "d", "efgh"} {
		tr.append(streamStdout, []byte(part))
	}
	tr.close()
	for _, tt := range []struct {
		from  int64
		want  string
		first int64
	}{
		{0, "abcdefgh", 0}, {1, "bcdefgh", 1}, {3, "defgh", 3}, {4, "efgh", 4}, {7, "h", 7}, {8, "", -1}, {9, "", -1}, {-1, "", -1},
	} {
		if got, first := rest(t, tr.follow(tt.from)); got != tt.want || first != tt.first {
			t.Errorf("follow(%d) = %q from %d, want %q from %d", tt.from, got, first, tt.want, tt.first)
		}
	}
}

func TestTranscriptKeepsTheLast(t *testing.T) {
	tr := newTranscript()
	const n, size = 20, 64 << 10
	for i := range n {
		tr.append(streamStdout, bytes.Repeat([]byte{byte('a' + i)}, size))
	}
	tr.close()
	start, end := tr.span()
	if end != n*size || end-start != keepBytes {
		t.Errorf("span() = %d, %d, want the last %d of %d bytes", start, end, keepBytes, n*size)
	}
	if got, first := rest(t, tr.follow(0)); len(got) != keepBytes || first != start || got[0] != 'a'+n-keepBytes/size {
		t.Errorf("follow(0) = %d bytes from %d, want %d from %d", len(got), first, keepBytes, start)
	}
	tr.forget()
	if got, _ := rest(t, tr.follow(0)); got != "" {
		t.Errorf("forgotten, %d bytes are left", len(got))
	}
}

// TestSlowFollowerSlowsTheProcess: a follower misses nothing, and what it has not read is what makes a process wait.
func TestSlowFollowerSlowsTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTranscript()
		f := tr.follow(0)
		const n, size = 50, 64 << 10
		var printed sync.WaitGroup
		printed.Go(func() {
			for range n {
				tr.append(streamStdout, make([]byte, size))
			}
			tr.close()
		})
		got := 0
		for {
			time.Sleep(stallTime - time.Second) // it reads, if slowly
			if _, end := tr.span(); end-int64(got) > keepBytes {
				t.Fatalf("%d bytes were printed that nobody read", end-int64(got))
			}
			p, err := f.read(t.Context(), nil)
			if errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			got += len(p.data)
		}
		f.close()
		printed.Wait()
		if got != n*size {
			t.Errorf("the follower got %d of %d bytes", got, n*size)
		}
	})
}

// TestStalledFollowerIsDropped: who takes nothing for too long is told so, and its process goes on.
func TestStalledFollowerIsDropped(t *testing.T) {
	for name, begin := range map[string]func(*transcript) *follower{
		"a follower": func(tr *transcript) *follower { return tr.follow(0) },
		"held for one that never came": func(tr *transcript) *follower {
			tr.hold()
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr := newTranscript()
				f := begin(tr)
				start := time.Now()
				for range 10 {
					tr.append(streamStdout, make([]byte, 64<<10))
				}
				tr.close()
				if took := time.Since(start); took != stallTime {
					t.Errorf("the process waited for %v, want %v", took, stallTime)
				}
				if f != nil {
					if _, err := f.read(t.Context(), nil); !errors.Is(err, errStalled) {
						t.Errorf("the stalled follower reads %v, want %v", err, errStalled)
					}
					f.close()
				}
				if got, _ := rest(t, tr.follow(0)); len(got) != keepBytes {
					t.Errorf("who comes later gets %d bytes, want %d", len(got), keepBytes)
				}
			})
		})
	}
}

// TestHeldFromTheBeginning: the first to follow from 0 misses nothing, however late it comes within its time.
func TestHeldFromTheBeginning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTranscript()
		tr.hold()
		const n, size = 20, 64 << 10
		var printed sync.WaitGroup
		printed.Go(func() {
			for range n {
				tr.append(streamStderr, make([]byte, size))
			}
			tr.close()
		})
		time.Sleep(stallTime - time.Second)
		if got, first := rest(t, tr.follow(0)); len(got) != n*size || first != 0 {
			t.Errorf("got %d bytes from %d, want %d from 0", len(got), first, n*size)
		}
		printed.Wait()
	})
}

func TestFollowerWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTranscript()
		f := tr.follow(0)
		defer f.close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := f.read(ctx, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("read without output = %v, want the deadline", err)
		}
		until := make(chan struct{})
		time.AfterFunc(time.Second, func() { close(until) })
		if _, err := f.read(t.Context(), until); !errors.Is(err, io.EOF) {
			t.Errorf("read until nothing more comes = %v, want EOF", err)
		}
		tr.append(streamPTY, []byte("x"))
		if p, err := f.read(t.Context(), until); err != nil || string(p.data) != "x" || p.from != streamPTY {
			t.Errorf("read = %+v, %v, want what is there", p, err)
		}
	})
}
