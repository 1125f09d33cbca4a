package sandbox

import (
	"context"
	"fmt"
	"sync"
)

// SandboxJournal keeps sandboxes that live on. Its methods are as those of [Journal].
type SandboxJournal interface {
	// PutSandbox stores s, replacing an older record of the same id.
	PutSandbox(ctx context.Context, s *Sandbox) error
	// GetSandbox returns the record of id if it belongs to tenant.
	GetSandbox(ctx context.Context, tenant string, id ID) (*Sandbox, error)
	// SandboxByRequest returns the record that a client's request id leads to.
	SandboxByRequest(ctx context.Context, tenant, client, requestID string) (*Sandbox, error)
	// ListSandboxes returns up to limit records of tenant that f selects, newest first, after the opaque cursor, and the
	// cursor of the next page, empty at the end.
	ListSandboxes(ctx context.Context, tenant string, f SandboxFilter, limit int, cursor string) ([]*Sandbox, string, error)
	// LivingSandboxes calls fn with every record of any tenant whose state is not final.
	LivingSandboxes(ctx context.Context, fn func(*Sandbox) error) error
}

// SandboxOptions configure the sandboxes that live on. Without a Journal there are none.
type SandboxOptions struct {
	Journal SandboxJournal
	Max     int // how many can live at once; default 256
	// MemoryFree returns the bytes that programs could still use on this host; nil: not asked.
	MemoryFree func() (int64, error)
	// MemoryFloor is what must be left of it to open another sandbox; default 512 MiB.
	MemoryFloor int64
	DiskFree    func() (uint64, error) // below the state directory; nil: not asked
	DiskFloor   uint64
}

func (o SandboxOptions) withDefaults() SandboxOptions {
	if o.Max == 0 {
		o.Max = 256
	}
	if o.MemoryFloor == 0 {
		o.MemoryFloor = 512 << 20
	}
	return o
}

// Sandboxes keeps the sandboxes that live on. Its methods can be called from any goroutine.
type Sandboxes struct {
	e *Engine
	o SandboxOptions

	mu       sync.Mutex
	closed   bool
	opening  int            // places taken by sandboxes that are not in byID yet
	opened   sync.WaitGroup // of those, until it is decided what becomes of them; none is added once closed is set
	byID     map[ID]*living
	byClient map[requestKey]*opening
}

func newSandboxes(e *Engine, o SandboxOptions) *Sandboxes {
	return &Sandboxes{e: e, o: o.withDefaults(), byID: map[ID]*living{}, byClient: map[requestKey]*opening{}}
}

// Sandboxes returns the sandboxes that live on.
func (e *Engine) Sandboxes() *Sandboxes { return e.boxes }

// available returns why there are no sandboxes here at all.
func (s *Sandboxes) available(op string) error {
	if s.o.Journal == nil {
		return &Error{Op: op, Kind: KindUnsupported, Reason: "SANDBOXES_OFF", Msg: "this daemon keeps no sandboxes"}
	}
	return nil
}

// Get returns the record of a sandbox of tenant, one that has ended too.
func (s *Sandboxes) Get(ctx context.Context, tenant string, id ID) (Sandbox, error) {
	if err := s.available("sandbox.Get"); err != nil {
		return Sandbox{}, err
	}
	if l := s.find(tenant, id); l != nil {
		return l.snapshot(), nil
	}
	rec, err := s.o.Journal.GetSandbox(ctx, tenant, id)
	if err != nil {
		if KindOf(err) == KindNotFound {
			return Sandbox{}, noSandbox("sandbox.Get", id)
		}
		return Sandbox{}, internal("sandbox.Get", "read the journal", err)
	}
	return *rec, nil
}

func noSandbox(op string, id ID) error {
	return &Error{Op: op, Kind: KindNotFound, Reason: "SANDBOX_NOT_FOUND", Field: "id", Msg: fmt.Sprintf("no sandbox %q", id)}
}

// find returns a sandbox of tenant that lives, nil without.
func (s *Sandboxes) find(tenant string, id ID) *living {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.byID[id]; l != nil && l.tenant == tenant {
		return l
	}
	return nil
}

// living returns a sandbox of tenant that lives, or why there is none.
func (s *Sandboxes) living(ctx context.Context, op, tenant string, id ID) (*living, error) {
	if err := s.available(op); err != nil {
		return nil, err
	}
	if l := s.find(tenant, id); l != nil {
		return l, nil
	}
	rec, err := s.Get(ctx, tenant, id)
	if err != nil {
		return nil, err
	}
	return nil, ended(op, rec)
}

func ended(op string, rec Sandbox) error {
	return &Error{Op: op, Kind: KindConflict, Reason: "SANDBOX_ENDED", Field: "id", Msg: fmt.Sprintf("sandbox %s has ended: %s", rec.ID, rec.Reason)}
}

// List returns up to limit sandboxes of tenant, newest first, and the cursor of the next page.
func (s *Sandboxes) List(ctx context.Context, tenant string, f SandboxFilter, limit int, cursor string) ([]Sandbox, string, error) {
	const op = "sandbox.List"
	if err := s.available(op); err != nil {
		return nil, "", err
	}
	list, next, err := s.o.Journal.ListSandboxes(ctx, tenant, f, limit, cursor)
	if err != nil {
		if KindOf(err) != KindInternal {
			return nil, "", err
		}
		return nil, "", internal(op, "read the journal", err)
	}
	out := make([]Sandbox, 0, len(list))
	for _, rec := range list {
		if l := s.find(tenant, rec.ID); l != nil {
			out = append(out, l.snapshot())
			continue
		}
		out = append(out, *rec)
	}
	return out, next, nil
}

// Delete ends a sandbox and returns its record once nothing of it is left. One that has ended already is returned as it is.
func (s *Sandboxes) Delete(ctx context.Context, tenant string, id ID) (Sandbox, error) {
	if l := s.find(tenant, id); l != nil {
		l.end(SandboxStopped, "it was deleted")
		select {
		case <-l.gone:
			return l.snapshot(), nil
		case <-ctx.Done():
			return Sandbox{}, canceled(ctx, "sandbox.Delete")
		}
	}
	return s.Get(ctx, tenant, id)
}

// Live returns how many sandboxes live.
func (s *Sandboxes) Live() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.byID)
}

// forget drops a sandbox that has ended.
func (s *Sandboxes) forget(id ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byID, id)
}
