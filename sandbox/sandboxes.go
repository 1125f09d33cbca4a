package sandbox

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/soulbox/soulbox/images"
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
	// Images are root file systems beside the host's, by name.
	Images map[string]*images.RootFS
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
	opening  int // places taken by sandboxes that are not in byID yet
	byID     map[ID]*living
	byClient map[requestKey]*opening
}

// opening is a sandbox on its way, for those who ask for it again.
type opening struct {
	done chan struct{} // closed when id or err is set
	id   ID
	err  error
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

// Create opens a sandbox and returns its record once it runs. With a request id that the client used before it returns
// that sandbox. A caller that goes away without one leaves nothing.
func (s *Sandboxes) Create(ctx context.Context, r CreateSandbox) (Sandbox, error) {
	const op = "sandbox.Create"
	if err := s.available(op); err != nil {
		return Sandbox{}, err
	}
	if r.Tenant == "" {
		r.Tenant = DefaultTenant
	}
	if err := r.Validate(); err != nil {
		return Sandbox{}, err
	}
	rec, err := s.record(r)
	if err != nil {
		return Sandbox{}, err
	}
	if r.RequestID == "" {
		return s.create(ctx, rec)
	}
	return s.createOnce(ctx, rec)
}

// record makes the record of what r asks for.
func (s *Sandboxes) record(r CreateSandbox) (Sandbox, error) {
	const op = "sandbox.Create"
	image := cmp.Or(r.Image, hostImage)
	if image != hostImage && s.o.Images[image] == nil {
		names := append([]string{hostImage}, slices.Sorted(maps.Keys(s.o.Images))...)
		return Sandbox{}, &Error{Op: op, Kind: KindInvalid, Reason: "UNKNOWN_IMAGE", Field: "image", Msg: fmt.Sprintf("no image %q here; there are %s", image, strings.Join(names, ", "))}
	}
	rules, name := s.e.rules(r.Client), s.e.o.Runtime.Info().Name
	if r.Runtime != "" && r.Runtime != name {
		return Sandbox{}, &Error{Op: op, Kind: KindInvalid, Reason: "UNKNOWN_RUNTIME", Field: "runtime", Msg: fmt.Sprintf("no runtime %q here; this daemon has %q", r.Runtime, name)}
	}
	if rules.Runtimes != nil && !slices.Contains(rules.Runtimes, name) {
		return Sandbox{}, &Error{Op: op, Kind: KindDenied, Reason: "RUNTIME_NOT_ALLOWED", Field: "runtime", Msg: fmt.Sprintf("the operator does not allow %q for this key", name)}
	}
	rec := Sandbox{
		ID: NewID(), Tenant: r.Tenant, Client: r.Client, RequestID: r.RequestID, BodyHash: sandboxHash(&r),
		Image: image, Runtime: name, State: SandboxCreating, Labels: maps.Clone(r.Labels), Metadata: maps.Clone(r.Metadata), Env: maps.Clone(r.Env),
		User: r.User, Workdir: r.Workdir, Timeout: rules.Sandboxes.Timeout, IdleTimeout: r.IdleTimeout, CreatedAt: time.Now().UTC(),
	}
	if rec.User == "" {
		rec.User = "user"
	}
	if r.Timeout != nil {
		rec.Timeout = *r.Timeout
	}
	if err := rules.Sandboxes.allowTimeout(rec.Timeout); err != nil {
		return Sandbox{}, err
	}
	rec.Limits, rec.Clamped = r.Limits.Resolve(rules.Sandboxes.Default, rules.Sandboxes.Max)
	return rec, nil
}

// hostImage is the image of the host's own files.
const hostImage = "host"

// image returns the root file system of an image that there is.
func (s *Sandboxes) image(name string) *images.RootFS {
	if name == hostImage {
		return s.e.sessionRoot
	}
	return s.o.Images[name]
}

// allowTimeout refuses a time beyond the policy's.
func (p *SandboxPolicy) allowTimeout(t time.Duration) error {
	switch most := p.MaxTimeout; {
	case t < 0 || t > maxTimeout:
		return invalid("TIMEOUT_OUT_OF_RANGE", "timeout", "must be from 0 (never) to 365 days")
	case most > 0 && (t == 0 || t > most):
		return invalid("TIMEOUT_OUT_OF_RANGE", "timeout", fmt.Sprintf("this server lets a sandbox live for at most %s at a time", most))
	}
	return nil
}

// createOnce is create for a request id: of those who ask at once, one opens the sandbox.
func (s *Sandboxes) createOnce(ctx context.Context, rec Sandbox) (Sandbox, error) {
	key := requestKey{rec.Tenant, rec.Client, rec.RequestID}
	s.mu.Lock()
	first := s.byClient[key]
	if first == nil {
		mine := &opening{done: make(chan struct{})}
		s.byClient[key] = mine
		s.mu.Unlock()
		got, err := s.known(ctx, rec)
		if KindOf(err) == KindNotFound {
			got, err = s.create(context.WithoutCancel(ctx), rec)
		}
		mine.id, mine.err = got.ID, err
		s.mu.Lock()
		delete(s.byClient, key)
		s.mu.Unlock()
		close(mine.done)
		return got, err
	}
	s.mu.Unlock()
	select {
	case <-first.done:
	case <-ctx.Done():
		return Sandbox{}, canceled(ctx, "sandbox.Create")
	}
	if first.err != nil {
		return Sandbox{}, first.err
	}
	return s.known(ctx, rec)
}

// known returns the sandbox that rec's request id led to before, an error of [KindNotFound] when it is new.
func (s *Sandboxes) known(ctx context.Context, rec Sandbox) (Sandbox, error) {
	was, err := s.o.Journal.SandboxByRequest(ctx, rec.Tenant, rec.Client, rec.RequestID)
	switch {
	case KindOf(err) == KindNotFound && err != nil:
		return Sandbox{}, ErrNotFound
	case err != nil:
		return Sandbox{}, internal("sandbox.Create", "look up the request id", err)
	case subtle.ConstantTimeCompare(was.BodyHash, rec.BodyHash) != 1:
		return Sandbox{}, &Error{Op: "sandbox.Create", Kind: KindConflict, Reason: "REQUEST_ID_REUSED", Field: "requestId",
			Msg: fmt.Sprintf("request id %q was used for a different request, sandbox %s; choose another", rec.RequestID, was.ID)}
	}
	return s.Get(ctx, rec.Tenant, was.ID)
}

// create opens the sandbox of rec.
func (s *Sandboxes) create(ctx context.Context, rec Sandbox) (Sandbox, error) {
	if err := s.admit(rec.Client); err != nil {
		return Sandbox{}, err
	}
	l, err := s.open(ctx, rec)
	s.mu.Lock()
	s.opening--
	if err == nil {
		s.byID[rec.ID] = l
	}
	closed := s.closed
	s.mu.Unlock()
	if err != nil {
		return Sandbox{}, err
	}
	switch {
	case closed:
		l.end(SandboxStopped, "the daemon stopped")
		return Sandbox{}, &Error{Op: "sandbox.Create", Kind: KindUnavailable, Reason: "DRAINING", Msg: "the daemon is stopping; try again"}
	case ctx.Err() != nil && rec.RequestID == "":
		l.end(SandboxStopped, "its creator went away before it ran")
		return Sandbox{}, canceled(ctx, "sandbox.Create")
	}
	return l.snapshot(), nil
}

// admit takes a place for one more sandbox of client.
func (s *Sandboxes) admit(client string) error {
	const op, retry = "sandbox.Create", 5 * time.Second
	if s.o.DiskFree != nil {
		if free, err := s.o.DiskFree(); err != nil {
			return internal(op, "look at the free disk space", err)
		} else if free < s.o.DiskFloor {
			return &Error{Op: op, Kind: KindExhausted, Reason: "DISK_LOW", Msg: "the server is low on disk space", RetryAfter: retry}
		}
	}
	if s.o.MemoryFree != nil {
		if free, err := s.o.MemoryFree(); err != nil {
			return internal(op, "look at the free memory", err)
		} else if free < s.o.MemoryFloor {
			return &Error{Op: op, Kind: KindExhausted, Reason: "MEMORY_FLOOR", Msg: "the server is low on memory; end a sandbox or try again later", RetryAfter: retry}
		}
	}
	most := s.e.rules(client).MaxSandboxes
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case most > 0 && s.ofLocked(client) >= most:
		return &Error{Op: op, Kind: KindExhausted, Reason: "TOO_MANY_SANDBOXES", Msg: fmt.Sprintf("%d sandboxes of this key live, the most it may have; end one", most), RetryAfter: retry}
	case s.closed:
		return &Error{Op: op, Kind: KindUnavailable, Reason: "DRAINING", Msg: "the daemon is stopping; try again"}
	case len(s.byID)+s.opening >= s.o.Max:
		return &Error{Op: op, Kind: KindExhausted, Reason: "TOO_MANY_SANDBOXES", Msg: fmt.Sprintf("%d sandboxes live, the most this server keeps; end one or try again later", s.o.Max), RetryAfter: retry}
	}
	s.opening++
	return nil
}

