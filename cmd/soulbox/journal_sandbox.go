package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/soulbox/soulbox/sandbox"
	"github.com/soulbox/soulbox/store"
)

// sandboxRecord is how a sandbox that lives on lies on disk; see executionRecord.
type sandboxRecord struct {
	Client      []byte               `json:"client"`
	RequestID   []byte               `json:"requestId,omitempty"`
	BodyHash    []byte               `json:"bodyHash"`
	Image       string               `json:"image"`
	ImageDigest string               `json:"imageDigest,omitempty"`
	Command     [][]byte             `json:"command,omitempty"`
	Runtime     string               `json:"runtime"`
	State       sandbox.SandboxState `json:"state"`
	Reason      string               `json:"reason,omitempty"`
	Labels      map[string]string    `json:"labels,omitempty"`
	Metadata    map[string]string    `json:"metadata,omitempty"`
	Env         []envRecord          `json:"env,omitempty"`
	User        []byte               `json:"user"`
	Workdir     []byte               `json:"workdir,omitempty"`
	Memory      int64                `json:"memory"`
	Processes   int64                `json:"processes"`
	OpenFiles   int64                `json:"openFiles"`
	Disk        int64                `json:"disk"`
	Clamped     []sandbox.LimitName  `json:"clamped,omitempty"`
	Timeout     time.Duration        `json:"timeout"`
	IdleTimeout time.Duration        `json:"idleTimeout"`
	DeadlineAt  time.Time            `json:"deadlineAt"`
	CreatedAt   time.Time            `json:"createdAt"`
	StartedAt   time.Time            `json:"startedAt"`
	PausedAt    time.Time            `json:"pausedAt"`
	EndedAt     time.Time            `json:"endedAt"`
	Log         []logRecord          `json:"log,omitempty"`
}

// envRecord is one variable, which may not be valid UTF-8.
type envRecord struct {
	Name  []byte `json:"name"`
	Value []byte `json:"value"`
}

// logRecord is one entry of a sandbox's log.
type logRecord struct {
	At      time.Time        `json:"at"`
	Level   sandbox.LogLevel `json:"level"`
	Message string           `json:"message"`
}

func recordSandbox(s *sandbox.Sandbox) sandboxRecord {
	r := sandboxRecord{
		Client: []byte(s.Client), RequestID: []byte(s.RequestID), BodyHash: s.BodyHash, Image: s.Image, ImageDigest: s.ImageDigest, Runtime: s.Runtime, State: s.State,
		Reason: s.Reason, Labels: s.Labels, Metadata: s.Metadata, User: []byte(s.User), Workdir: []byte(s.Workdir),
		Memory: s.Limits.Memory, Processes: s.Limits.Processes, OpenFiles: s.Limits.OpenFiles, Disk: s.Limits.Disk, Clamped: s.Clamped,
		Timeout: s.Timeout, IdleTimeout: s.IdleTimeout, DeadlineAt: s.DeadlineAt, CreatedAt: s.CreatedAt, StartedAt: s.StartedAt,
		PausedAt: s.PausedAt, EndedAt: s.EndedAt,
	}
	for _, arg := range s.Command {
		r.Command = append(r.Command, []byte(arg))
	}
	for _, k := range slices.Sorted(maps.Keys(s.Env)) {
		r.Env = append(r.Env, envRecord{[]byte(k), []byte(s.Env[k])})
	}
	for _, e := range s.Log {
		r.Log = append(r.Log, logRecord(e))
	}
	return r
}

func (r *sandboxRecord) sandbox(key store.Key) *sandbox.Sandbox {
	s := &sandbox.Sandbox{
		ID: sandbox.ID(key.ID), Tenant: key.Tenant, Client: string(r.Client), RequestID: string(r.RequestID), BodyHash: r.BodyHash,
		Image: r.Image, ImageDigest: r.ImageDigest, Runtime: r.Runtime, State: r.State, Reason: r.Reason, Labels: r.Labels, Metadata: r.Metadata,
		User: string(r.User), Workdir: string(r.Workdir),
		Limits:  sandbox.SandboxLimits{Memory: r.Memory, Processes: r.Processes, OpenFiles: r.OpenFiles, Disk: r.Disk},
		Clamped: r.Clamped, Timeout: r.Timeout, IdleTimeout: r.IdleTimeout, DeadlineAt: r.DeadlineAt, CreatedAt: r.CreatedAt,
		StartedAt: r.StartedAt, PausedAt: r.PausedAt, EndedAt: r.EndedAt,
	}
	for _, arg := range r.Command {
		s.Command = append(s.Command, string(arg))
	}
	if len(r.Env) > 0 {
		s.Env = map[string]string{}
	}
	for _, e := range r.Env {
		s.Env[string(e.Name)] = string(e.Value)
	}
	for _, e := range r.Log {
		s.Log = append(s.Log, sandbox.LogEntry(e))
	}
	return s
}

