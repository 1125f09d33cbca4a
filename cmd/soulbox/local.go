package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/soulbox/soulbox/rpc/auth"
	"github.com/soulbox/soulbox/rpc/client"
	"github.com/soulbox/soulbox/sandbox/wide"
)

// inProcess runs action against an engine in this process. They talk as a client and a daemon do, over a port of
// loopback that needs a key of this process's own: there is one path through the code, whoever runs the engine.
func inProcess(c *cli.Context, s *wide.Session, action clientAction) (err error) {
	ctx, stop := signal.NotifyContext(c.Context, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	cache, err := filepath.Abs(c.Path("cache-dir"))
	if err != nil {
		return fmt.Errorf("cache directory: %w", err)
	}
	// The caller is the operator: no policy above what the request asks for.
	e, err := openEngine(ctx, s, engineConfig{cacheDir: cache, languagesDir: c.Path("languages-dir"), maxQueue: 64, drain: time.Second, lost: exitFailed,
		log: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close(context.WithoutCancel(ctx))) }()
	handler, err := newHandler(ctx, e, s.StateDir, log)
	if err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen on loopback: %w", err)
	}
	srv := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = srv.Serve(l) // http.ErrServerClosed, or requests fail and say so
	}()
	defer func() {
		err = errors.Join(err, srv.Close())
		<-served
	}()
	key, err := auth.ReadLocalKey(s.StateDir)
	if err != nil {
		return err
	}
	daemon, err := client.New("http://"+l.Addr().String(), key.Reveal())
	if err != nil {
		return err
	}
	return explained(action(ctx, c, daemon))
}
