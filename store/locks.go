package store

import (
	"context"
	"slices"
	"sync"
)

// locks gives each key a lock of its own. A writer holds its keys' locks until its batch is synced: writers of
// different rows still share a sync, and one that is refused because a row exists knows that the row is on disk.
type locks struct {
	mu   sync.Mutex
	held map[string]*lock
}

type lock struct {
	slot  chan struct{} // holds one value while the lock is taken
	users int           // holder and waiters, guarded by locks.mu
}

// acquire takes the locks of keys in sorted order and returns what releases them. On ctx's end it holds none.
func (l *locks) acquire(ctx context.Context, keys []string) (release func(), err error) {
	keys = slices.Compact(slices.Sorted(slices.Values(keys)))
	taken := 0
	release = func() {
		for _, k := range keys[:taken] {
			l.release(k)
		}
	}
	for _, k := range keys {
		if err := l.lock(ctx, k); err != nil {
			release()
			return nil, err
		}
		taken++
	}
	return release, nil
}

func (l *locks) lock(ctx context.Context, key string) error {
	l.mu.Lock()
	if l.held == nil {
		l.held = map[string]*lock{}
	}
	k := l.held[key]
	if k == nil {
		k = &lock{slot: make(chan struct{}, 1)}
		l.held[key] = k
	}
	k.users++
	l.mu.Unlock()
	select {
	case k.slot <- struct{}{}:
		return nil
	case <-ctx.Done():
		l.forget(key, k)
		return context.Cause(ctx)
	}
}

func (l *locks) release(key string) {
	l.mu.Lock()
	k := l.held[key]
	l.mu.Unlock()
	<-k.slot
	l.forget(key, k)
}

func (l *locks) forget(key string, k *lock) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k.users--; k.users == 0 {
		delete(l.held, key)
	}
}
