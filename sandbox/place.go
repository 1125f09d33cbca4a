package sandbox

import (
	"context"
	"fmt"
	"time"
)

type placeState int

const (
	placeReserved placeState = iota // in the queue, not in line: its request is still being read
	placeWaiting                    // in line
	placeGranted                    // runs
	placeReleased
)

// Place is a place in the queue of an [Admission], and the permission to run once Wait has granted it.
type Place struct {
	admission  *Admission
	client     string
	maxRunning int           // its client's own bound; zero: none
	ready      chan struct{} // closed when the place is granted, or released while waiting

	// All below is guarded by admission.mu.
	state    placeState
	memory   int64 // bytes; set by Wait
	bypassed int   // times that others were granted in its turn
	granted  time.Time
}

// Wait blocks until the execution may run with memory bytes, all that its sandbox may use. It is called once. On an
// error the place is released; a request for more than there will ever be fails at once.
func (p *Place) Wait(ctx context.Context, memory int64) error {
	if err := canceled(ctx, "sandbox.Wait"); err != nil {
		p.Release()
		return err
	}
	if err := p.enter(max(memory, 0)); err != nil {
		p.Release()
		return err
	}
	select {
	case <-p.ready:
	case <-ctx.Done():
	}
	a := p.admission
	a.mu.Lock()
	state := p.state
	a.mu.Unlock()
	if state == placeGranted { // even if ctx has ended meanwhile: the owner releases it
		return nil
	}
	p.Release()
	if err := canceled(ctx, "sandbox.Wait"); err != nil {
		return err
	}
	return &Error{Op: "sandbox.Wait", Kind: KindCanceled, Reason: "CANCELED", Msg: "the place in the queue was given up"}
}

func (p *Place) enter(memory int64) error {
	a := p.admission
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case memory > a.opts.Memory:
		return &Error{Op: "sandbox.Wait", Kind: KindInvalid, Reason: "MEMORY_NEVER_FITS", Field: "limits." + string(LimitMemory),
			Msg: fmt.Sprintf("needs %d bytes with its sandbox; this server gives all executions together %d", memory, a.opts.Memory)}
	case p.state == placeReleased:
		return &Error{Op: "sandbox.Wait", Kind: KindCanceled, Reason: "CANCELED", Msg: "the place in the queue was given up"}
	case p.state != placeReserved:
		return &Error{Op: "sandbox.Wait", Kind: KindInternal, Reason: "INTERNAL", Msg: "the place has been waited for before"}
	}
	p.state, p.memory = placeWaiting, memory
	a.enqueueLocked(p)
	a.grantLocked()
	return nil
}

// Release gives the place back, wherever it is: reserved, waiting (its Wait then fails) or running. Further calls, and
// calls on nil, do nothing.
func (p *Place) Release() {
	if p == nil {
		return
	}
	a := p.admission
	a.mu.Lock()
	defer a.mu.Unlock()
	switch p.state {
	case placeReserved:
		a.leaveQueueLocked(p)
	case placeWaiting:
		a.leaveQueueLocked(p)
		a.dequeueLocked(p)
		close(p.ready)
	case placeGranted:
		a.running--
		release(a.busy, p.client)
		a.memory -= p.memory
		a.service += (time.Since(p.granted) - a.service) / 8
	case placeReleased:
		return
	}
	p.state = placeReleased
	a.grantLocked()
}
