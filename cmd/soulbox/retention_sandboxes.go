package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/soulbox/soulbox/cmd/soulbox/config"
	"github.com/soulbox/soulbox/store"
)

// endedSandboxEntry is the place of a sandbox that has ended in the order of ends.
func endedSandboxEntry(r *sandboxRecord) store.Entry {
	return store.Entry{Parts: [][]byte{store.OldestFirst(r.EndedAt)}, Note: binary.BigEndian.AppendUint64(nil, uint64(r.EndedAt.UnixNano()))}
}

// sweepSandboxes forgets the records of sandboxes that have ended by the rules for ages and numbers. They are few beside
// executions, so what is kept is counted in the index each time.
func (r *retention) sweepSandboxes(ctx context.Context) error {
	rules := r.rules.Load()
	bounds, now, total := &config.Retention{MaxAge: rules.MaxAge, MaxCount: rules.MaxCount}, r.now(), 0
	if *bounds == (config.Retention{}) {
		return nil
	}
	kept := map[string]int64{}
	all := store.Query{AllTenants: true, Index: byEnd}
	if err := r.j.sandboxes.Entries(ctx, all, func(k store.Key, _ []byte) (bool, error) {
		kept[k.Tenant]++
		return true, nil
	}); err != nil {
		return fmt.Errorf("count sandboxes that have ended: %w", err)
	}
	for more := true; more; {
		var batch []store.Key
		more = false
		err := r.j.sandboxes.Entries(ctx, all, func(k store.Key, note []byte) (bool, error) {
			if len(note) != 8 {
				return false, errEndNote
			}
			ended := time.Unix(0, int64(binary.BigEndian.Uint64(note)))
			if !due(bounds, ended, now, usage{count: kept[k.Tenant]}) {
				return true, nil
			}
			batch = append(batch, k)
			kept[k.Tenant]--
			more = len(batch) == sweepRows
			return !more, nil
		})
		if err == nil {
			err = r.deleteSandboxes(ctx, batch)
		}
		if err != nil {
			return fmt.Errorf("forget sandboxes: %w", err)
		}
		total += len(batch)
	}
	if total > 0 {
		r.log.Debug("forgot what was old", "what", "sandboxes", "number", total)
	}
	return nil
}

func (r *retention) deleteSandboxes(ctx context.Context, keys []store.Key) error {
	batch := r.j.store.NewBatch()
	for _, k := range keys {
		r.j.sandboxes.DeleteTo(batch, k)
	}
	return batch.Commit(ctx)
}
