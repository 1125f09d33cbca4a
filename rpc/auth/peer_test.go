package auth

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
)

// The daemon's own user needs no key on a unix socket, in HTTP/1 and HTTP/2; a key that is sent is checked all the same,
// and TCP has no owner.
func TestOwnerNeedsNoKeyOnASocket(t *testing.T) {
	a, err := New(NewKeys(newMemStore()), Options{EnvKey: NewSecret("good")})
	if err != nil {
		t.Fatal(err)
	}
	h := a.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, _ := IdentityFrom(r.Context())
		w.Header().Set("Identity", id.Tenant+" "+id.KeyID)
	}))
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	for _, network := range []string{"unix", "tcp"} {
		address := "127.0.0.1:0"
		if network == "unix" {
			address = filepath.Join(t.TempDir(), "s")
		}
		l, err := net.Listen(network, address)
		if err != nil {
			t.Fatal(err)
		}
		s := httptest.NewUnstartedServer(h)
		if err := s.Listener.Close(); err != nil {
			t.Fatal(err)
		}
		s.Listener, s.Config.Protocols, s.Config.ConnContext = l, &protocols, ConnContext
		s.Start()
		t.Cleanup(s.Close)
		dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, l.Addr().String())
		}
		var h1, h2 http.Protocols
		h1.SetHTTP1(true)
		h2.SetUnencryptedHTTP2(true)
		for name, p := range map[string]*http.Protocols{"HTTP/1.1": &h1, "HTTP/2.0": &h2} {
			transport := &http.Transport{DialContext: dial, Protocols: p}
			t.Cleanup(transport.CloseIdleConnections)
			for _, tt := range []struct {
				key      string
				status   int
				identity string
			}{
				{"", http.StatusOK, "default owner"},
				{"good", http.StatusOK, "default env"},
				{"bad", http.StatusUnauthorized, ""},
			} {
				if network == "tcp" && tt.key == "" {
					tt.status, tt.identity = http.StatusUnauthorized, ""
				}
				r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost/x", nil)
				r.RequestURI = ""
				if tt.key != "" {
					r.Header.Set("X-API-Key", tt.key)
				}
				res, err := transport.RoundTrip(r)
				if err != nil {
					t.Errorf("%s over %s: %v", name, network, err)
					continue
				}
				err = res.Body.Close()
				if got := res.Header.Get("Identity"); err != nil || res.Proto != name || res.StatusCode != tt.status || got != tt.identity {
					t.Errorf("%s over %s with key %q = %s %d, %q, %v, want %d, %q", name, network, tt.key, res.Proto, res.StatusCode, got, err, tt.status, tt.identity)
				}
			}
		}
	}
}

// A connection whose other end cannot be told is nobody's.
func TestConnContextOfAClosedConnection(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if !isOwner(ConnContext(t.Context(), c)) {
		t.Error("this process is not its own user's")
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if isOwner(ConnContext(t.Context(), c)) {
		t.Error("a closed connection is the owner's")
	}
	if _, err := peerUID(c.(*net.UnixConn)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("peerUID of a closed connection: %v, want %v", err, net.ErrClosed)
	}
}