// ofLocked counts the living sandboxes of a client; s.mu is held.
func (s *Sandboxes) ofLocked(client string) int {
	n := 0
	for _, l := range s.byID {
		if l.client == client {
			n++
		}
	}
	return n
}

// open journals rec, opens its box and its session, and journals that it runs.
func (s *Sandboxes) open(ctx context.Context, rec Sandbox) (*living, error) {
	const op = "sandbox.Create"
	// On the way nobody's patience counts: what is begun is ended.
	work := context.WithoutCancel(ctx)
	if err := s.o.Journal.PutSandbox(work, &rec); err != nil {
		return nil, internal(op, "journal the sandbox", err)
	}
	b, err := s.e.openSession(work, &rec)
	if err == nil {
		rec.State, rec.StartedAt = SandboxRunning, time.Now().UTC()
		if rec.Timeout > 0 {
			rec.DeadlineAt = rec.StartedAt.Add(rec.Timeout)
		}
		if err = s.o.Journal.PutSandbox(work, &rec); err != nil {
			err = errors.Join(err, b.close(work))
		}
	}
	if err == nil {
		return s.live(b, rec), nil
	}
	rec.State, rec.EndedAt, rec.Reason = SandboxFailed, time.Now().UTC(), "it could not be started"
	if perr := s.o.Journal.PutSandbox(work, &rec); perr != nil {
		s.e.log.Error("the end of a sandbox was not journalled", "id", rec.ID, "err", perr)
	}
	if known, ok := errors.AsType[*Error](err); ok {
		return nil, known
	}
	return nil, internal(op, "start the sandbox", err)
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

// close ends all sandboxes: the daemon stops for good, and its supervisor with it.
func (s *Sandboxes) close() {
	s.mu.Lock()
	s.closed = true
	all := slices.Collect(maps.Values(s.byID))
	s.mu.Unlock()
	for _, l := range all {
		l.end(SandboxStopped, "the daemon stopped")
	}
	for _, l := range all {
		<-l.gone
	}
}

// forget drops a sandbox that has ended.
func (s *Sandboxes) forget(id ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byID, id)
}

// sandboxHash is [BodyHash] of a request for a sandbox.
func sandboxHash(r *CreateSandbox) []byte {
	h := bodyHasher{sha256.New()}
	h.string("soulbox sandbox 1")
	for _, v := range []string{r.Image, r.Runtime, r.User, r.Workdir} {
		h.string(v)
	}
	for _, m := range []map[string]string{r.Labels, r.Metadata, r.Env} {
		h.number(int64(len(m)))
		for _, k := range slices.Sorted(maps.Keys(m)) {
			h.string(k)
			h.string(m[k])
		}
	}
	for _, n := range []int64{r.Limits.Memory, r.Limits.Processes, r.Limits.OpenFiles, r.Limits.Disk, int64(r.IdleTimeout)} {
		h.number(n)
	}
	timeout := int64(-1)
	if r.Timeout != nil {
		timeout = int64(*r.Timeout)
	}
	h.number(timeout)
	return h.Sum(nil)
}
