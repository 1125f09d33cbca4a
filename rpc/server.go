package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"connectrpc.com/connect"

	"github.com/soulbox/soulbox/rpc/auth"
	"github.com/soulbox/soulbox/rpc/errs"
	"github.com/soulbox/soulbox/rpc/rest"
	"github.com/soulbox/soulbox/rpc/schema"
	"github.com/soulbox/soulbox/rpc/v1"
	"github.com/soulbox/soulbox/sandbox"
)

// Gate lets requests in.
type Gate interface {
	// Reserve takes a place in the queue for a client, or refuses with [sandbox.KindExhausted]. It does not wait.
	Reserve(client string) (*sandbox.Place, error)
	// Ready returns nil once programs can be run, and why not before.
	Ready() error
}

// Engine is all that rpc asks of an engine; [*sandbox.Engine] is one.
type Engine interface {
	v1.Engine
	Gate
}

// Options configure [New]. Engine, Keys, Auth and Caller must be set.
type Options struct {
	Engine Engine
	Keys   v1.Keys
	// Sandboxes keeps sandboxes that live on; nil: there are none.
	Sandboxes v1.Sandboxes
	// Images keeps what sandboxes start from; nil: only the host's own.
	Images v1.Images
	// Auth refuses requests without a key and puts the caller where Caller finds it.
	Auth func(http.Handler) http.Handler
	// Caller returns whom Auth let in, from a request's context.
	Caller func(context.Context) (v1.Caller, bool)
	// MaxBody bounds a request's body in bytes, as sent and decompressed; default 16 MiB.
	MaxBody int
	// WriteTimeout is how long a client may take to read the next piece of an answer before it counts as gone; default 30 s.
	WriteTimeout time.Duration
	// Metrics serves GET /metrics; nil serves none.
	Metrics http.Handler
	// Version is the daemon's, for clients to see; default "dev".
	Version string
	// Log gets the causes of internal errors; default [slog.Default].
	Log *slog.Logger
}

// New returns the handler of everything the daemon serves.
func New(o Options) (http.Handler, error) {
	if o.Engine == nil || o.Auth == nil {
		return nil, errors.New("assemble the API: Engine and Auth must be set")
	}
	if o.MaxBody == 0 {
		o.MaxBody = 16 << 20
	}
	if o.WriteTimeout == 0 {
		o.WriteTimeout = 30 * time.Second
	}
	if o.Version == "" {
		o.Version = "dev"
	}
	services, err := v1.New(v1.Options{
		Engine: o.Engine, Keys: o.Keys, Sandboxes: o.Sandboxes, Images: o.Images, Caller: o.Caller, MaxBody: o.MaxBody, Log: o.Log,
	})
	if err != nil {
		return nil, err
	}
	routes, err := rest.New(services, int64(o.MaxBody))
	if err != nil {
		return nil, err
	}
	rpcs := http.NewServeMux()
	registerStandard(rpcs, o.Engine, services.Register(rpcs))
	rpcs.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		errs.Write(w, errs.New(connect.CodeNotFound, errs.ReasonNoRoute, "no such path"))
	})
	api := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// A mux redirects what it would clean, and so answers what is no path of ours.
		if isProcedure(r.URL.Path) {
			rpcs.ServeHTTP(w, r)
			return
		}
		routes.ServeHTTP(w, r)
	})
	more := map[string]http.Handler{"/openapi.json": document(o.Version, services)}
	if o.Metrics != nil {
		more["/metrics"] = o.Metrics
	}
	g := &guard{gate: o.Engine, services: services, caller: o.Caller, maxBody: int64(o.MaxBody), next: pages(more, api)}
	// Who has no key is told nothing of what is there, and so not of what is deprecated either.
	announced, err := announce(schema.Methods(), g)
	if err != nil {
		return nil, fmt.Errorf("assemble the API: %w", err)
	}
	return withVersion(o.Version, bounded(health(o.Engine, o.Auth(announced)), o.WriteTimeout)), nil
}

// Server returns a server for h that speaks HTTP/1, and HTTP/2 without TLS to clients that begin with it. The caller
// owns it. There is no limit on a whole request, since a program may run long, but on its header and on idling.
// On a unix socket it notes for package auth who is at the other end.
func Server(h http.Handler, log *slog.Logger) *http.Server {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler:           h,
		ConnContext:       auth.ConnContext,
		Protocols:         &protocols,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}
