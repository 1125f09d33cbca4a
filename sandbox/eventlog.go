package sandbox

import (
	"context"
	"iter"
	"slices"
	"sync"
	"time"
)

const (
	// Up to this many events every chunk of output is an event of its own, at once and in the order in which both
	// streams were read. Afterwards small chunks are collected.
	manyEvents = 4096
	// A collected chunk becomes an event when it reaches this many bytes...
	collectBytes = 32 << 10
	// ... or when a reader has waited for it so long.
	collectTime = 50 * time.Millisecond
)

// eventLog keeps the events of one execution for any number of readers, late ones included.
//
// An event that has a number never changes. The producer bounds the bytes of output; the log bounds the number of
// events, so that a program that writes single bytes costs no more memory than its output limit and a few megabytes.
// The log starts no goroutine: what is collected is numbered by the reader that waits for it, or by what follows.
type eventLog struct {
	mu      sync.Mutex
	events  []Event       // events[i].Seq is i+1
	held    [2]Event      // output of each stream that is collected and has no number yet
	since   time.Time     // when the older of held began; zero when both are empty
	changed chan struct{} // closed at the next change; nil while nobody waits
	done    bool          // after EventResult
}

// append adds e, which it numbers, and takes over e.Data. After EventResult it does nothing.
func (l *eventLog) append(e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done {
		return
	}
	output := e.Kind == EventStdout || e.Kind == EventStderr
	switch {
	case output && len(e.Data) == 0:
		return
	case output && len(l.events) >= manyEvents:
		l.collectLocked(e)
	default:
		if e.Kind == EventResult {
			l.flushLocked()
			l.done = true
		}
		l.addLocked(e)
	}
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

func (l *eventLog) collectLocked(e Event) {
	h := &l.held[e.Kind-EventStdout]
	if h.Compile != e.Compile || len(h.Data)+len(e.Data) > collectBytes {
		l.flushLocked()
	}
	if len(e.Data) >= collectBytes {
		l.addLocked(e)
		return
	}
	h.Kind, h.Compile = e.Kind, e.Compile
	h.Data = append(h.Data, e.Data...)
	if l.since.IsZero() {
		l.since = time.Now()
	}
}

// flushLocked numbers what is collected.
func (l *eventLog) flushLocked() {
	for i := range l.held {
		if h := &l.held[i]; len(h.Data) > 0 {
			h.Data = slices.Clip(h.Data)
			l.addLocked(*h)
			*h = Event{}
		}
	}
	l.since = time.Time{}
}

func (l *eventLog) addLocked(e Event) {
	e.Seq = uint64(len(l.events)) + 1
	l.events = append(l.events, e)
}

// all yields the events with a Seq above after, those that are there and those that come, and ends after EventResult.
// The only error it yields is an [*Error] of [KindCanceled] when ctx ends, which ends it.
func (l *eventLog) all(ctx context.Context, after uint64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for next := after; ; {
			batch, done, err := l.wait(ctx, next)
			if err != nil {
				yield(Event{}, err)
				return
			}
			for _, e := range batch {
				if err := canceled(ctx, "sandbox.Events"); err != nil {
					yield(Event{}, err)
					return
				}
				if !yield(e, nil) {
					return
				}
			}
			next += uint64(len(batch))
			if done {
				return
			}
		}
	}
}

// wait returns the events after the first next ones as soon as there are any, and whether they are the last.
func (l *eventLog) wait(ctx context.Context, next uint64) (batch []Event, done bool, err error) {
	for {
		batch, done, changed, collected := l.poll(next)
		if len(batch) > 0 || done {
			return batch, done, nil
		}
		if err := l.pause(ctx, changed, collected); err != nil {
			return nil, false, err
		}
	}
}

// poll returns the events after the first next ones and whether no more will come. When there are none, changed is
// closed at the next change, and after the time collected, if it is not zero, polling again brings what is held.
func (l *eventLog) poll(next uint64) (batch []Event, done bool, changed <-chan struct{}, collected time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := uint64(len(l.events)); next >= n && !l.since.IsZero() && time.Since(l.since) >= collectTime {
		l.flushLocked()
	}
	if next < uint64(len(l.events)) {
		// The slice is read without the lock: its elements never change, and append writes only behind them.
		return slices.Clip(l.events[next:]), l.done, nil, time.Time{}
	}
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	if !l.since.IsZero() {
		collected = l.since.Add(collectTime)
	}
	return nil, l.done, l.changed, collected
}

func (l *eventLog) pause(ctx context.Context, changed <-chan struct{}, collected time.Time) error {
	var due <-chan time.Time
	if !collected.IsZero() {
		t := time.NewTimer(time.Until(collected))
		defer t.Stop()
		due = t.C
	}
	select {
	case <-ctx.Done():
		return canceled(ctx, "sandbox.Events")
	case <-changed:
	case <-due:
	}
	return nil
}

// canceled returns the error for a ctx that has ended, nil while it has not.
func canceled(ctx context.Context, op string) error {
	if ctx.Err() == nil {
		return nil
	}
	return &Error{Op: op, Kind: KindCanceled, Reason: "CANCELED", Msg: "the caller went away", Err: context.Cause(ctx)}
}
