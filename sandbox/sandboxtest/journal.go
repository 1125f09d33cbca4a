package sandboxtest

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/soulbox/soulbox/sandbox"
)

// Journal is a [sandbox.Journal] and a [sandbox.SandboxJournal] in memory. Err, when set, is what every write answers:
// for failure injection.
type Journal struct {
	mu     sync.Mutex
	rows   map[sandbox.ID]sandbox.Execution
	boxes  map[sandbox.ID]sandbox.BoxRecord
	living map[sandbox.ID]sandbox.Sandbox // those that have ended, too
	err    error
}

// NewJournal returns an empty journal.
func NewJournal() *Journal {
	return &Journal{rows: map[sandbox.ID]sandbox.Execution{}, boxes: map[sandbox.ID]sandbox.BoxRecord{}, living: map[sandbox.ID]sandbox.Sandbox{}}
}

// Fail makes every following write answer err; nil ends that.
func (j *Journal) Fail(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.err = err
}

// Put implements [sandbox.Journal].
func (j *Journal) Put(_ context.Context, x *sandbox.Execution) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err != nil {
		return j.err
	}
	j.rows[x.ID] = *x
	return nil
}

// Get implements [sandbox.Journal].
func (j *Journal) Get(_ context.Context, tenant string, id sandbox.ID) (*sandbox.Execution, error) {
	return j.find(func(x sandbox.Execution) bool { return x.ID == id && x.Tenant == tenant })
}

// ByRequest implements [sandbox.Journal].
func (j *Journal) ByRequest(_ context.Context, tenant, client, requestID string) (*sandbox.Execution, error) {
	return j.find(func(x sandbox.Execution) bool {
		return x.Tenant == tenant && x.Client == client && x.RequestID == requestID
	})
}

func (j *Journal) find(match func(sandbox.Execution) bool) (*sandbox.Execution, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, x := range j.rows {
		if match(x) {
			return &x, nil
		}
	}
	return nil, sandbox.ErrNotFound
}

// List implements [sandbox.Journal]; the cursor is the last id of a page.
func (j *Journal) List(_ context.Context, tenant string, f sandbox.Filter, limit int, cursor string) ([]*sandbox.Execution, string, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	var all []*sandbox.Execution
	for _, x := range j.rows {
		if x.Tenant == tenant && (f.State == 0 || f.State == x.State) && (f.Language == "" || f.Language == x.Language) {
			all = append(all, &x)
		}
	}
	slices.SortFunc(all, func(a, b *sandbox.Execution) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	if cursor != "" {
		i := slices.IndexFunc(all, func(x *sandbox.Execution) bool { return string(x.ID) == cursor })
		all = all[i+1:]
	}
	if len(all) <= limit {
		return all, "", nil
	}
	return all[:limit], string(all[limit-1].ID), nil
}

// Unfinished implements [sandbox.Journal].
func (j *Journal) Unfinished(_ context.Context, fn func(*sandbox.Execution) error) error {
	j.mu.Lock()
	var left []sandbox.Execution
	for _, x := range j.rows {
		if x.State != sandbox.StateDone {
			left = append(left, x)
		}
	}
	j.mu.Unlock()
	for _, x := range left {
		if err := fn(&x); err != nil {
			return err
		}
	}
	return nil
}

// OpenBox implements [sandbox.Journal].
func (j *Journal) OpenBox(_ context.Context, b sandbox.BoxRecord, x *sandbox.Execution) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err != nil {
		return j.err
	}
	for _, other := range j.boxes {
		if other.Block == b.Block {
			return fmt.Errorf("sandbox %s holds block %d", other.ID, b.Block)
		}
	}
	j.boxes[b.ID] = b
	if x != nil {
		j.rows[x.ID] = *x
	}
	return nil
}

// CloseBox implements [sandbox.Journal].
func (j *Journal) CloseBox(_ context.Context, b sandbox.BoxRecord) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err != nil {
		return j.err
	}
	delete(j.boxes, b.ID)
	return nil
}

// Boxes implements [sandbox.Journal].
func (j *Journal) Boxes(_ context.Context, fn func(sandbox.BoxRecord) error) error {
	j.mu.Lock()
	boxes := slices.Collect(maps.Values(j.boxes))
	j.mu.Unlock()
	for _, b := range boxes {
		if err := fn(b); err != nil {
			return err
		}
	}
	return nil
}
