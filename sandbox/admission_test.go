package sandbox

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func reserve(t *testing.T, a *Admission, client string) *Place {
	t.Helper()
	p, err := a.Reserve(client)
	if err != nil {
		t.Fatalf("Reserve(%s): %v", client, err)
	}
	return p
}

func wantReason(t *testing.T, err error, kind Kind, reason string) *Error {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Kind != kind || e.Reason != reason {
		t.Fatalf("got error %v, want kind %d, reason %s", err, kind, reason)
	}
	return e
}

// line is a set of goroutines that wait for places and note the order of grants.
type line struct {
	mu     sync.Mutex
	order  []string
	places map[string]*Place
}

// join lets name, a place of client, wait for memory, behind all that joined before. It belongs in a synctest bubble.
func (l *line) join(t *testing.T, a *Admission, client, name string, memory int64) {
	t.Helper()
	p := reserve(t, a, client)
	go func() {
		if err := p.Wait(t.Context(), memory); err != nil {
			return // released by the test
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.order = append(l.order, name)
		l.places[name] = p
	}()
	synctest.Wait()
}

// release ends the run of each of names in turn and waits for what that grants.
func (l *line) release(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		l.mu.Lock()
		p := l.places[name]
		l.mu.Unlock()
		if p == nil {
			t.Fatalf("%s does not run; granted so far: %v", name, l.order)
		}
		p.Release()
		synctest.Wait()
	}
}

func (l *line) want(t *testing.T, order ...string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Equal(l.order, order) {
		t.Fatalf("granted %v, want %v", l.order, order)
	}
}

func wantEmpty(t *testing.T, a *Admission) {
	t.Helper()
	s := a.Stats()
	if s.Queued != 0 || s.Running != 0 || s.MemoryUse != 0 || len(a.turns) != 0 || len(a.holding) != 0 || len(a.busy) != 0 {
		t.Errorf("left over: %+v, %d turns, %d clients", s, len(a.turns), len(a.holding))
	}
}

func TestAdmissionTakesTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := NewAdmission(AdmissionOptions{MaxRunning: 1, MaxQueue: 20})
		l := &line{places: make(map[string]*Place)}
		l.join(t, a, "a", "a1", 1)
		for _, name := range []string{"a2", "a3", "a4", "b1", "b2", "c1"} {
			l.join(t, a, name[:1], name, 1)
		}
		l.want(t, "a1")
		l.release(t, "a1", "a2", "b1", "c1", "a3", "b2", "a4")
		l.want(t, "a1", "a2", "b1", "c1", "a3", "b2", "a4")
		wantEmpty(t, a)
	})
}

func TestAdmissionMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := NewAdmission(AdmissionOptions{MaxRunning: 100, MaxQueue: 100, Memory: 10})
		l := &line{places: make(map[string]*Place)}
		l.join(t, a, "a", "a6", 6)
		l.join(t, a, "b", "b5", 5) // does not fit
		l.join(t, a, "b", "b1", 1) // fits, but b is first come first served
		l.join(t, a, "c", "c4", 4) // another client's, goes before
		l.want(t, "a6", "c4")
		if s := a.Stats(); s.MemoryUse != 10 || s.Running != 2 || s.Queued != 2 {
			t.Errorf("Stats() = %+v", s)
		}
		l.release(t, "a6")
		l.mu.Lock()
		slices.Sort(l.order[2:]) // both were granted at once; which of them notes it first is chance
		l.mu.Unlock()
		l.want(t, "a6", "c4", "b1", "b5")
		l.release(t, "c4", "b5", "b1")
		wantEmpty(t, a)

		p := reserve(t, a, "a")
		e := wantReason(t, p.Wait(t.Context(), 11), KindInvalid, "MEMORY_NEVER_FITS")
		if e.Field != "limits.memoryBytes" {
			t.Errorf("field %q", e.Field)
		}
		wantEmpty(t, a) // the failed Wait released it
	})
}

func TestAdmissionDoesNotStarveLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := NewAdmission(AdmissionOptions{MaxRunning: 100, MaxQueue: 100, Memory: 10})
		l := &line{places: make(map[string]*Place)}
		l.join(t, a, "small", "s0", 5)
		l.join(t, a, "large", "large", 10)
		want := []string{"s0"}
		// Small ones overlap each other for ever: without a bound there is never room for the large one.
		for i := 1; i <= maxBypass; i++ {
			name := fmt.Sprintf("s%d", i)
			l.join(t, a, "small", name, 5)
			l.release(t, fmt.Sprintf("s%d", i-1))
			want = append(want, name)
		}
		l.want(t, want...)
		l.join(t, a, "small", "late", 5)
		l.want(t, want...) // room for it, but it waits
		l.release(t, fmt.Sprintf("s%d", maxBypass))
		l.want(t, append(want, "large")...)
		l.release(t, "large", "late")
		wantEmpty(t, a)
	})
}

func TestAdmissionGivingUpLetsOthersIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := NewAdmission(AdmissionOptions{MaxRunning: 10, MaxQueue: 100, Memory: 10})
		l := &line{places: make(map[string]*Place)}
		l.join(t, a, "a", "a6", 6)
		ctx, cancel := context.WithCancelCause(t.Context())
		result := make(chan error, 1)
		big := reserve(t, a, "a")
		go func() { result <- big.Wait(ctx, 9) }()
		synctest.Wait()
		l.join(t, a, "a", "a1", 1) // behind the one that does not fit
		l.want(t, "a6")
		why := errors.New("gone")
		cancel(why)
		err := <-result
		if wantReason(t, err, KindCanceled, "CANCELED"); !errors.Is(err, why) {
			t.Errorf("Wait: %v, want the cause %v", err, why)
		}
		synctest.Wait()
		l.want(t, "a6", "a1")
		big.Release()
		l.release(t, "a6", "a1")
		wantEmpty(t, a)
	})
}

func TestPlaceMisuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := NewAdmission(AdmissionOptions{MaxRunning: 1})
		var none *Place
		none.Release()
		p := reserve(t, a, "a")
		if err := p.Wait(t.Context(), -1); err != nil {
			t.Fatal(err)
		}
		waiting := reserve(t, a, "a")
		result := make(chan error, 1)
		go func() { result <- waiting.Wait(t.Context(), 1) }()
		synctest.Wait()
		waiting.Release() // by another goroutine than the one that waits
		wantReason(t, <-result, KindCanceled, "CANCELED")
		p.Release()
		p.Release()
		wantReason(t, p.Wait(t.Context(), 1), KindCanceled, "CANCELED")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		wantReason(t, reserve(t, a, "a").Wait(ctx, 1), KindCanceled, "CANCELED")
		twice := reserve(t, a, "a")
		if err := twice.Wait(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		wantReason(t, twice.Wait(t.Context(), 1), KindInternal, "INTERNAL")
		wantEmpty(t, a)
	})
}

func TestReserveRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := NewAdmission(AdmissionOptions{MaxRunning: 1, MaxQueue: 4})
		places := make([]*Place, 4)
		for i := range places {
			places[i] = reserve(t, a, "a")
		}
		_, err := a.Reserve("a")
		if e := wantReason(t, err, KindExhausted, "QUEUE_FULL"); e.RetryAfter < time.Second {
			t.Errorf("RetryAfter %v", e.RetryAfter)
		}
		other := reserve(t, a, "b") // not shut out by a
		_, err = a.Reserve("b")
		wantReason(t, err, KindExhausted, "QUEUE_FULL")
		_, err = a.Reserve("c") // but the queue is bounded all the same
		wantReason(t, err, KindExhausted, "QUEUE_FULL")
		other.Release()

		a.Drain()
		_, err = a.Reserve("a")
		wantReason(t, err, KindUnavailable, "DRAINING")
		if err := places[0].Wait(t.Context(), 1); err != nil || !a.Stats().Draining {
			t.Errorf("Wait while draining: %v", err)
		}
		for _, p := range places {
			p.Release()
		}
		wantEmpty(t, a)
	})
}

func TestRetryAfterFollowsServiceTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		retry := func(service time.Duration) time.Duration {
			a := NewAdmission(AdmissionOptions{MaxRunning: 2, MaxQueue: 8})
			for range 50 {
				p := reserve(t, a, "a")
				if err := p.Wait(t.Context(), 1); err != nil {
					t.Fatal(err)
				}
				time.Sleep(service) // the bubble's clock
				p.Release()
			}
			for range 8 {
				reserve(t, a, "a")
			}
			_, err := a.Reserve("a")
			return wantReason(t, err, KindExhausted, "QUEUE_FULL").RetryAfter
		}
		fast, slow, endless := retry(10*time.Millisecond), retry(4*time.Second), retry(time.Hour)
		if fast != time.Second || slow < 10*time.Second || slow > 14*time.Second || endless != time.Minute {
			t.Errorf("RetryAfter: %v, %v, %v; want 1s, about 12s, 1m", fast, slow, endless)
		}
	})
}

func TestReserveChecksDisk(t *testing.T) {
	free, failure := uint64(100), error(nil)
	a := NewAdmission(AdmissionOptions{DiskFree: func() (uint64, error) { return free, failure }, DiskFloor: 100})
	reserve(t, a, "a").Release()
	free = 99
	_, err := a.Reserve("a")
	wantReason(t, err, KindExhausted, "DISK_LOW")
	failure = errors.New("statfs")
	if _, err = a.Reserve("a"); KindOf(err) != KindInternal || !errors.Is(err, failure) {
		t.Errorf("Reserve = %v, want KindInternal because of %v", err, failure)
	}
	wantEmpty(t, a)
}

func TestMemoryBudget(t *testing.T) {
	const mib = 1 << 20
	for _, tc := range []struct{ total, available, want int64 }{
		{0, 0, 0},
		{2048 * mib, 1700 * mib, 1188 * mib},
		{2048 * mib, 600 * mib, 300 * mib},
		{512 * mib, 400 * mib, 200 * mib},
		{10240 * mib, 9000 * mib, 6952 * mib},
		{10240 * mib, 20000 * mib, 8192 * mib}, // a container that sees another's numbers
		{1024 * mib, -5, 0},
	} {
		if got := MemoryBudget(tc.total, tc.available); got != tc.want {
			t.Errorf("MemoryBudget(%d MiB, %d MiB) = %d MiB, want %d", tc.total/mib, tc.available/mib, got/mib, tc.want/mib)
		}
	}
}

// TestAdmissionRandomly has many clients come, give up and end at random times. No bound is ever broken, everyone who
// does not give up is served, and nothing is left.
func TestAdmissionRandomly(t *testing.T) {
	for seed := range uint64(30) {
		synctest.Test(t, func(t *testing.T) {
			a := NewAdmission(AdmissionOptions{MaxRunning: 5, MaxQueue: 30, Memory: 100})
			var mu sync.Mutex
			running, memory, served := 0, int64(0), 0
			count := func(n int, m int64) {
				mu.Lock()
				defer mu.Unlock()
				running, memory = running+n, memory+m
				if running > 5 || memory > 100 {
					t.Errorf("seed %d: %d running with %d bytes", seed, running, memory)
				}
			}
			var wg sync.WaitGroup
			for i := range 200 {
				r := rand.New(rand.NewPCG(seed, uint64(i)))
				wg.Go(func() {
					time.Sleep(time.Duration(r.IntN(1000)) * time.Millisecond) // the bubble's clock
					p, err := a.Reserve(fmt.Sprint("client", r.IntN(6)))
					if err != nil {
						wantKind := KindExhausted
						if KindOf(err) != wantKind {
							t.Errorf("Reserve: %v", err)
						}
						return
					}
					defer p.Release()
					ctx, patient := t.Context(), r.IntN(3) > 0
					if !patient {
						var cancel context.CancelFunc
						ctx, cancel = context.WithTimeout(ctx, time.Duration(r.IntN(100))*time.Millisecond)
						defer cancel()
					}
					need := 1 + r.Int64N(100)
					if err := p.Wait(ctx, need); err != nil {
						if patient || KindOf(err) != KindCanceled {
							t.Errorf("Wait: %v", err)
						}
						return
					}
					count(1, need)
					time.Sleep(time.Duration(r.IntN(50)) * time.Millisecond)
					count(-1, -need)
					mu.Lock()
					served++
					mu.Unlock()
				})
			}
			wg.Wait()
			wantEmpty(t, a)
			if served < 20 {
				t.Errorf("seed %d: only %d served", seed, served)
			}
		})
	}
}
