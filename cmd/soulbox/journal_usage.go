package main

import (
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/soulbox/soulbox/sandbox"
	"github.com/soulbox/soulbox/store"
)

// usage is what some executions that are done take.
type usage struct {
	count int64
	bytes int64 // as stored, without indexes
}

func (u usage) plus(o usage) usage { return usage{u.count + o.count, u.bytes + o.bytes} }
func (u usage) less(o usage) usage { return usage{u.count - o.count, u.bytes - o.bytes} }

// usage of one that is not done is none: it is not there to be forgotten.
func (r *executionRow) usage() usage {
	if r.x.State != sandbox.StateDone {
		return usage{}
	}
	return usage{1, int64(r.size)}
}

// endEntry is an execution's place in the order of ends.
func (r *executionRow) endEntry() store.Entry {
	note := binary.BigEndian.AppendUint64(nil, uint64(r.x.EndedAt.UnixNano()))
	return store.Entry{Parts: [][]byte{store.OldestFirst(r.x.EndedAt)}, Note: binary.AppendUvarint(note, uint64(r.size))}
}

// readEnd reads the note of an endEntry.
func readEnd(note []byte) (ended time.Time, u usage, err error) {
	if len(note) <= 8 {
		return ended, u, errEndNote
	}
	size, n := binary.Uvarint(note[8:])
	if n <= 0 {
		return ended, u, errEndNote
	}
	return time.Unix(0, int64(binary.BigEndian.Uint64(note))), usage{1, int64(size)}, nil
}

var errEndNote = errors.New("damaged entry of an execution's end")

// tally counts what is kept of each tenant. It lives in memory: a start counts the index, which is written with the rows,
// and every change after that is added once it is on disk.
type tally struct {
	mu       sync.Mutex
	byTenant map[string]usage
	changed  func(tenant string, now usage) // called after each change, without the lock; may be nil
}

func (t *tally) add(tenant string, u usage) {
	if u == (usage{}) {
		return
	}
	t.mu.Lock()
	if t.byTenant == nil {
		t.byTenant = map[string]usage{}
	}
	now := t.byTenant[tenant].plus(u)
	if t.byTenant[tenant] = now; now == (usage{}) {
		delete(t.byTenant, tenant)
	}
	changed := t.changed
	t.mu.Unlock()
	if changed != nil {
		changed(tenant, now)
	}
}

// onChange makes fn be called after each change.
func (t *tally) onChange(fn func(tenant string, now usage)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.changed = fn
}

func (t *tally) of(tenant string) usage {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byTenant[tenant]
}

func (t *tally) tenants() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Sorted(maps.Keys(t.byTenant))
}

// count fills the tally from the index.
func (j *journal) count(ctx context.Context) error {
	q := store.Query{AllTenants: true, Index: byEnd}
	return j.executions.Entries(ctx, q, func(k store.Key, note []byte) (bool, error) {
		_, u, err := readEnd(note)
		j.kept.add(k.Tenant, u)
		return true, err
	})
}
