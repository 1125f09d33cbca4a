package sandbox

import (
	"context"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/soulbox/soulbox/cgroups"
	"github.com/soulbox/soulbox/images"
	"github.com/soulbox/soulbox/images/debian"
	"github.com/soulbox/soulbox/images/library"
)

// DefaultTenant is whose everything is that names no tenant.
const DefaultTenant = "default"

// Options configure [New]. Fields without a default must be set.
type Options struct {
	Version string
	Runtime Runtime   // the default one
	Others  []Runtime // that requests can name beside it
	Journal Journal
	Cgroups *cgroups.Tree
	IDs     *IDPool
	Catalog *images.Catalog
	Host    images.HostOptions // how the root file system's skeleton is made
	Images  *library.Library   // of images beside the host's; nil: none
	Debian  debian.Options     // suite and mirror of the images that are built

	RunDir   string                            // tmpfs that every id can reach
	StateDir string                            // on disk; holds what sandboxes write
	CacheDir string                            // what recipes prepared; kept across starts and shared by the daemons of one user
	Assets   func(name string) ([]byte, error) // embedded programs: agent, launcher, transpile, ready

	ProgramFilter []byte // BPF for programs
	SessionFilter []byte // BPF for programs of sandboxes that live on
	AgentFilter   []byte // BPF for agents

	Admission AdmissionOptions
	Policy    Policy // what callers may do; see Configure
	Sandboxes SandboxOptions
	Drain     time.Duration // what Close grants running executions; default 10 s
	// ClientName returns the name of the key with this id, "" without one. It may read a disk. Nil: keys have no names.
	ClientName func(id string) string
	Warnings   []Warning    // of the host and the configuration
	Features   []Feature    // what probes found
	Observer   Observer     // is told what executions came to; nil: nobody
	Logger     *slog.Logger // default: slog.Default

	// Fault is asked before each call to the host of a sandbox's start and end, which fails with its answer. It is for
	// tests; nil: nothing fails.
	Fault func(call string) error
}

// host makes a call to the host, unless a test wants it to fail.
func (o Options) host(call string, do func() error) error {
	if o.Fault != nil {
		if err := o.Fault(call); err != nil {
			return err
		}
	}
	return do()
}

// Engine runs executions. Its methods can be called from any goroutine.
type Engine struct {
	o     Options
	log   *slog.Logger
	admit *Admission
	root  *images.RootFS

	sessionRoot *images.RootFS // the lower layer of sandboxes that live on
	boxes       *Sandboxes

	ctx     context.Context // of everything the engine started; ends in Close
	stop    context.CancelCauseFunc
	wg      sync.WaitGroup
	runs    sync.WaitGroup // of those in wg, executions
	langs   *languages
	prepare singleflight.Group
	ready   atomic.Pointer[error] // nil until the built-in program has run; then what came of it
	live    atomic.Pointer[live]

	building chan struct{} // has a place for the one build of an image

	isReady chan struct{} // closed when ready holds nil
	slots   atomic.Int64  // that are open

	mu       sync.Mutex
	closed   bool
	byID     map[ID]*active
	byClient map[requestKey]*active
}

// requestKey is what makes a request id unique.
type requestKey struct{ tenant, client, id string }

// New returns an engine that has reaped what an earlier daemon left in the run directory and has settled the records
// of executions that were in flight. It becomes ready in the background, see [Engine.Ready].
func New(ctx context.Context, o Options) (*Engine, error) {
	e := &Engine{o: o, log: o.Logger, byID: map[ID]*active{}, byClient: map[requestKey]*active{}, building: make(chan struct{}, 1), isReady: make(chan struct{})}
	if e.log == nil {
		e.log = slog.Default()
	}
	e.live.Store(newLive(o.Policy, o.Drain))
	e.boxes = newSandboxes(e, o.Sandboxes)
	adopted, err := e.adopt(ctx)
	if err != nil {
		return nil, err
	}
	if err := e.reap(ctx, adopted); err != nil {
		return nil, err
	}
	if err := e.settle(ctx); err != nil {
		return nil, err
	}
	if err := e.install(ctx); err != nil {
		return nil, err
	}
	o.Admission.Client = func(client string) ClientBounds { return e.rules(client).ClientBounds }
	e.admit = NewAdmission(o.Admission)
	e.ctx, e.stop = context.WithCancelCause(context.WithoutCancel(ctx))
	e.langs = newLanguages(e)
	e.boxes.keepAdopted(adopted)
	e.wg.Go(e.becomeReady)
	return e, nil
}

// Reserve takes a place in the queue for client before its request is read.
func (e *Engine) Reserve(client string) (*Place, error) { return e.admit.Reserve(client) }

// Ready returns nil once a built-in static program has run in a sandbox and until Close, and why not otherwise.
func (e *Engine) Ready() error {
	e.mu.Lock()
	closed := e.closed
	e.mu.Unlock()
	if closed {
		return &Error{Op: "sandbox.Ready", Kind: KindUnavailable, Reason: "DRAINING", Msg: "the daemon is stopping"}
	}
	err := e.ready.Load()
	if err == nil {
		return &Error{Op: "sandbox.Ready", Kind: KindUnavailable, Reason: "STARTING", Msg: "starting: the first sandbox has not run yet", RetryAfter: time.Second}
	}
	return *err
}

