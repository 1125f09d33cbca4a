package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/soulbox/soulbox/sandbox"
	"github.com/soulbox/soulbox/store"
)

// boxRecord is how a sandbox lies on disk; see executionRecord.
type boxRecord struct {
	Execution sandbox.ID `json:"execution"`
	Runtime   string     `json:"runtime"`
	Block     int        `json:"block"`
	CreatedAt time.Time  `json:"createdAt"`
}

// blockRecord says who holds a block of ids.
type blockRecord struct {
	Tenant  string     `json:"tenant"`
	Sandbox sandbox.ID `json:"sandbox"`
}

// blockKey is of one tenant for all: ids are the host's, so no two tenants hold one block.
func blockKey(block int) store.Key {
	return store.Key{Tenant: sandbox.SystemTenant, ID: strconv.Itoa(block)}
}

// OpenBox implements [sandbox.Journal].
func (j *journal) OpenBox(ctx context.Context, b sandbox.BoxRecord, x *sandbox.Execution) error {
	batch := j.store.NewBatch()
	j.boxes.PutTo(batch, store.Key{Tenant: b.Tenant, ID: string(b.ID)},
		boxRecord{Execution: b.Execution, Runtime: b.Runtime, Block: b.Block, CreatedAt: b.CreatedAt}, nil)
	j.blocks.PutTo(batch, blockKey(b.Block), blockRecord{Tenant: b.Tenant, Sandbox: b.ID}, func(old *blockRecord) error {
		if old != nil && old.Sandbox != b.ID {
			return fmt.Errorf("block %d is held by sandbox %s", b.Block, old.Sandbox)
		}
		return nil
	})
	counted := func() {}
	if x != nil {
		var err error
		if counted, err = j.putTo(batch, x); err != nil {
			return journalError("open a sandbox for", err)
		}
	}
	err := batch.Commit(ctx)
	if err == nil {
		counted()
	}
	return journalError("open a sandbox for", err)
}

// CloseBox implements [sandbox.Journal].
func (j *journal) CloseBox(ctx context.Context, b sandbox.BoxRecord) error {
	batch := j.store.NewBatch()
	j.boxes.DeleteTo(batch, store.Key{Tenant: b.Tenant, ID: string(b.ID)})
	j.blocks.DeleteTo(batch, blockKey(b.Block))
	return journalError("close the sandbox of", batch.Commit(ctx))
}

// Boxes implements [sandbox.Journal].
func (j *journal) Boxes(ctx context.Context, fn func(sandbox.BoxRecord) error) error {
	return j.boxes.Each(ctx, store.Query{AllTenants: true}, func(r store.Row[boxRecord]) error {
		return fn(sandbox.BoxRecord{ID: sandbox.ID(r.Key.ID), Tenant: r.Key.Tenant, Execution: r.Value.Execution,
			Runtime: r.Value.Runtime, Block: r.Value.Block, CreatedAt: r.Value.CreatedAt})
	})
}
