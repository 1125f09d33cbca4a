package sandboxtest

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/soulbox/soulbox/sandbox"
)

// PutSandbox implements [sandbox.SandboxJournal].
func (j *Journal) PutSandbox(_ context.Context, s *sandbox.Sandbox) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err != nil {
		return j.err
	}
	j.living[s.ID] = *s
	return nil
}

// GetSandbox implements [sandbox.SandboxJournal].
func (j *Journal) GetSandbox(_ context.Context, tenant string, id sandbox.ID) (*sandbox.Sandbox, error) {
	return j.findSandbox(func(s sandbox.Sandbox) bool { return s.ID == id && s.Tenant == tenant })
}

// SandboxByRequest implements [sandbox.SandboxJournal]. The newest record counts.
func (j *Journal) SandboxByRequest(_ context.Context, tenant, client, requestID string) (*sandbox.Sandbox, error) {
	return j.findSandbox(func(s sandbox.Sandbox) bool {
		return s.Tenant == tenant && s.Client == client && s.RequestID == requestID && requestID != ""
	})
}

func (j *Journal) findSandbox(match func(sandbox.Sandbox) bool) (*sandbox.Sandbox, error) {
	for _, s := range j.newest() {
		if match(s) {
			return &s, nil
		}
	}
	return nil, sandbox.ErrNotFound
}

// newest returns all sandboxes, the newest first.
func (j *Journal) newest() []sandbox.Sandbox {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.SortedFunc(maps.Values(j.living), func(a, b sandbox.Sandbox) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
}

// ListSandboxes implements [sandbox.SandboxJournal]; the cursor is the last id of a page.
func (j *Journal) ListSandboxes(_ context.Context, tenant string, f sandbox.SandboxFilter, limit int, cursor string) ([]*sandbox.Sandbox, string, error) {
	var page []*sandbox.Sandbox
	for _, s := range j.newest() {
		switch {
		case cursor != "":
			if string(s.ID) == cursor {
				cursor = ""
			}
		case s.Tenant != tenant || !f.Selects(&s):
		case len(page) == limit:
			return page, string(page[limit-1].ID), nil
		default:
			page = append(page, &s)
		}
	}
	return page, "", nil
}

// LivingSandboxes implements [sandbox.SandboxJournal].
func (j *Journal) LivingSandboxes(_ context.Context, fn func(*sandbox.Sandbox) error) error {
	for _, s := range j.newest() {
		if s.State.Final() {
			continue
		}
		if err := fn(&s); err != nil {
			return err
		}
	}
	return nil
}
