package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
)

// EnvKeyID is the id of the key that the daemon's environment names.
const EnvKeyID = "env"

// The reasons of a [Failure].
const (
	ReasonMissing   = "API_KEY_MISSING"
	ReasonMalformed = "API_KEY_MALFORMED"
	ReasonConflict  = "API_KEY_CONFLICT"
	ReasonUnknown   = "API_KEY_UNKNOWN"
	ReasonStore     = "API_KEY_STORE" // the store failed; Status is 500
)

// Failure says why a request was not let in. It holds nothing of the key.
type Failure struct {
	Status int    // HTTP status: 401, or 500 when keys could not be read
	Reason string // stable
	Msg    string // safe to show a client
}

// Options configure [New]. The zero value is usable.
type Options struct {
	// EnvKey is one more key, of DefaultTenant, which is not stored; the zero Secret means none.
	EnvKey Secret
	// Fail answers a request that is not let in; WWW-Authenticate is set already. Default: a small JSON object.
	Fail func(http.ResponseWriter, *http.Request, *Failure)
	// Log is told when the store fails; default: discard.
	Log *slog.Logger
}

// Authenticator lets requests with a good key pass.
type Authenticator struct {
	keys   *Keys
	hasEnv bool
	env    Hash
	fail   func(http.ResponseWriter, *http.Request, *Failure)
	log    *slog.Logger
}

// New returns the authenticator for keys. It refuses an EnvKey that no HTTP header can carry.
func New(keys *Keys, o Options) (*Authenticator, error) {
	a := &Authenticator{keys: keys, fail: o.Fail, log: o.Log}
	if a.fail == nil {
		a.fail = writeFailure
	}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	if key := o.EnvKey.Reveal(); key != "" {
		// Headers lose the white space around them, so that a key is the same with and without.
		key = trim(key)
		if key == "" || len(key) > maxSecret || strings.ContainsFunc(key, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			return nil, fmt.Errorf("the API key of the environment cannot be sent: it is blank, longer than %d bytes, or holds control characters such as a line's end", maxSecret)
		}
		a.hasEnv, a.env = true, Secret{key}.hash()
	}
	return a, nil
}

// Wrap returns a handler that passes to next what comes with a good key, or without one from the daemon's own user over a
// unix socket (see [ConnContext]), and requests for /healthz and /readyz, which
// anyone may ask for. Everything else is answered with 401, whether or not there is such a path.
func (a *Authenticator) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" || r.URL.Path == "/readyz" {
			next.ServeHTTP(w, r)
			return
		}
		id, f := a.authenticate(r)
		if f == nil {
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), identityKey{}, id)))
			return
		}
		if f.Status == 0 {
			f.Status = http.StatusUnauthorized
		}
		if f.Status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", "Bearer")
		}
		a.fail(w, r, f)
	})
}

func (a *Authenticator) authenticate(r *http.Request) (Identity, *Failure) {
	s, f := credential(r.Header)
	if f != nil && f.Reason == ReasonMissing && isOwner(r.Context()) {
		return Identity{Tenant: DefaultTenant, KeyID: OwnerKeyID}, nil
	}
	if f != nil {
		return Identity{}, f
	}
	if isEnv := a.env.equal(s.hash()); isEnv && a.hasEnv {
		return Identity{Tenant: DefaultTenant, KeyID: EnvKeyID}, nil
	}
	id, err := a.keys.Check(r.Context(), s)
	switch {
	case err == nil:
		return id, nil
	case errors.Is(err, ErrKeyNotFound):
		return Identity{}, &Failure{Reason: ReasonUnknown, Msg: "the API key is unknown or revoked"}
	case r.Context().Err() == nil:
		a.log.ErrorContext(r.Context(), "API keys cannot be read", "err", err)
	}
	return Identity{}, &Failure{Status: http.StatusInternalServerError, Reason: ReasonStore, Msg: "API keys cannot be read"}
}

type identityKey struct{}

// IdentityFrom returns whom an [Authenticator] let in.
func IdentityFrom(ctx context.Context) (Identity, bool) {
	id, ok := ctx.Value(identityKey{}).(Identity)
	return id, ok
}

// writeFailure is the default of Options.Fail.
func writeFailure(w http.ResponseWriter, _ *http.Request, f *Failure) {
	code := "unauthenticated"
	if f.Status != http.StatusUnauthorized {
		code = "internal"
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(f.Status)
	// A client that is gone needs no answer.
	_ = json.NewEncoder(w).Encode(map[string]string{"code": code, "reason": f.Reason, "message": f.Msg})
}
