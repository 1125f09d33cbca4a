package main

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/soulbox/soulbox/rpc/client"
	"github.com/soulbox/soulbox/rpc/errs"
)

// scene is a daemon, and a patience whose times end when the daemon has been asked often enough, however slow the machine.
type scene struct {
	answer http.HandlerFunc
	ready  atomic.Bool
	asked  atomic.Int32
	end    atomic.Pointer[context.CancelFunc] // ends the time that runs
	each   int32                              // so many questions are one time; 0: none ends
}

func (s *scene) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := s.asked.Add(1)
	if s.ready.Load() {
		return
	}
	if s.each > 0 && n%s.each == 0 {
		(*s.end.Load())()
	}
	s.answer(w, r)
}

func (s *scene) patience() patience {
	return patience{ask: time.Millisecond, say: time.Second, most: time.Minute,
		limit: func(ctx context.Context, _ time.Duration) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			s.end.Store(&cancel)
			return ctx, cancel
		}}
}

func startingUp(w http.ResponseWriter, _ *http.Request) {
	errs.Write(w, errs.New(connect.CodeUnavailable, "NOT_READY", "the first sandbox has not run yet"))
}

func silence(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func unavailable(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusServiceUnavailable)
}

// onWrite is where the user is told something, and does something when that happens.
type onWrite struct {
	bytes.Buffer
	do func()
}

func (w *onWrite) Write(b []byte) (int, error) {
	w.do()
	return w.Buffer.Write(b)
}

func clientOf(t *testing.T, h http.Handler) *client.Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	daemon, err := client.New(s.URL, "k")
	if err != nil {
		t.Fatal(err)
	}
	return daemon
}

// TestWaitForDaemon: it becomes ready when the user has been told that it is not.
func TestWaitForDaemon(t *testing.T) {
	s := &scene{answer: startingUp, each: 2}
	said := &onWrite{do: func() { s.ready.Store(true) }}
	if err := s.patience().await(t.Context(), clientOf(t, s), said); err != nil {
		t.Errorf("await = %v, want nil once it is ready", err)
	}
	if want := "soulbox: waiting for the daemon, which is not ready yet\n"; said.String() != want {
		t.Errorf("said %q, want %q once", said, want)
	}
}

// TestReadyDaemon is one that is ready at the first question, or soon: nothing is said.
func TestReadyDaemon(t *testing.T) {
	for _, want := range []int32{1, 3} {
		s := &scene{}
		s.ready.Store(want == 1)
		s.answer = func(w http.ResponseWriter, r *http.Request) {
			s.ready.Store(s.asked.Load() == want-1)
			startingUp(w, r)
		}
		silent := &onWrite{do: func() { t.Error("something is said") }}
		if err := s.patience().await(t.Context(), clientOf(t, s), silent); err != nil || s.asked.Load() != want {
			t.Errorf("await = %v after %d questions, want nil after %d", err, s.asked.Load(), want)
		}
	}
}

// TestNotReadyDaemon: one that does not become ready in time, or does not answer at all, is not one that is not there.
func TestNotReadyDaemon(t *testing.T) {
	for name, tc := range map[string]struct {
		answer http.HandlerFunc
		each   int32
		reason string
	}{
		"it says why":        {startingUp, 2, "it is not ready: the first sandbox has not run yet"},
		"it does not answer": {silence, 1, "no answer"},
		"a proxy before it":  {unavailable, 2, "503 Service Unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &scene{answer: tc.answer, each: tc.each}
			var said bytes.Buffer
			err := s.patience().await(t.Context(), clientOf(t, s), &said)
			if !errors.Is(err, client.ErrNotReady) || errors.Is(err, errNoDaemon) {
				t.Fatalf("await = %v, want client.ErrNotReady", err)
			}
			for _, part := range []string{"a daemon is there, but was not ready within 1m1s", tc.reason, "its log says why, and its /readyz"} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("await = %v, want %q in it", err, part)
				}
			}
			if n := strings.Count(said.String(), "\n"); n != 1 {
				t.Errorf("said %q, want one line", &said)
			}
		})
	}
}

// TestNoDaemon: what is no daemon is not waited for.
func TestNoDaemon(t *testing.T) {
	nobody, err := client.New("unix://"+t.TempDir()+"/none.sock", "")
	if err != nil {
		t.Fatal(err)
	}
	for name, daemon := range map[string]*client.Client{"nobody": nobody, "something else": clientOf(t, http.NotFoundHandler())} {
		silent := &onWrite{do: func() { t.Error("something is said") }}
		if err := (&scene{}).patience().await(t.Context(), daemon, silent); !errors.Is(err, errNoDaemon) {
			t.Errorf("%s: await = %v, want errNoDaemon", name, err)
		}
	}
}

// TestWaitIsCancelled: Ctrl-C ends the wait, before the user is told of it and after.
func TestWaitIsCancelled(t *testing.T) {
	cause := errors.New("interrupted")
	for name, each := range map[string]int32{"before": 0, "after": 2} {
		ctx, cancel := context.WithCancelCause(t.Context())
		s := &scene{each: each}
		s.answer = func(w http.ResponseWriter, r *http.Request) {
			unavailable(w, r)
			if s.asked.Load() == 3 && name == "before" {
				cancel(cause)
			}
		}
		told := &onWrite{do: func() { cancel(cause) }}
		err := s.patience().await(ctx, clientOf(t, s), told)
		if !errors.Is(err, cause) || errors.Is(err, errNoDaemon) || errors.Is(err, client.ErrNotReady) {
			t.Errorf("cancelled %s: await = %v, want the cause alone", name, err)
		}
		if (told.Len() > 0) != (name == "after") {
			t.Errorf("cancelled %s: said %q", name, told)
		}
	}
}
