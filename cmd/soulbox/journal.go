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
)

// journal keeps executions in the store. It implements [sandbox.Journal].
type journal struct {
	store      *store.Store
	executions *store.Table[*sandbox.Execution]
	boxes      *store.Table[boxRecord]
	blocks     *store.Table[blockRecord]
	sandboxes  *store.Table[sandboxRecord]
}

var _ sandbox.Journal = (*journal)(nil)

// newJournal returns the journal in s. There can be one in a store.
func newJournal(s *store.Store) (*journal, error) {
	type entry = store.Entry
	t, err := store.NewTable(s, "executions", executionCodec(),
		store.Index[*sandbox.Execution]{Name: byNewest, Entry: func(_ store.Key, x *sandbox.Execution) (entry, bool) {
			return entry{Parts: [][]byte{store.NewestFirst(x.CreatedAt)}, Note: append([]byte{byte(x.State)}, x.Language...)}, true
		}},
		store.Index[*sandbox.Execution]{Name: byRequest, Mode: store.Last, Entry: func(_ store.Key, x *sandbox.Execution) (entry, bool) {
			return entry{Parts: requestParts(x.Client, x.RequestID)}, x.RequestID != ""
		}},
		store.Index[*sandbox.Execution]{Name: byUnfinished, Entry: func(_ store.Key, x *sandbox.Execution) (entry, bool) {
			return entry{}, x.State != sandbox.StateDone
		}},
	)
	if err != nil {
		return nil, fmt.Errorf("open table of executions: %w", err)
	}
	j := &journal{store: s, executions: t}
	if j.boxes, err = store.NewTable(s, "sandboxes", store.JSON[boxRecord]()); err != nil {
		return nil, fmt.Errorf("open table of sandboxes: %w", err)
	}
	if j.blocks, err = store.NewTable(s, "blocks", store.JSON[blockRecord]()); err != nil {
		return nil, fmt.Errorf("open table of id blocks: %w", err)
	}
	if j.sandboxes, err = newSandboxTable(s); err != nil {
		return nil, fmt.Errorf("open table of sandboxes that live on: %w", err)
	}
	return j, nil
}

func requestParts(client, requestID string) [][]byte {
	return [][]byte{[]byte(client), []byte(requestID)}
}

// Put implements [sandbox.Journal].
func (j *journal) Put(ctx context.Context, x *sandbox.Execution) error {
	return journalError("put", j.executions.Put(ctx, store.Key{Tenant: x.Tenant, ID: string(x.ID)}, x))
}

// Get implements [sandbox.Journal].
func (j *journal) Get(ctx context.Context, tenant string, id sandbox.ID) (*sandbox.Execution, error) {
	x, err := j.executions.Get(ctx, store.Key{Tenant: tenant, ID: string(id)})
	return x, journalError("get", err)
}

// ByRequest implements [sandbox.Journal].
func (j *journal) ByRequest(ctx context.Context, tenant, client, requestID string) (*sandbox.Execution, error) {
	_, x, err := j.executions.Lookup(ctx, byRequest, tenant, requestParts(client, requestID)...)
	return x, journalError("look up by request id", err)
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
		list[i] = r.Value
	}
	return list, page.Next, nil
}

// Unfinished implements [sandbox.Journal].
func (j *journal) Unfinished(ctx context.Context, fn func(*sandbox.Execution) error) error {
	q := store.Query{AllTenants: true, Index: byUnfinished}
	err := j.executions.Each(ctx, q, func(r store.Row[*sandbox.Execution]) error { return fn(r.Value) })
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
