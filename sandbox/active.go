package sandbox

import (
	"context"
	"iter"
	"slices"
	"sync"
	"time"
)

// active is an execution that this engine is running, or has just run. It implements [Handle].
type active struct {
	request Request
	runtime Runtime
	ground  ground // released when it is done
	most    Limits // what the policy let this client ask for when it asked
	log     *eventLog
	stop    context.CancelFunc // cancels the run; its effect is VerdictCancelled
	done    chan struct{}      // closed when the result is journalled

	// admitted is closed when it is decided what the request's id leads to: this execution, another one of before, or
	// nothing, since the request was refused.
	admitted chan struct{}
	before   Handle // read after admitted
	refused  bool   // read after admitted

	granted time.Time // its turn came; of the goroutine that runs it
	opened  time.Time // its sandbox was there; likewise

	mu     sync.Mutex
	x      Execution
	cancel bool // Cancel was called
}

func (a *active) ID() ID { return a.Snapshot().ID }

func (a *active) Snapshot() Execution {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.x.clone()
}

func (a *active) Wait(ctx context.Context) (Execution, error) {
	select {
	case <-a.done:
		return a.Snapshot(), nil
	case <-ctx.Done():
		return Execution{}, canceled(ctx, "sandbox.Wait")
	}
}

func (a *active) Events(ctx context.Context, after uint64) iter.Seq2[Event, error] {
	return a.log.all(ctx, after)
}

func (a *active) Cancel() {
	a.mu.Lock()
	a.cancel = true
	stop := a.stop
	a.mu.Unlock()
	stop()
}

// started says how to stop a from now on; one that was cancelled before is stopped at once.
func (a *active) started(stop context.CancelFunc) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stop = stop
	if a.cancel {
		stop()
	}
}

// update changes the record under its lock and returns a copy.
func (a *active) update(change func(*Execution)) Execution {
	a.mu.Lock()
	defer a.mu.Unlock()
	change(&a.x)
	return a.x.clone()
}

// clone copies what a later update could change. Byte slices are shared: they are never changed once set.
func (x *Execution) clone() Execution {
	c := *x
	if x.Compile != nil {
		step := *x.Compile
		c.Compile = &step
	}
	c.LimitsHit, c.Clamped, c.Unenforced = slices.Clone(x.LimitsHit), slices.Clone(x.Clamped), slices.Clone(x.Unenforced)
	return c
}

// finished is a [Handle] on an execution that was done before: its events are told from the record.
type finished struct{ x Execution }

func (f finished) ID() ID                                  { return f.x.ID }
func (f finished) Snapshot() Execution                     { return f.x }
func (f finished) Wait(context.Context) (Execution, error) { return f.x, nil }
func (f finished) Cancel()                                 {}

func (f finished) Events(_ context.Context, after uint64) iter.Seq2[Event, error] {
	events := []Event{{Kind: EventStarted, Execution: &f.x}}
	output := func(s *Step, compile bool) {
		if len(s.Stdout) > 0 {
			events = append(events, Event{Kind: EventStdout, Data: s.Stdout, Compile: compile})
		}
		if len(s.Stderr) > 0 {
			events = append(events, Event{Kind: EventStderr, Data: s.Stderr, Compile: compile})
		}
	}
	if f.x.Compile != nil {
		output(f.x.Compile, true)
	}
	output(&f.x.Step, false)
	events = append(events, Event{Kind: EventResult, Execution: &f.x})
	return func(yield func(Event, error) bool) {
		for i, e := range events {
			if e.Seq = uint64(i + 1); e.Seq > after && !yield(e, nil) {
				return
			}
		}
	}
}
