package auth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/soulbox/soulbox/sandbox"
)

// memStore is a KeyStore in memory. With err set, every call fails.
type memStore struct {
	mu   sync.Mutex
	keys map[string]Key
	err  error
}

func newMemStore() *memStore { return &memStore{keys: map[string]Key{}} }

func (m *memStore) PutKey(_ context.Context, k Key) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, taken := m.keys[k.ID]; taken {
		return ErrKeyExists
	}
	m.keys[k.ID] = k
	return m.err
}

func (m *memStore) Key(_ context.Context, id string) (Key, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if k, ok := m.keys[id]; ok || m.err != nil {
		return k, m.err
	}
	return Key{}, ErrKeyNotFound
}

func (m *memStore) ListKeys(_ context.Context, tenant string) (list []Key, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range m.keys {
		if k.Tenant == tenant {
			list = append(list, k)
		}
	}
	return list, m.err
}

func (m *memStore) DeleteKey(_ context.Context, _, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.keys, id)
	return m.err
}

func TestKeysLife(t *testing.T) {
	ctx, store := context.Background(), newMemStore()
	keys := NewKeys(store)
	k, s, err := keys.Create(ctx, "acme", "laptop")
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^e2b_[0-9a-f]{40}$`).MatchString(s.Reveal()) {
		t.Error("Create made a key of another form than e2b_ and 40 hex digits")
	}
	if id, err := keys.Check(ctx, s); err != nil || id != (Identity{"acme", k.ID}) {
		t.Errorf("Check = %v, %v, want acme and %s", id, err, k.ID)
	}
	// A key whose hash has the same public id is still another key.
	forged := store.keys[k.ID]
	forged.Hash[31] ^= 1
	store.keys[k.ID] = forged
	if _, err := keys.Check(ctx, s); !errors.Is(err, ErrKeyNotFound) {
		t.Errorf("Check of a key that shares an id = %v, want ErrKeyNotFound", err)
	}
	if _, err := keys.Revoke(ctx, "other", k.ID); sandbox.KindOf(err) != sandbox.KindNotFound {
		t.Errorf("Revoke of another tenant's key = %v, want KindNotFound", err)
	}
	if got, err := keys.Revoke(ctx, "acme", k.ID); err != nil || got.RevokedAt.IsZero() {
		t.Errorf("Revoke = %v, %v, want the time of revocation", got, err)
	}
	if _, err := keys.Check(ctx, s); !errors.Is(err, ErrKeyNotFound) {
		t.Errorf("Check after Revoke = %v, want ErrKeyNotFound", err)
	}
	for _, label := range []string{strings.Repeat("x", 129), "two\nlines", "\xff"} {
		if _, _, err := keys.Create(ctx, "acme", label); sandbox.KindOf(err) != sandbox.KindInvalid {
			t.Errorf("Create with label %q = %v, want KindInvalid", label, err)
		}
	}
}

func TestWrap(t *testing.T) {
	ctx, store := context.Background(), newMemStore()
	keys := NewKeys(store)
	k, s, err := keys.Create(ctx, DefaultTenant, "")
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(keys, Options{EnvKey: NewSecret(" any thing ü ")})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux() // knows no path but these: a 404 means that the request was let in
	mux.HandleFunc("/healthz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/who", func(w http.ResponseWriter, r *http.Request) {
		id, ok := IdentityFrom(r.Context())
		fmt.Fprint(w, id.Tenant, " ", id.KeyID, " ", ok)
	})
	good, who := s.Reveal(), "default "+k.ID+" true"
	for _, tc := range []struct {
		name, path string
		header     http.Header
		status     int
		body       string // what the answer holds
	}{
		{"bearer", "/who", http.Header{"Authorization": {"Bearer " + good}}, 200, who},
		{"scheme in any case", "/who", http.Header{"Authorization": {"bEARER   " + good}}, 200, who},
		{"X-API-Key", "/who", http.Header{"X-Api-Key": {good}}, 200, who},
		{"both alike", "/who", http.Header{"X-Api-Key": {good}, "Authorization": {"Bearer " + good}}, 200, who},
		{"environment", "/who", http.Header{"X-Api-Key": {"any thing ü"}}, 200, "default env true"},
		{"good key, no path", "/nowhere", http.Header{"X-Api-Key": {good}}, 404, ""},
		{"open path", "/healthz", nil, 200, ""},
		{"open path, bad key", "/healthz", http.Header{"X-Api-Key": {"bad"}}, 200, ""},
		{"not quite open", "/healthz/", nil, 401, ReasonMissing},
		{"open path uncleaned", "/healthz/../who", nil, 401, ReasonMissing},
		{"none, no path", "/nowhere", nil, 401, ReasonMissing},
		{"both differ", "/who", http.Header{"X-Api-Key": {good}, "Authorization": {"Bearer x"}}, 401, ReasonConflict},
		{"twice", "/who", http.Header{"X-Api-Key": {good, "x"}}, 401, ReasonConflict},
		{"other scheme", "/who", http.Header{"Authorization": {"Basic " + good}, "X-Api-Key": {good}}, 401, ReasonMalformed},
		{"no scheme", "/who", http.Header{"Authorization": {good}}, 401, ReasonMalformed},
		{"bearer of nothing", "/who", http.Header{"Authorization": {"Bearer "}}, 401, ReasonMalformed},
		{"empty", "/who", http.Header{"X-Api-Key": {""}}, 401, ReasonMalformed},
		{"long", "/who", http.Header{"X-Api-Key": {strings.Repeat("x", 5000)}}, 401, ReasonMalformed},
		{"unknown", "/who", http.Header{"X-Api-Key": {good[:43] + "x"}}, 401, ReasonUnknown},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := httptest.NewRequest("POST", tc.path, nil)
			if tc.header != nil {
				r.Header = tc.header
			}
			w := httptest.NewRecorder()
			a.Wrap(mux).ServeHTTP(w, r)
			if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.body) {
				t.Fatalf("%d %s, want %d with %s", w.Code, w.Body, tc.status, tc.body)
			}
			if got := w.Header().Get("WWW-Authenticate"); (got == "Bearer") != (tc.status == 401) {
				t.Errorf("WWW-Authenticate = %q with status %d", got, tc.status)
			}
			if answer := map[string]string{}; tc.status == 401 && (json.Unmarshal(w.Body.Bytes(), &answer) != nil || answer["code"] != "unauthenticated") {
				t.Errorf("answer %s, want JSON with the code unauthenticated", w.Body)
			}
		})
	}
	if _, err := keys.Revoke(ctx, DefaultTenant, k.ID); err != nil {
		t.Fatal(err)
	}
	r, w := httptest.NewRequest("GET", "/who", nil), httptest.NewRecorder()
	r.Header.Set("X-API-Key", good)
	a.Wrap(mux).ServeHTTP(w, r)
	if w.Code != 401 {
		t.Errorf("status %d after the key was revoked, want 401", w.Code)
	}
}

func TestEnvKey(t *testing.T) {
	for _, bad := range []string{" ", "a\nb", "a\x7f", strings.Repeat("x", 5000)} {
		if _, err := New(NewKeys(newMemStore()), Options{EnvKey: NewSecret(bad)}); err == nil {
			t.Errorf("New accepted the key %q, which cannot be sent", bad)
		}
	}
	// Without a key in the environment nothing hashes to it, the zero hash least of all.
	a, err := New(NewKeys(newMemStore()), Options{})
	if err != nil || a.hasEnv {
		t.Errorf("New without an EnvKey: %v, hasEnv %v", err, a.hasEnv)
	}
}

func TestNothingLogsKeys(t *testing.T) {
	var log bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	store := newMemStore()
	keys := NewKeys(store)
	k, s, err := keys.Create(context.Background(), DefaultTenant, "")
	if err != nil {
		t.Fatal(err)
	}
	logger.Info("a careless line", "key", s, "all", []any{s, &s, struct{ S Secret }{s}}, "record", k)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&log, verb+verb, s, struct{ S Secret }{s})
	}
	a, err := New(keys, Options{EnvKey: s, Log: logger})
	if err != nil {
		t.Fatal(err)
	}
	store.err = errors.New("disk on fire")
	r, w := httptest.NewRequest("GET", "/", nil), httptest.NewRecorder()
	other := generate()
	r.Header.Set("Authorization", "Bearer "+other.Reveal())
	a.Wrap(http.NotFoundHandler()).ServeHTTP(w, r)
	if w.Code != 500 || !strings.Contains(log.String(), "disk on fire") || strings.Contains(w.Body.String(), "fire") {
		t.Errorf("failing store: %d %s, want 500, with the cause in the log only", w.Code, w.Body)
	}
	for _, secret := range []Secret{s, other} {
		if digits := secret.Reveal()[len(secretPrefix):]; strings.Contains(log.String()+w.Body.String(), digits) || strings.Contains(log.String(), fmt.Sprintf("%x", secret.Reveal())) {
			t.Errorf("a key was written:\n%s\n%s", &log, w.Body)
		}
	}
}

func TestLocalKey(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	file := filepath.Join(dir, localKeyFile)
	keys := NewKeys(newMemStore())
	if _, err := ReadLocalKey(dir); !errors.Is(err, ErrNoLocalKey) {
		t.Errorf("ReadLocalKey of nothing = %v, want ErrNoLocalKey", err)
	}
	if _, err := ReadLocalKey(dir + "/absent"); !errors.Is(err, ErrNoLocalKey) {
		t.Errorf("ReadLocalKey of no directory = %v, want ErrNoLocalKey", err)
	}
	if err := os.WriteFile(filepath.Join(dir, localKeyNew), nil, 0o644); err != nil { // left by a crash
		t.Fatal(err)
	}
	ensure := func() Secret {
		t.Helper()
		if err := EnsureLocalKey(ctx, dir, keys); err != nil {
			t.Fatal(err)
		}
		s, err := ReadLocalKey(dir)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := keys.Check(ctx, s); err != nil {
			t.Errorf("Check of the local key = %v", err)
		}
		return s
	}
	first := ensure()
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of the file = %v, %v, want 0600", info.Mode(), err)
	}
	if ensure() != first {
		t.Error("a second start made another key")
	}
	if _, err := keys.Revoke(ctx, DefaultTenant, first.hash().id()); err != nil {
		t.Fatal(err)
	}
	if ensure() == first {
		t.Error("a revoked key was not replaced")
	}
	for name, spoil := range map[string]func() error{
		"readable by others": func() error { return os.Chmod(file, 0o640) },
		"damaged":            func() error { return errors.Join(os.Chmod(file, 0o600), os.WriteFile(file, []byte("e2b_x"), 0o600)) },
		"a link":             func() error { return errors.Join(os.Remove(file), os.Symlink("/etc/hostname", file)) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		if err := EnsureLocalKey(ctx, dir, keys); err == nil {
			t.Errorf("EnsureLocalKey accepted a file that is %s", name)
		}
		if err := errors.Join(os.Remove(file), EnsureLocalKey(ctx, dir, keys)); err != nil {
			t.Fatal(err)
		}
	}
}

func FuzzCredential(f *testing.F) {
	f.Add("Bearer e2b_x", "e2b_x", true, true)
	f.Add("bearer", "", true, false)
	f.Add("Basic x", "\t", true, true)
	f.Fuzz(func(t *testing.T, authorization, key string, hasAuthorization, hasKey bool) {
		h := http.Header{}
		if hasAuthorization {
			h.Set("Authorization", authorization)
		}
		if hasKey {
			h.Set("X-API-Key", key)
		}
		s, fail := credential(h)
		if (fail == nil) == (s.Reveal() == "") {
			t.Fatalf("credential(%q) gives a key and a failure, or neither", h)
		}
		if fail != nil {
			return
		}
		if hasKey && s.Reveal() != strings.Trim(key, " \t") || hasAuthorization && !strings.HasSuffix(strings.TrimRight(authorization, " \t"), s.Reveal()) {
			t.Errorf("credential(%q) = %q, which not all fields give", h, s.Reveal())
		}
	})
}
