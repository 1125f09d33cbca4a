package sandbox

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"
)

// errDraining is why executions end that outlast the drain.
var errDraining = errors.New("the daemon is stopping")

// Close refuses new executions, grants running ones the drain, cancels the rest and returns when all are settled and all
// sandboxes have ended.
func (e *Engine) Close(ctx context.Context) error {
	if !e.refuseNew() {
		return nil
	}
	e.boxes.close()
	e.drain(ctx, &e.wg)
	return nil
}

// Drain refuses new executions, grants running ones the drain, cancels the rest and returns when all are settled. It is
// for a daemon that another one follows at once: sandboxes that live on do so, and can be used until Leave.
func (e *Engine) Drain(ctx context.Context) {
	if e.refuseNew() {
		e.drain(ctx, &e.runs)
	}
}

// Leave ends what Drain left of the engine, and leaves the sandboxes to the next one, which adopts them.
func (e *Engine) Leave() {
	e.boxes.leave()
	e.wg.Wait()
}

// refuseNew closes the engine to new executions. It is false when that was done before.
func (e *Engine) refuseNew() bool {
	e.mu.Lock()
	was := e.closed
	e.closed = true
	e.mu.Unlock()
	if !was {
		e.admit.Drain()
	}
	return !was
}

// drain waits for a group, and cancels what outlasts the time that it is granted.
func (e *Engine) drain(ctx context.Context, group *sync.WaitGroup) {
	idle := make(chan struct{})
	go func() {
		group.Wait()
		close(idle)
	}()
	grace := time.NewTimer(e.live.Load().drain)
	defer grace.Stop()
	select {
	case <-idle:
	case <-grace.C:
	case <-ctx.Done():
	}
	e.stop(errDraining)
	<-idle
}

// close ends all sandboxes: the daemon stops for good, and its supervisor with it.
func (s *Sandboxes) close() {
	all := s.refuseNew()
	for _, l := range all {
		l.end(SandboxStopped, "the daemon stopped")
	}
	for _, l := range all {
		<-l.gone
	}
	s.opened.Wait()
}

// leave lets go of all sandboxes. Those that are being made end, as with a daemon that stops.
func (s *Sandboxes) leave() {
	s.refuseNew()
	s.opened.Wait()
	for _, l := range s.refuseNew() {
		l.leave()
	}
}

// refuseNew closes the list to new sandboxes, and returns those that live.
func (s *Sandboxes) refuseNew() []*living {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return slices.Collect(maps.Values(s.byID))
}

// leave ends the keeper of a sandbox, and not the sandbox, unless its end was decided before.
func (l *living) leave() {
	l.mu.Lock()
	if l.verdict == nil {
		l.left = true
		l.stop()
	}
	l.mu.Unlock()
	<-l.gone
}
