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
	"time"

	"github.com/soulbox/soulbox/rpc"
	"github.com/soulbox/soulbox/sandbox/wide"
	"github.com/soulbox/soulbox/systemd"
)

// lastAnswers bounds how long clients may take to read what the last executions answered.
const lastAnswers = 5 * time.Second

// lastStreams bounds the same where the next daemon is waited for: who follows a sandbox's process can do so again there.
const lastStreams = time.Second

// tellReady tells the supervisor once a program has run.
func tellReady(ctx context.Context, e *engine, s *wide.Session, log *slog.Logger) {
	if e.AwaitReady(ctx) != nil {
		return // it has ended
	}
	if err := s.Ready(); err != nil {
		log.Warn("the supervisor was not told that the daemon is ready", "err", err)
	}
}

// listenAndDrain serves until ctx ends or the supervisor asks to hand over, then lets requests end and settles all
// executions.
func listenAndDrain(ctx context.Context, e *engine, listeners []net.Listener, h http.Handler, log *slog.Logger) error {
	handOver := make(chan os.Signal, 1)
	signal.Notify(handOver, wide.HandOver)
	defer signal.Stop(handOver)
	srv := rpc.Server(h, log)
	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { failed <- srv.Serve(l) }()
	}
	most := lastAnswers
	var err error
	// The server stays until all is settled: it refuses new executions, and still shows and cancels those that run. The
	// supervisor holds the socket, so a client of a server that is closed would wait for nothing.
	select {
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	case <-handOver:
		log.Info("handing over: no new executions, running ones may end, sandboxes live on")
		notify(log, systemd.Status, "handing over to the next daemon; running executions may end")
		e.handedOver, most = true, lastStreams
		e.Drain(context.WithoutCancel(ctx))
	case <-ctx.Done():
		log.Info("stopping: no new executions, running ones may end")
		notify(log, systemd.Stopping, "running executions may end")
		err = e.Engine.Close(context.WithoutCancel(ctx))
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), most)
	defer cancel()
	if stuck := srv.Shutdown(last); stuck != nil {
		if !e.handedOver {
			log.Warn("a client did not read its answer", "err", stuck)
		}
		err = errors.Join(err, srv.Close())
	}
	for range listeners {
		<-failed //nolint:errcheck // http.ErrServerClosed
	}
	return err
}

// notify tells the service manager something.
func notify(log *slog.Logger, say func(string) error, text string) {
	if err := say(text); err != nil {
		log.Warn("the service manager was not told how the daemon is", "err", err)
	}
}
