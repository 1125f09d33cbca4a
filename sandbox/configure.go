package sandbox

import "time"

// Live is what of an engine's [Options] can change while it runs.
type Live struct {
	Policy     Policy
	Drain      time.Duration
	MaxQueue   int
	MaxRunning int
}

// live is what requests read of a [Live]; it is replaced, never changed.
type live struct {
	policy Policy
	drain  time.Duration
}

// Configure changes what can change: requests that come after it are held to it, and places in the queue are granted
// by the new bounds. Zero fields mean what they mean in [Options].
func (e *Engine) Configure(l Live) {
	e.live.Store(newLive(l.Policy, l.Drain))
	e.admit.Resize(l.MaxQueue, l.MaxRunning)
}

func newLive(p Policy, drain time.Duration) *live {
	if drain == 0 {
		drain = 10 * time.Second
	}
	return &live{policy: p.clone(), drain: drain}
}

// HasRules tells whether the policy has something of its own for a client.
func (e *Engine) HasRules(client string) bool {
	p := &e.live.Load().policy
	return p.Names(client, e.clientName(p, client))
}

// clientName returns the name of a client, where p could have something for it by name.
func (e *Engine) clientName(p *Policy, client string) string {
	if _, known := p.Keys[client]; known || len(p.Keys) == 0 || client == "" || e.o.ClientName == nil {
		return ""
	}
	return e.o.ClientName(client)
}

// rules returns what binds a client, as it is now; the empty client is bound by what binds all.
func (e *Engine) rules(client string) Rules {
	p := &e.live.Load().policy
	r := p.For(client, e.clientName(p, client))
	r.Sandboxes = r.Sandboxes.withDefaults()
	// What could never be admitted is clamped, and listed, instead of refused.
	if most := e.admit.Stats().Memory - boxReserve; r.Max.Memory == 0 || r.Max.Memory > most {
		r.Max.Memory = max(most, MinMemory)
	}
	return r
}
