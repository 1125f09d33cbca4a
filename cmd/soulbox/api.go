package main

import (
	"context"
	"log/slog"
	"net/http"
	"os"

	"connectrpc.com/connect"

	"github.com/soulbox/soulbox/rpc"
	"github.com/soulbox/soulbox/rpc/auth"
	"github.com/soulbox/soulbox/rpc/errs"
	"github.com/soulbox/soulbox/rpc/metrics"
	"github.com/soulbox/soulbox/rpc/v1"
	"github.com/soulbox/soulbox/sandbox"
)

// keyVariable holds, for a daemon, one more key; for the command line, the key that it uses.
const keyVariable = "SOULBOX_API_KEY"

// newHandler assembles the API over an engine, with its keys in the engine's store. It is called once for an engine.
func newHandler(ctx context.Context, e *engine, stateDir string, log *slog.Logger) (http.Handler, error) {
	keys := auth.NewKeys(e.keys)
	if err := auth.EnsureLocalKey(ctx, stateDir, keys); err != nil {
		return nil, err
	}
	a, err := auth.New(keys, auth.Options{EnvKey: auth.NewSecret(os.Getenv(keyVariable)), Fail: refuse, Log: log})
	if err != nil {
		return nil, err
	}
	if err := e.metrics.Watch(e.Engine, func() metrics.StoreStats { return metrics.StoreStats(e.store.Stats()) }); err != nil {
		return nil, err
	}
	return rpc.New(rpc.Options{Engine: e.Engine, Keys: keyService{keys, e.HasRules}, Sandboxes: e.Engine.Sandboxes(), Images: e.Engine.Images(), Auth: a.Wrap, Caller: caller,
		Metrics: e.metrics.Handler(), Version: version, Log: log})
}

// refuse answers a request without a good key as the API answers all errors. The body is not read, so that the
// connection cannot serve another request.
func refuse(w http.ResponseWriter, _ *http.Request, f *auth.Failure) {
	code := connect.CodeUnauthenticated
	if f.Status == http.StatusInternalServerError {
		code = connect.CodeInternal
	}
	w.Header().Set("Connection", "close")
	errs.WriteStatus(w, errs.New(code, f.Reason, f.Msg), f.Status)
}

// caller is whom the authenticator let in.
func caller(ctx context.Context) (v1.Caller, bool) {
	id, ok := auth.IdentityFrom(ctx)
	return v1.Caller{Tenant: id.Tenant, Client: id.KeyID}, ok
}

// keyService shows keys to the API. A key that the policy has rules for makes and revokes none: another one would be
// free of them.
type keyService struct {
	keys     *auth.Keys
	hasRules func(client string) bool
}

func (s keyService) mayChange(ctx context.Context) error {
	if id, ok := auth.IdentityFrom(ctx); ok && s.hasRules(id.KeyID) {
		return &sandbox.Error{Op: "soulbox.Keys", Kind: sandbox.KindDenied, Reason: "KEYS_NOT_ALLOWED",
			Msg: "the operator has rules for this key: it cannot make or revoke keys"}
	}
	return nil
}

func (s keyService) Create(ctx context.Context, tenant, name string) (v1.Key, string, error) {
	if err := s.mayChange(ctx); err != nil {
		return v1.Key{}, "", err
	}
	k, secret, err := s.keys.Create(ctx, tenant, name)
	return shownKey(k), secret.Reveal(), err
}

func (s keyService) List(ctx context.Context, tenant string) ([]v1.Key, error) {
	keys, err := s.keys.List(ctx, tenant)
	out := make([]v1.Key, 0, len(keys))
	for _, k := range keys {
		out = append(out, shownKey(k))
	}
	return out, err
}

func (s keyService) Revoke(ctx context.Context, tenant, id string) (v1.Key, error) {
	if err := s.mayChange(ctx); err != nil {
		return v1.Key{}, err
	}
	k, err := s.keys.Revoke(ctx, tenant, id)
	return shownKey(k), err
}

func shownKey(k auth.Key) v1.Key {
	return v1.Key{ID: k.ID, Name: k.Label, CreatedAt: k.CreatedAt, RevokedAt: k.RevokedAt}
}