// Start admits a request, journals it and returns its handle. The execution goes on whatever happens to ctx. A request
// id that this client has used leads to the execution of then.
func (e *Engine) Start(ctx context.Context, r Request) (_ Handle, err error) {
	defer func() {
		if err != nil && r.Place != nil {
			r.Place.Release()
		}
	}()
	if r.Tenant == "" {
		r.Tenant = DefaultTenant
	}
	if err := r.Validate(); err != nil {
		return nil, err
	}
	rules := e.rules(r.Client)
	g, err := e.ground(&r, &rules)
	if err != nil {
		return nil, err
	}
	begun := false
	defer func() {
		if !begun {
			g.release()
		}
	}()
	recipe, rt, bad := e.recipe(r, &rules, g)
	if bad != nil {
		return nil, bad
	}
	if _, err := e.plan(r, recipe, g, rules.Max, Limits{}); err != nil { // what is wrong with the request is said now
		return nil, err
	}
	a, known, err := e.register(ctx, r, recipe, rt, g, &rules)
	if err != nil {
		return nil, err
	}
	if known != nil {
		if r.Place != nil {
			r.Place.Release()
		}
		return known, nil
	}
	if err := e.admitNew(ctx, a, recipe); err != nil {
		e.refuse(a)
		return nil, err
	}
	begun = true
	close(a.admitted)
	return a, nil
}

// admitNew takes a place for a, journals it and starts it.
func (e *Engine) admitNew(ctx context.Context, a *active, recipe *images.Recipe) (err error) {
	if a.request.Place == nil {
		if a.request.Place, err = e.Reserve(a.request.Client); err != nil {
			return err
		}
	}
	x := a.Snapshot()
	if err := e.o.Journal.Put(ctx, &x); err != nil {
		a.request.Place.Release()
		return internal("sandbox.Start", "journal the request", err)
	}
	if !e.launch(func(ctx context.Context) { e.run(ctx, a, recipe) }, a) {
		a.request.Place.Release()
		// Its record says queued; the next daemon settles it.
		return &Error{Op: "sandbox.Start", Kind: KindUnavailable, Reason: "DRAINING", Msg: "the daemon is stopping; try again"}
	}
	return nil
}

// refuse drops a, whose request came to nothing, and lets those go on who wait for what its id leads to.
func (e *Engine) refuse(a *active) {
	e.forget(a)
	a.refused = true
	close(a.admitted)
}

// launch starts fn with the context that a's stop cancels. It is false when the engine is closed.
func (e *Engine) launch(fn func(context.Context), a *active) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return false
	}
	ctx, stop := context.WithCancel(e.ctx)
	a.started(stop)
	e.runs.Add(1)
	e.wg.Go(func() {
		defer e.runs.Done()
		defer stop()
		fn(ctx)
	})
	return true
}

// register makes the record of a new execution, or finds the one that r's request id leads to.
func (e *Engine) register(ctx context.Context, r Request, recipe *images.Recipe, rt Runtime, g ground, rules *Rules) (*active, Handle, error) {
	effective, clamped := rules.resolve(r.Limits, fromImages(recipe.Limits))
	a := &active{request: r, runtime: rt, ground: g, most: rules.Max, log: &eventLog{}, done: make(chan struct{}), admitted: make(chan struct{}), stop: func() {}, x: Execution{
		ID: NewID(), Tenant: r.Tenant, Client: r.Client, RequestID: r.RequestID, BodyHash: BodyHash(&r),
		Language: recipe.Name, Image: g.name(), ImageDigest: g.digest(), Runtime: rt.Info().Name, State: StateQueued, Limits: effective, Clamped: clamped,
		Unenforced: e.unenforced(rt, effective), CreatedAt: time.Now().UTC(),
	}}
	for {
		other := e.enter(a)
		if other == nil {
			break
		}
		select {
		case <-other.admitted:
		case <-ctx.Done():
			return nil, nil, canceled(ctx, "sandbox.Start")
		}
		if other.refused {
			continue // and with it out of the table
		}
		var h Handle = other
		if other.before != nil {
			h = other.before
		}
		return nil, h, sameBody(h.Snapshot(), a.x)
	}
	if r.RequestID == "" {
		return a, nil, nil
	}
	known, err := e.o.Journal.ByRequest(ctx, r.Tenant, r.Client, r.RequestID)
	switch {
	case err == nil:
		a.before = finished{*known}
		e.forget(a)
		close(a.admitted)
		return nil, a.before, sameBody(*known, a.x)
	case KindOf(err) == KindNotFound:
		return a, nil, nil
	}
	e.refuse(a)
	return nil, nil, internal("sandbox.Start", "look up the request id", err)
}

