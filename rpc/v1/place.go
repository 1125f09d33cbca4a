package v1

import (
	"context"
	"sync"

	"github.com/soulbox/soulbox/sandbox"
)

// Ticket carries a place in the queue from where it was taken, before the body was read, to the handler that uses it.
type Ticket struct {
	mu    sync.Mutex
	place *sandbox.Place // nil once taken
}

// NewTicket returns a ticket for p, which it owns until the ticket is taken or closed.
func NewTicket(p *sandbox.Place) *Ticket { return &Ticket{place: p} }

// Take returns the place, now the caller's, or nil when there is none left.
func (t *Ticket) Take() *sandbox.Place {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.place
	t.place = nil
	return p
}

// Close releases the place if nobody took it. Closing twice is safe.
func (t *Ticket) Close() {
	if p := t.Take(); p != nil {
		p.Release()
	}
}

type ticketKey struct{}

// WithTicket returns a context whose execution takes its place from t.
func WithTicket(ctx context.Context, t *Ticket) context.Context {
	return context.WithValue(ctx, ticketKey{}, t)
}

// takePlace returns the place that came with ctx, nil without.
func takePlace(ctx context.Context) *sandbox.Place {
	if t, ok := ctx.Value(ticketKey{}).(*Ticket); ok {
		return t.Take()
	}
	return nil
}
