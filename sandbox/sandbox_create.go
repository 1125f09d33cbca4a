package sandbox

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"time"
)

// opening is a sandbox on its way, for those who ask for it again.
type opening struct {
	done chan struct{} // closed once it is open or err is set
	err  error
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
	rules := s.e.rules(r.Client)
	rec := Sandbox{
		ID: NewID(), Tenant: r.Tenant, Client: r.Client, RequestID: r.RequestID, BodyHash: sandboxHash(&r),
		Image: hostImage, State: SandboxCreating, Labels: maps.Clone(r.Labels), Metadata: maps.Clone(r.Metadata), Env: maps.Clone(r.Env),
		User: r.User, Workdir: r.Workdir, Timeout: rules.Sandboxes.Timeout, IdleTimeout: r.IdleTimeout, CreatedAt: time.Now().UTC(),
	}
	if err := s.takeImage(&rec, r.Image, &rules); err != nil {
		return Sandbox{}, err
	}
	rt, bad := s.e.chosen(op, rules.under(r.Runtime, rec.Image))
	if bad != nil {
		return Sandbox{}, bad
	}
	rec.Runtime = rt.Info().Name
	if rules.Runtimes != nil && !slices.Contains(rules.Runtimes, rec.Runtime) {
		return Sandbox{}, &Error{Op: op, Kind: KindDenied, Reason: "RUNTIME_NOT_ALLOWED", Field: "runtime", Msg: fmt.Sprintf("the operator does not allow %q for this key", rec.Runtime)}
	}
	rec.User = cmp.Or(rec.User, "user")
	if r.Timeout != nil {
		rec.Timeout = *r.Timeout
	}
	if err := rules.Sandboxes.allowTimeout(rec.Timeout); err != nil {
		return Sandbox{}, err
	}
	rec.Limits, rec.Clamped = r.Limits.Resolve(rules.Sandboxes.Default, rules.Sandboxes.Max)
	return rec, nil
}

// takeImage fills in what an image says and the request does not.
func (s *Sandboxes) takeImage(rec *Sandbox, name string, rules *Rules) error {
	image, err := s.e.findImage("sandbox.Create", rec.Tenant, name, rules)
	if err != nil || image == nil {
		return err
	}
	defer image.Release()
	rec.Image, rec.ImageDigest = image.Name, image.Digest
	env := imageEnv(image.Config.Env)
	maps.Copy(env, rec.Env)
	if err := checkEnv("env", env); err != nil {
		return err
	}
	rec.Env, rec.User = env, cmp.Or(rec.User, image.User)
	if rec.Workdir == "" {
		rec.Workdir = "/" // as docker has it
		if path.IsAbs(image.Config.Workdir) && len(image.Config.Workdir) <= maxPath {
			rec.Workdir = path.Clean(image.Config.Workdir)
		}
	}
	rec.Command = slices.Concat(image.Config.Entrypoint, image.Config.Cmd)
	return nil
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
		mine.err = err
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
	defer s.opened.Done()
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
		<-l.gone
		return Sandbox{}, &Error{Op: "sandbox.Create", Kind: KindUnavailable, Reason: "DRAINING", Msg: "the daemon is stopping; try again"}
	case ctx.Err() != nil && rec.RequestID == "":
		l.end(SandboxStopped, "its creator went away before it ran")
		return Sandbox{}, canceled(ctx, "sandbox.Create")
	}
	return l.snapshot(), nil
}

// diskSpace refuses work when the disk is nearly full.
func (s *Sandboxes) diskSpace(op string) error {
	if s.o.DiskFree == nil {
		return nil
	}
	free, err := s.o.DiskFree()
	if err != nil {
		return internal(op, "look at the free disk space", err)
	}
	if free < s.o.DiskFloor {
		return &Error{Op: op, Kind: KindExhausted, Reason: "DISK_LOW", Msg: "the server is low on disk space", RetryAfter: 5 * time.Second}
	}
	return nil
}

// admit takes a place for one more sandbox of client.
func (s *Sandboxes) admit(client string) error {
	const op, retry = "sandbox.Create", 5 * time.Second
	if err := s.diskSpace(op); err != nil {
		return err
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
	s.opened.Add(1)
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
		rec.note(LogInfo, "it was created")
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
	rec.note(LogWarn, rec.Reason)
	if perr := s.o.Journal.PutSandbox(work, &rec); perr != nil {
		s.e.log.Error("the end of a sandbox was not journalled", "id", rec.ID, "err", perr)
	}
	if known, ok := errors.AsType[*Error](err); ok {
		return nil, known
	}
	return nil, internal(op, "start the sandbox", err)
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
