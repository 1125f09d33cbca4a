package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/soulbox/soulbox/sandbox"
	"github.com/soulbox/soulbox/store"
)

// The indexes of the executions' table. What their entries hold must not change while the names stay.
const (
	byNewest     = "newest"     // tenant, time of creation; the note is the state and the language
	byRequest    = "request"    // tenant, client, request id
	byUnfinished = "unfinished" // all that are not done
	byEnd        = "end"        // tenant, time of the end, of those that are done; the note is an endNote
	byOutput     = "output"     // likewise, of those that have output
)

// journal keeps executions in the store. It implements [sandbox.Journal].
type journal struct {
	store      *store.Store
	codec      *executionCodec
	executions *store.Table[executionRow]
	boxes      *store.Table[boxRecord]
	blocks     *store.Table[blockRecord]
	sandboxes  *store.Table[sandboxRecord]
	kept       *tally // of executions that are done
}

var _ sandbox.Journal = (*journal)(nil)

// newJournal returns the journal in s. There can be one in a store. Records that an older program wrote are brought into
// the indexes first, and what is kept is counted, in the index alone.
func newJournal(ctx context.Context, s *store.Store) (*journal, error) {
	type entry = store.Entry
	codec, err := newExecutionCodec()
	if err != nil {
		return nil, err
	}
	t, err := store.NewTable(s, "executions", store.Codec[executionRow]{Encode: codec.encode, Decode: codec.decode, Size: outputSize},
		store.Index[executionRow]{Name: byNewest, Entry: func(_ store.Key, r executionRow) (entry, bool) {
			return entry{Parts: [][]byte{store.NewestFirst(r.x.CreatedAt)}, Note: append([]byte{byte(r.x.State)}, r.x.Language...)}, true
		}},
		store.Index[executionRow]{Name: byRequest, Mode: store.Last, Entry: func(_ store.Key, r executionRow) (entry, bool) {
			return entry{Parts: requestParts(r.x.Client, r.x.RequestID)}, r.x.RequestID != ""
		}},
		store.Index[executionRow]{Name: byUnfinished, Entry: func(_ store.Key, r executionRow) (entry, bool) {
			return entry{}, r.x.State != sandbox.StateDone
		}},
		store.Index[executionRow]{Name: byEnd, Entry: func(_ store.Key, r executionRow) (entry, bool) {
			return r.endEntry(), r.x.State == sandbox.StateDone
		}},
		store.Index[executionRow]{Name: byOutput, Entry: func(_ store.Key, r executionRow) (entry, bool) {
			return r.endEntry(), r.x.State == sandbox.StateDone && hasOutput(r.x)
		}},
	)
	if err != nil {
		return nil, fmt.Errorf("open table of executions: %w", err)
	}
	j := &journal{store: s, codec: codec, executions: t, kept: &tally{}}
	if j.boxes, err = store.NewTable(s, "sandboxes", store.JSON[boxRecord]()); err != nil {
		return nil, fmt.Errorf("open table of sandboxes: %w", err)
	}
	if j.blocks, err = store.NewTable(s, "blocks", store.JSON[blockRecord]()); err != nil {
		return nil, fmt.Errorf("open table of id blocks: %w", err)
	}
	if j.sandboxes, err = newSandboxTable(s); err != nil {
		return nil, fmt.Errorf("open table of sandboxes that live on: %w", err)
	}
	if _, err := t.Reindex(ctx); err != nil {
		return nil, err
	}
	if _, err := j.sandboxes.Reindex(ctx); err != nil {
		return nil, err
	}
	return j, j.count(ctx)
}

func requestParts(client, requestID string) [][]byte {
	return [][]byte{[]byte(client), []byte(requestID)}
}

// Put implements [sandbox.Journal].
func (j *journal) Put(ctx context.Context, x *sandbox.Execution) error {
	batch := j.store.NewBatch()
	counted, err := j.putTo(batch, x)
	if err == nil {
		err = batch.Commit(ctx)
	}
	if err == nil {
		counted()
	}
	return journalError("put", err)
}

// putTo adds to batch: store x. What it returns counts it, once the batch is committed.
func (j *journal) putTo(batch *store.Batch, x *sandbox.Execution) (counted func(), err error) {
	row, err := j.codec.row(x)
	if err != nil {
		return nil, fmt.Errorf("encode execution %s: %w", x.ID, err)
	}
	var change usage
	j.executions.PutTo(batch, store.Key{Tenant: x.Tenant, ID: string(x.ID)}, row, func(old *executionRow) error {
		change = row.usage()
		if old != nil {
			change = change.less(old.usage())
		}
		return nil
	})
	return func() { j.kept.add(x.Tenant, change) }, nil
}

// Get implements [sandbox.Journal].
func (j *journal) Get(ctx context.Context, tenant string, id sandbox.ID) (*sandbox.Execution, error) {
	r, err := j.executions.Get(ctx, store.Key{Tenant: tenant, ID: string(id)})
	return r.x, journalError("get", err)
}

// ByRequest implements [sandbox.Journal].
func (j *journal) ByRequest(ctx context.Context, tenant, client, requestID string) (*sandbox.Execution, error) {
	_, r, err := j.executions.Lookup(ctx, byRequest, tenant, requestParts(client, requestID)...)
	return r.x, journalError("look up by request id", err)
}

// List implements [sandbox.Journal]. A page ends before limit where its records grow large, so a page can be short of
// limit and still have a next one.
func (j *journal) List(ctx context.Context, tenant string, f sandbox.Filter, limit int, cursor string) ([]*sandbox.Execution, string, error) {
	q := store.Query{Tenant: tenant, Index: byNewest, Limit: limit, Cursor: cursor}
	if f != (sandbox.Filter{}) {
		q.Scope = fmt.Sprintf("%d %s", f.State, f.Language)
		q.Keep = func(note []byte) bool {
			return len(note) > 0 && (f.State == sandbox.StateUnspecified || note[0] == byte(f.State)) &&
				(f.Language == "" || string(note[1:]) == f.Language)
		}
	}
	page, err := j.executions.Scan(ctx, q)
	if err != nil {
		return nil, "", journalError("list", err)
	}
	list := make([]*sandbox.Execution, len(page.Rows))
	for i, r := range page.Rows {
		list[i] = r.Value.x
	}
	return list, page.Next, nil
}

// Unfinished implements [sandbox.Journal].
func (j *journal) Unfinished(ctx context.Context, fn func(*sandbox.Execution) error) error {
	q := store.Query{AllTenants: true, Index: byUnfinished}
	err := j.executions.Each(ctx, q, func(r store.Row[executionRow]) error { return fn(r.Value.x) })
	return journalError("list unfinished", err)
}

// journalError says what the store's errors mean to package sandbox. fn's own errors pass through Unfinished as they are.
func journalError(attempt string, err error) error {
	const op = "sandbox.Journal"
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrNotFound):
		return sandbox.ErrNotFound
	case errors.Is(err, store.ErrCursor):
		return &sandbox.Error{Op: op, Kind: sandbox.KindInvalid, Reason: "INVALID_PAGE_TOKEN", Field: "pageToken",
			Msg: "the page token is not one of this listing: start again without one", Err: err}
	case errors.Is(err, store.ErrClosed):
		return &sandbox.Error{Op: op, Kind: sandbox.KindUnavailable, Reason: "STOPPING", Msg: "the daemon is stopping", Err: err}
	}
	return fmt.Errorf("%s executions: %w", attempt, err)
}