// enter puts a into the tables of what is in flight, or returns who is there under its request id.
func (e *Engine) enter(a *active) *active {
	key := requestKey{a.request.Tenant, a.request.Client, a.request.RequestID}
	e.mu.Lock()
	defer e.mu.Unlock()
	if key.id != "" {
		if other := e.byClient[key]; other != nil {
			return other
		}
		e.byClient[key] = a
	}
	e.byID[a.x.ID] = a
	return nil
}

// sameBody returns a conflict when two requests of one id differ, nil (and not a typed nil) otherwise.
func sameBody(was, is Execution) error {
	if subtle.ConstantTimeCompare(was.BodyHash, is.BodyHash) == 1 {
		return nil
	}
	return &Error{Op: "sandbox.Start", Kind: KindConflict, Reason: "REQUEST_ID_REUSED", Field: "requestId",
		Msg: fmt.Sprintf("request id %q was used for a different request, execution %s; choose another", is.RequestID, was.ID)}
}

// forget drops a from the tables of what is in flight.
func (e *Engine) forget(a *active) {
	key := requestKey{a.request.Tenant, a.request.Client, a.request.RequestID}
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.byID, a.x.ID)
	if e.byClient[key] == a {
		delete(e.byClient, key)
	}
}

// Get returns the record of an execution of tenant.
func (e *Engine) Get(ctx context.Context, tenant string, id ID) (Execution, error) {
	h, err := e.Handle(ctx, tenant, id)
	if err != nil {
		return Execution{}, err
	}
	return h.Snapshot(), nil
}

// Handle returns the handle of an execution of tenant.
func (e *Engine) Handle(ctx context.Context, tenant string, id ID) (Handle, error) {
	e.mu.Lock()
	a := e.byID[id]
	e.mu.Unlock()
	if a != nil && a.request.Tenant == tenant {
		return a, nil
	}
	x, err := e.o.Journal.Get(ctx, tenant, id)
	if err != nil {
		if KindOf(err) == KindNotFound {
			return nil, &Error{Op: "sandbox.Get", Kind: KindNotFound, Reason: "EXECUTION_NOT_FOUND", Field: "id", Msg: fmt.Sprintf("no execution %q", id)}
		}
		return nil, internal("sandbox.Get", "read the journal", err)
	}
	return finished{*x}, nil
}

// Cancel ends an execution of tenant with VerdictCancelled and returns its record when it is done. One that is done
// already is returned as it is.
func (e *Engine) Cancel(ctx context.Context, tenant string, id ID) (Execution, error) {
	h, err := e.Handle(ctx, tenant, id)
	if err != nil {
		return Execution{}, err
	}
	h.Cancel()
	return h.Wait(ctx)
}

// List returns up to limit records of tenant, newest first, and the cursor of the next page.
func (e *Engine) List(ctx context.Context, tenant string, f Filter, limit int, cursor string) ([]Execution, string, error) {
	if recipe, ok := e.o.Catalog.Find(f.Language); ok {
		f.Language = recipe.Name
	}
	list, next, err := e.o.Journal.List(ctx, tenant, f, limit, cursor)
	if err != nil {
		if k := KindOf(err); k != KindInternal {
			return nil, "", err
		}
		return nil, "", internal("sandbox.List", "read the journal", err)
	}
	out := make([]Execution, 0, len(list))
	for _, x := range list {
		out = append(out, *x)
	}
	return slices.Clip(out), next, nil
}

// Languages returns what this host can run.
func (e *Engine) Languages(ctx context.Context) ([]Language, error) { return e.langs.list(ctx) }

// Info describes the engine.
func (e *Engine) Info(context.Context) (SystemInfo, error) {
	s := e.admit.Stats()
	var runtimes []RuntimeInfo
	for _, rt := range e.runtimes() {
		runtimes = append(runtimes, rt.Info())
	}
	return SystemInfo{
		Version: e.o.Version, Runtimes: runtimes, Features: e.o.Features, Warnings: e.o.Warnings,
		Policy: e.rules("").Max, Queued: s.Queued, Running: s.Running, MaxQueue: s.MaxQueue, MaxBoxes: s.MaxRunning,
		Memory: s.Memory, MemoryUse: s.MemoryUse, Goroutines: runtime.NumGoroutine(),
	}, nil
}

// unenforced lists the limits of l that no cgroup keeps here.
func (e *Engine) unenforced(rt Runtime, l Limits) []LimitName {
	var out []LimitName
	has := e.o.Cgroups.Enforced()
	if rt.Info().OwnKernel { // in a group of its own kernel's
		has.CPUTime, has.Pids = true, true
	}
	if !has.CPUTime && l.CPUTime > 0 {
		out = append(out, LimitCPUTime)
	}
	if !has.Memory && l.Memory > 0 {
		out = append(out, LimitMemory)
	}
	if !has.Pids && l.Processes > 0 {
		out = append(out, LimitProcesses)
	}
	return out
}

// internal wraps a cause that stays home.
func internal(op, attempt string, err error) *Error {
	return &Error{Op: op, Kind: KindInternal, Reason: "INTERNAL", Msg: attempt + " failed", Err: err}
}
