package sandbox

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func stdout(s string) Event { return Event{Kind: EventStdout, Data: []byte(s)} }
func stderr(s string) Event { return Event{Kind: EventStderr, Data: []byte(s)} }

// read collects events after the given number until the log ends or n have come.
func read(t *testing.T, l *eventLog, after uint64, n int) []Event {
	t.Helper()
	var got []Event
	if n == 0 {
		return nil
	}
	for e, err := range l.all(t.Context(), after) {
		if err != nil {
			t.Fatalf("all(%d): %v", after, err)
		}
		if got = append(got, e); len(got) == n {
			break
		}
	}
	return got
}

func TestEventLogReplays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &eventLog{}
		x := &Execution{ID: NewID()}
		want := []Event{
			{Seq: 1, Kind: EventStarted, Execution: x},
			{Seq: 2, Kind: EventStdout, Data: []byte("a")},
			{Seq: 3, Kind: EventStderr, Data: []byte("b")},
			{Seq: 4, Kind: EventStdout, Data: []byte("c"), Compile: true},
			{Seq: 5, Kind: EventUsage, Usage: Usage{Wall: 1}},
			{Seq: 6, Kind: EventResult, Execution: x},
		}
		var wg sync.WaitGroup
		live := make([][]Event, 5)
		for i := range live {
			wg.Go(func() { live[i] = read(t, l, 0, -1) })
		}
		for _, e := range want {
			synctest.Wait()
			e.Seq = 0
			l.append(e)
		}
		wg.Wait()
		l.append(stdout("too late"))
		l.append(Event{Kind: EventResult})
		for i, got := range append(live, read(t, l, 0, -1)) {
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("reader %d (-want +got):\n%s", i, diff)
			}
		}
		for after := range uint64(8) {
			got := read(t, l, after, -1)
			if diff := cmp.Diff(want[min(after, 6):], got, cmp.Transformer("len", func(e []Event) []Event { return append([]Event{}, e...) })); diff != "" {
				t.Errorf("all(%d) (-want +got):\n%s", after, diff)
			}
		}
	})
}

func TestEventLogDeliversAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &eventLog{}
		start := time.Now()
		go func() {
			time.Sleep(time.Second) // the bubble's clock
			l.append(stdout("x"))
		}()
		if got := read(t, l, 0, 1); string(got[0].Data) != "x" || time.Since(start) != time.Second {
			t.Errorf("got %v after %v, want x after 1s", got, time.Since(start))
		}
		// A reader that asks for what is not there yet gets that, not what comes before.
		go func() {
			l.append(stdout("y"))
			l.append(stdout("z"))
		}()
		if got := read(t, l, 2, 1); got[0].Seq != 3 || string(got[0].Data) != "z" {
			t.Errorf("all(2) began with %v, want z", got[0])
		}
		l.append(stdout("")) // nothing
		l.append(Event{Kind: EventResult})
		if got := read(t, l, 3, -1); len(got) != 1 || got[0].Seq != 4 {
			t.Errorf("all(3) = %v, want the result as number 4", got)
		}
	})
}

func TestEventLogCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &eventLog{}
		l.append(stdout("x"))
		why := errors.New("gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		var errs []error
		done := make(chan struct{})
		go func() {
			defer close(done)
			for _, err := range l.all(ctx, 0) {
				errs = append(errs, err)
			}
		}()
		synctest.Wait()
		cancel(why)
		<-done
		if len(errs) != 2 || errs[0] != nil || KindOf(errs[1]) != KindCanceled || !errors.Is(errs[1], why) {
			t.Errorf("errors %v, want nil and KindCanceled because of %v", errs, why)
		}
		for e, err := range l.all(ctx, 0) {
			if err == nil {
				t.Errorf("an ended context still yields %v", e)
			}
		}
	})
}

// join returns the output of one stream in events, and fails when numbers have gaps.
func join(t *testing.T, events []Event, kind EventKind) string {
	t.Helper()
	var b bytes.Buffer
	for i, e := range events {
		if e.Seq != uint64(i)+1 {
			t.Fatalf("event %d has number %d", i, e.Seq)
		}
		if e.Kind == kind {
			b.Write(e.Data)
		}
	}
	return b.String()
}

func TestEventLogBoundsEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &eventLog{}
		var wg sync.WaitGroup
		var live []Event
		wg.Go(func() { live = read(t, l, 0, -1) })
		const bytesEach = 200_000
		for i := range bytesEach {
			l.append(stdout(string(rune('a' + i%26))))
			l.append(stderr(string(rune('A' + i%26))))
			if i%1000 == 0 {
				synctest.Wait()              // let the reader catch up
				time.Sleep(time.Millisecond) // the bubble's clock
			}
		}
		l.append(Event{Kind: EventResult})
		wg.Wait()
		// Both streams fill 7 chunks; 200 ms let a reader number what is held a few more times.
		if n := len(live); n > manyEvents+40 {
			t.Errorf("%d events for %d chunks", n, 2*bytesEach)
		}
		lower := strings.Repeat("abcdefghijklmnopqrstuvwxyz", bytesEach/26+1)[:bytesEach]
		if join(t, live, EventStdout) != lower || join(t, live, EventStderr) != strings.ToUpper(lower) {
			t.Error("output is not what was written")
		}
		if diff := cmp.Diff(live, read(t, l, 0, -1)); diff != "" {
			t.Errorf("a late reader sees other events (-live +late):\n%s", diff)
		}
	})
}

func TestEventLogHoldsBrieflyOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &eventLog{}
		for range manyEvents {
			l.append(stdout("."))
		}
		start := time.Now()
		l.append(stdout("x"))
		l.append(stdout("y"))
		got := read(t, l, manyEvents, 1)
		if string(got[0].Data) != "xy" || time.Since(start) != collectTime {
			t.Errorf("got %q after %v, want xy after %v", got[0].Data, time.Since(start), collectTime)
		}
		// What is compiled and what runs are never mixed, and a large chunk overtakes nothing.
		big := strings.Repeat("b", collectBytes)
		l.append(Event{Kind: EventStdout, Data: []byte("c"), Compile: true})
		l.append(stdout("r"))
		l.append(stdout(big))
		l.append(stdout("end"))
		l.append(Event{Kind: EventResult})
		var data []string
		for _, e := range read(t, l, manyEvents+1, -1) {
			data = append(data, string(e.Data))
			if compile := string(e.Data) == "c"; e.Compile != compile {
				t.Errorf("%.10q: compile %t", e.Data, e.Compile)
			}
		}
		if diff := cmp.Diff([]string{"c", "r", big, "end", ""}, data); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}
