package rpc_test

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/soulbox/soulbox/rpc"
	"github.com/soulbox/soulbox/rpc/v1"
	"github.com/soulbox/soulbox/sandbox"
)

// fakeEngine answers every request with result; unless finish is closed it runs for ever.
type fakeEngine struct {
	*sandbox.Admission
	result   sandbox.Execution
	finish   chan struct{}
	started  chan struct{} // receives at each start
	canceled chan struct{} // closed by Cancel
	cancel   sync.Once
	notReady error
	refuse   error // what Start answers
	flood    bool  // events of 1 MiB without end come after the first two

	writeTimeout time.Duration // the server's

	mu   sync.Mutex
	last sandbox.Request
}

func newFake() *fakeEngine {
	f := &fakeEngine{
		Admission: sandbox.NewAdmission(sandbox.AdmissionOptions{MaxQueue: 4}),
		result:    sample(), finish: make(chan struct{}), canceled: make(chan struct{}),
		started: make(chan struct{}, 64),
	}
	close(f.finish)
	return f
}

func sample() sandbox.Execution {
	return sandbox.Execution{
		ID: "i0123456789abcdefghij", Language: "python", Runtime: "runc", State: sandbox.StateDone,
		Step: sandbox.Step{
			Verdict: sandbox.VerdictOK, Stdout: []byte("1\n"), Stderr: []byte("\xff"),
			Usage: sandbox.Usage{Wall: 12 * time.Millisecond, User: 10 * time.Millisecond, PeakMemory: 9 << 20},
		},
		CreatedAt: time.Unix(1_700_000_000, 0),
	}
}

func (f *fakeEngine) Ready() error { return f.notReady }

func (f *fakeEngine) Start(_ context.Context, r sandbox.Request) (sandbox.Handle, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.Place != nil {
		r.Place.Release()
	}
	if f.refuse != nil {
		return nil, f.refuse
	}
	f.last = r
	f.started <- struct{}{}
	return fakeHandle{f}, nil
}

func (f *fakeEngine) Get(_ context.Context, _ string, id sandbox.ID) (sandbox.Execution, error) {
	if id != f.result.ID {
		return sandbox.Execution{}, &sandbox.Error{Op: "fake", Kind: sandbox.KindNotFound, Msg: "no such execution"}
	}
	return f.result, nil
}

func (f *fakeEngine) Cancel(ctx context.Context, tenant string, id sandbox.ID) (sandbox.Execution, error) {
	return f.Get(ctx, tenant, id)
}

func (f *fakeEngine) List(
	context.Context, string, sandbox.Filter, int, string,
) ([]sandbox.Execution, string, error) {
	return []sandbox.Execution{f.result}, "", nil
}

func (f *fakeEngine) Languages(context.Context) ([]sandbox.Language, error) {
	return []sandbox.Language{{Name: "python", Aliases: []string{"py"}}}, nil
}

func (f *fakeEngine) Info(context.Context) (sandbox.SystemInfo, error) {
	return sandbox.SystemInfo{}, context.DeadlineExceeded
}

type fakeHandle struct{ f *fakeEngine }

func (h fakeHandle) ID() sandbox.ID { return h.f.result.ID }
func (h fakeHandle) Cancel()        { h.f.cancel.Do(func() { close(h.f.canceled) }) }

func (h fakeHandle) Snapshot() sandbox.Execution {
	select {
	case <-h.f.finish:
		return h.f.result
	default:
		return sandbox.Execution{ID: h.f.result.ID, State: sandbox.StateQueued}
	}
}

func (h fakeHandle) Wait(ctx context.Context) (sandbox.Execution, error) {
	select {
	case <-h.f.finish:
		return h.f.result, nil
	case <-ctx.Done():
		return sandbox.Execution{}, ctx.Err()
	}
}

func (h fakeHandle) Events(ctx context.Context, _ uint64) iter.Seq2[sandbox.Event, error] {
	return func(yield func(sandbox.Event, error) bool) {
		if !yield(sandbox.Event{Seq: 1, Kind: sandbox.EventStarted, Execution: &h.f.result}, nil) ||
			!yield(sandbox.Event{Seq: 2, Kind: sandbox.EventStdout, Data: []byte("1\n")}, nil) {
			return
		}
		for seq := uint64(3); h.f.flood; seq++ {
			if !yield(sandbox.Event{Seq: seq, Kind: sandbox.EventStdout, Data: make([]byte, 1<<20)}, nil) {
				return
			}
		}
		x, err := h.Wait(ctx)
		yield(sandbox.Event{Seq: 3, Kind: sandbox.EventResult, Execution: &x}, err)
	}
}

// fakeKeys keeps keys in memory, of tenants in their order.
type fakeKeys struct {
	mu   sync.Mutex
	keys []v1.Key
}

func (k *fakeKeys) Create(_ context.Context, tenant, name string) (v1.Key, string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	made := v1.Key{ID: fmt.Sprintf("%s%d", tenant, len(k.keys)), Name: name, CreatedAt: time.Unix(1_700_000_000, 0)}
	k.keys = append(k.keys, made)
	return made, "secret of " + made.ID, nil
}

func (k *fakeKeys) List(context.Context, string) ([]v1.Key, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.keys), nil
}

func (k *fakeKeys) Revoke(_ context.Context, _, id string) (v1.Key, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	i := slices.IndexFunc(k.keys, func(key v1.Key) bool { return key.ID == id })
	if i < 0 {
		return v1.Key{}, &sandbox.Error{Op: "fake", Kind: sandbox.KindNotFound, Field: "id", Msg: "no such key"}
	}
	was := k.keys[i]
	k.keys = slices.Delete(k.keys, i, i+1)
	was.RevokedAt = time.Unix(1_700_000_001, 0)
	return was, nil
}

type callerKey struct{}

// serve starts a server over f with bodies of at most 1 MiB that knows the key "good".
func serve(t *testing.T, f *fakeEngine) string {
	t.Helper()
	return start(t, f).URL
}

// start is serve for tests that close the server, which waits for its handlers.
func start(t *testing.T, f *fakeEngine) *httptest.Server {
	t.Helper()
	h, err := rpc.New(rpc.Options{
		Engine: f, Keys: &fakeKeys{}, MaxBody: 1 << 20, WriteTimeout: f.writeTimeout, Version: "v1.2.3",
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "figures") }),
		Auth: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Authorization") != "Bearer good" {
					http.Error(w, "{}", http.StatusUnauthorized)
					return
				}
				next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, true)))
			})
		},
		Caller: func(ctx context.Context) (v1.Caller, bool) {
			return v1.Caller{Tenant: "default", Client: "k1"}, ctx.Value(callerKey{}) != nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(h)
	var p http.Protocols
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	s.Config.Protocols = &p
	s.Start()
	t.Cleanup(s.Close)
	return s
}
