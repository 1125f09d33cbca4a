package rpc

import (
	"errors"
	"net/http"

	"connectrpc.com/connect"

	"github.com/soulbox/soulbox/rpc/errs"
	"github.com/soulbox/soulbox/sandbox"
)

// health answers /healthz (the process serves) and /readyz (it can run programs), without a key, and gives everything
// else to next.
func health(g Gate, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" && r.URL.Path != "/readyz" {
			next.ServeHTTP(w, r)
			return
		}
		if !onlyGet(w, r) {
			return
		}
		if r.URL.Path == "/readyz" {
			if err := g.Ready(); err != nil {
				errs.Write(w, errs.New(connect.CodeUnavailable, "NOT_READY", readyMessage(err)))
				return
			}
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		_, _ = w.Write([]byte("ok\n")) // a client that is gone needs no answer
	})
}

// readyMessage says why the engine is not ready, without the cause.
func readyMessage(err error) string {
	if e, ok := errors.AsType[*sandbox.Error](err); ok && e.Msg != "" {
		return e.Msg
	}
	return "not ready"
}
