package sandbox

import (
	"context"
	"time"
)

// Observer is told what executions came to, for statistics. Its method must return at once, and can be called from any
// goroutine.
type Observer interface {
	// ExecutionDone is called once for each execution that this engine took to an end, before its caller is answered.
	ExecutionDone(o Observation)
}

// Observation is what an execution came to, in figures.
type Observation struct {
	Language string // the recipe's name
	Verdict  Verdict
	Queue    time.Duration // from the request until its turn, or until it was given up
	Start    time.Duration // from its turn until its sandbox was there; 0 when it never was
	Run      time.Duration // wall time of the program; 0 when it did not run
}

// Counts are what an [Engine] has at one moment.
type Counts struct {
	Admission AdmissionStats
	Boxes     int // sandboxes, those included that are being made or taken apart
	Slots     int // in them
	Ready     bool
}

// Counts returns the counts of this moment.
func (e *Engine) Counts() Counts {
	return Counts{Admission: e.admit.Stats(), Boxes: e.o.IDs.InUse(), Slots: int(e.slots.Load()), Ready: e.Ready() == nil}
}

// observe tells the observer of an execution that is done.
func (e *Engine) observe(a *active, x *Execution) {
	if e.o.Observer == nil {
		return
	}
	o := Observation{Language: x.Language, Verdict: x.Verdict, Queue: x.EndedAt.Sub(x.CreatedAt), Run: x.Usage.Wall}
	if !a.granted.IsZero() {
		o.Queue = a.granted.Sub(x.CreatedAt)
	}
	if !a.opened.IsZero() {
		o.Start = a.opened.Sub(a.granted)
	}
	e.o.Observer.ExecutionDone(o)
}

// countSlot counts a slot of b until b is closed.
func (e *Engine) countSlot(b *box) {
	e.slots.Add(1)
	b.undo.add(func(context.Context) error {
		e.slots.Add(-1)
		return nil
	})
}
