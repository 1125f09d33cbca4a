package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/soulbox/soulbox/rpc/client"
)

// patience is how commands wait for a daemon that is there and cannot run programs yet.
type patience struct {
	ask  time.Duration // from one question to the next
	say  time.Duration // after this long the user is told
	most time.Duration // from then on

	limit func(context.Context, time.Duration) (context.Context, context.CancelFunc) // context.WithTimeout
}

// patient is what users get.
func patient() patience {
	return patience{ask: 50 * time.Millisecond, say: time.Second, most: 29 * time.Second, limit: context.WithTimeout}
}

// await returns once daemon can run programs. The error is errNoDaemon where none is, [client.ErrNotReady] where one is that
// did not become ready in time, and the cause of ctx's end.
func (p patience) await(ctx context.Context, daemon *client.Client, stderr io.Writer) error {
	tell := sync.OnceFunc(func() { fmt.Fprintln(stderr, "soulbox: waiting for the daemon, which is not ready yet") })
	again, err := p.poll(ctx, daemon, p.say, func() {})
	if again {
		if ctx.Err() == nil && errors.Is(err, client.ErrNotReady) {
			tell()
		}
		_, err = p.poll(ctx, daemon, p.most, tell)
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, client.ErrNotReady):
		return fmt.Errorf("a daemon is there, but was not ready within %s (%w); its log says why, and its /readyz answers 200 when it is",
			p.say+p.most, err)
	default:
		return fmt.Errorf("%w (%w)", errNoDaemon, err)
	}
}

// poll asks until daemon is ready or is not there at all, and calls notReady each time that it is there and not ready.
// again is set when the time was up before.
func (p patience) poll(ctx context.Context, daemon *client.Client, within time.Duration, notReady func()) (again bool, err error) {
	asking, cancel := p.limit(ctx, within)
	defer cancel()
	for {
		last := daemon.Ready(asking)
		switch {
		case last == nil:
			return false, nil
		case asking.Err() != nil:
			return true, cmp.Or(err, last) // what was answered before says more than that time was up
		case !errors.Is(last, client.ErrNotReady):
			return false, last
		}
		err = last
		notReady()
		select {
		case <-time.After(p.ask):
		case <-asking.Done():
			return true, err
		}
	}
}