// byLiving indexes sandboxes whose state is not final.
const byLiving = "living"

// newSandboxTable opens the table of sandboxes that live on; the table "sandboxes" is of all boxes while they exist.
func newSandboxTable(s *store.Store) (*store.Table[sandboxRecord], error) {
	type entry = store.Entry
	return store.NewTable(s, "sessions", store.JSON[sandboxRecord](),
		store.Index[sandboxRecord]{Name: byNewest, Entry: func(_ store.Key, r sandboxRecord) (entry, bool) {
			return entry{Parts: [][]byte{store.NewestFirst(r.CreatedAt)}, Note: []byte{byte(r.State)}}, true
		}},
		store.Index[sandboxRecord]{Name: byRequest, Mode: store.Last, Entry: func(_ store.Key, r sandboxRecord) (entry, bool) {
			return entry{Parts: requestParts(string(r.Client), string(r.RequestID))}, len(r.RequestID) > 0
		}},
		store.Index[sandboxRecord]{Name: byLiving, Entry: func(_ store.Key, r sandboxRecord) (entry, bool) {
			return entry{}, !r.State.Final()
		}},
		store.Index[sandboxRecord]{Name: byEnd, Entry: func(_ store.Key, r sandboxRecord) (entry, bool) {
			return endedSandboxEntry(&r), r.State.Final()
		}},
	)
}

var _ sandbox.SandboxJournal = (*journal)(nil)

// PutSandbox implements [sandbox.SandboxJournal].
func (j *journal) PutSandbox(ctx context.Context, s *sandbox.Sandbox) error {
	return journalError("put sandbox among", j.sandboxes.Put(ctx, store.Key{Tenant: s.Tenant, ID: string(s.ID)}, recordSandbox(s)))
}

// GetSandbox implements [sandbox.SandboxJournal].
func (j *journal) GetSandbox(ctx context.Context, tenant string, id sandbox.ID) (*sandbox.Sandbox, error) {
	key := store.Key{Tenant: tenant, ID: string(id)}
	r, err := j.sandboxes.Get(ctx, key)
	if err != nil {
		return nil, journalError("get sandbox among", err)
	}
	return r.sandbox(key), nil
}

// SandboxByRequest implements [sandbox.SandboxJournal].
func (j *journal) SandboxByRequest(ctx context.Context, tenant, client, requestID string) (*sandbox.Sandbox, error) {
	key, r, err := j.sandboxes.Lookup(ctx, byRequest, tenant, requestParts(client, requestID)...)
	if err != nil {
		return nil, journalError("look up by request id among", err)
	}
	return r.sandbox(key), nil
}

// ListSandboxes implements [sandbox.SandboxJournal]. Labels are looked at once a row is read, so a page can be short of
// limit and still have a next one.
func (j *journal) ListSandboxes(ctx context.Context, tenant string, f sandbox.SandboxFilter, limit int, cursor string) ([]*sandbox.Sandbox, string, error) {
	q := store.Query{Tenant: tenant, Index: byNewest, Limit: limit, Cursor: cursor, Scope: sandboxScope(f)}
	if len(f.States) > 0 {
		q.Keep = func(note []byte) bool {
			return len(note) > 0 && slices.Contains(f.States, sandbox.SandboxState(note[0]))
		}
	}
	page, err := j.sandboxes.Scan(ctx, q)
	if err != nil {
		return nil, "", journalError("list sandboxes among", err)
	}
	var list []*sandbox.Sandbox
	for _, row := range page.Rows {
		if s := row.Value.sandbox(row.Key); f.Selects(s) {
			list = append(list, s)
		}
	}
	return list, page.Next, nil
}

// sandboxScope ties a cursor to its filter; empty without one.
func sandboxScope(f sandbox.SandboxFilter) string {
	if len(f.States) == 0 && f.Image == "" && len(f.Labels) == 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%v %q", f.States, f.Image)
	for _, k := range slices.Sorted(maps.Keys(f.Labels)) {
		fmt.Fprintf(&b, " %q=%q", k, f.Labels[k])
	}
	return b.String()
}

// LivingSandboxes implements [sandbox.SandboxJournal].
func (j *journal) LivingSandboxes(ctx context.Context, fn func(*sandbox.Sandbox) error) error {
	err := j.sandboxes.Each(ctx, store.Query{AllTenants: true, Index: byLiving}, func(r store.Row[sandboxRecord]) error {
		return fn(r.Value.sandbox(r.Key))
	})
	return journalError("list living sandboxes among", err)
}
