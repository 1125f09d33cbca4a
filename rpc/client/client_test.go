package client_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/soulbox/soulbox/rpc/client"
	"github.com/soulbox/soulbox/rpc/errs"
	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
	"github.com/soulbox/soulbox/sandbox"
)

func TestNew(t *testing.T) {
	for base, ok := range map[string]bool{
		"http://127.0.0.1:1": true, "https://h/": true, "127.0.0.1:1": false, "": false, "ftp://h": false, "unix:///run/s": true, "unix://run/s": false, "unix:s": false, "http://": false,
	} {
		if _, err := client.New(base, "k"); (err == nil) != ok {
			t.Errorf("New(%q) = %v, want success %t", base, err, ok)
		}
	}
}

// The key goes with each request, and not to where a redirect points.
func TestKey(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the client followed a redirect")
	}))
	t.Cleanup(elsewhere.Close)
	var got []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Header.Get("Authorization"))
		if r.URL.Path == "/readyz" {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
	}))
	t.Cleanup(s.Close)
	c, err := client.New(s.URL+"/", "secret")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Ready(t.Context()); !errors.Is(err, client.ErrNotReady) || !strings.Contains(err.Error(), "503") {
		t.Errorf("Ready = %v, want ErrNotReady with 503", err)
	}
	if _, err := c.Keys.ListKeys(t.Context(), &pb.ListKeysRequest{}); err == nil {
		t.Error("ListKeys on a server that redirects = nil, want an error")
	}
	if len(got) != 2 || got[0] != "Bearer secret" || got[1] != "Bearer secret" {
		t.Errorf("Authorization = %q, want the key twice", got)
	}
	s.Close()
	if err := c.Ready(t.Context()); err == nil || errors.Is(err, client.ErrNotReady) {
		t.Errorf("Ready without a server = %v, want an error that is not ErrNotReady", err)
	}
}

// TestReady tells what is not there from what is there and not ready.
func TestReady(t *testing.T) {
	for name, tt := range map[string]struct {
		answer   http.HandlerFunc
		notReady bool
		say      string
	}{
		"with a reason": {func(w http.ResponseWriter, _ *http.Request) {
			errs.Write(w, errs.New(connect.CodeUnavailable, "NOT_READY", "the first sandbox has not run"))
		}, true, "it is not ready: the first sandbox has not run"},
		"without":           {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }, true, "503"},
		"something else":    {http.NotFound, false, "404"},
		"breaks off":        {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, false, "EOF"},
		"does not answer":   {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, true, "no answer"},
		"ready after all":   {func(http.ResponseWriter, *http.Request) {}, false, ""},
		"says no end of it": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503); _, _ = w.Write(make([]byte, 1<<20)) }, true, "503"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if name == "does not answer" {
					cancel() // as a deadline does
				}
				tt.answer(w, r)
			}))
			defer s.Close()
			c, err := client.New(s.URL, "")
			if err != nil {
				t.Fatal(err)
			}
			err = c.Ready(ctx)
			if errors.Is(err, client.ErrNotReady) != tt.notReady || (err == nil) != (tt.say == "") || err != nil && !strings.Contains(err.Error(), tt.say) {
				t.Errorf("Ready = %v, want not ready %t and %q", err, tt.notReady, tt.say)
			}
		})
	}
}

func TestExplain(t *testing.T) {
	full := errs.From(t.Context(), nil, &sandbox.Error{Kind: sandbox.KindExhausted, Msg: "too many", RetryAfter: 3 * time.Second})
	for _, tt := range []struct {
		err  error
		want string
	}{
		{errors.New("plain"), "plain"},
		{full, "resource_exhausted: too many (try again in 3s)"},
		{errs.Invalid("code", "is wrong"), "code: is wrong"},
		{errs.New(connect.CodeUnauthenticated, "R", "no"), "no (set SOULBOX_API_KEY to a key of this daemon)"},
	} {
		if got := client.Explain(tt.err); got != tt.want {
			t.Errorf("Explain(%v) = %q, want %q", tt.err, got, tt.want)
		}
	}
}
