package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/soulbox/soulbox/systemd"
)

// superviseServe opens the listening sockets that the service manager has not opened already, and supervises the daemon.
func superviseServe(c *cli.Context) (err error) {
	passed, err := systemd.Listening()
	if err = errors.Join(err, systemd.Inherit()); err != nil {
		return err
	}
	cfg, err := loadConfig(c, os.Getuid())
	if err != nil {
		return err
	}
	logs := openLog(cfg.LogLevel, cfg.LogFormat)
	defer func() { err = errors.Join(err, logs.Close()) }()
	socket := ""
	if passed.Unix == nil {
		var tooLong bool
		if socket, tooLong, err = socketPath(cfg.Socket, cfg.StateDir); err != nil {
			return err
		}
		if tooLong {
			logs.logger().Warn("no socket: its path in the state directory would be too long; --socket takes a shorter one", "stateDir", cfg.StateDir, "most", maxSocketPath)
		}
	}
	made := false
	defer func() {
		if made {
			err = errors.Join(err, os.Remove(socket))
		}
	}()
	return supervise(c, cfg.StateDir, func() (_ []*os.File, err error) {
		tcp, unix := passed.TCP, passed.Unix
		if tcp == nil {
			if tcp, err = listenTCP(c.Context, cfg.Listen); err != nil {
				return nil, err
			}
		}
		if socket != "" {
			if unix, err = listenSocket(socket); err != nil {
				return nil, errors.Join(err, tcp.Close())
			}
			made = true
		}
		if unix == nil {
			return []*os.File{tcp}, nil
		}
		return []*os.File{tcp, unix}, nil
	})
}

// listenTCP opens a listening socket that can be inherited.
func listenTCP(ctx context.Context, address string) (*os.File, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("--listen: %w", err)
	}
	f, err := l.(*net.TCPListener).File()
	if err = errors.Join(err, l.Close()); err != nil {
		return nil, fmt.Errorf("--listen: %w", err)
	}
	return f, nil
}

// selfCheck returns a check that asks a daemon for its health as a client would, over TCP.
func selfCheck(addr net.Addr) func(context.Context) error {
	// A connection of its own each time: that is what clients need, too.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	return func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr.String()+"/healthz", nil)
		if err != nil {
			return fmt.Errorf("ask for the daemon's health: %w", err)
		}
		resp, err := client.Do(req)
		if err != nil {
			return fmt.Errorf("ask for the daemon's health: %w", err)
		}
		if err := resp.Body.Close(); err != nil {
			return fmt.Errorf("ask for the daemon's health: %w", err)
		}
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("ask for the daemon's health: %s", resp.Status)
		}
		return nil
	}
}
