package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/soulbox/soulbox/cmd/soulbox/config"
	"github.com/soulbox/soulbox/sandbox/wide"
	"github.com/soulbox/soulbox/systemd"
)

func reloadCommand() *cli.Command {
	return &cli.Command{
		Name:  "reload",
		Usage: "tell the daemon on this machine to read its configuration again",
		Description: "It sends SIGHUP to the daemon's supervisor. The daemon's log says what changed, what needs a restart, and, when the\n" +
			"configuration is wrong and the old one stays, everything that is wrong with it.\n\n   soulbox reload",
		Flags: []cli.Flag{stateDirFlag()},
		Action: func(c *cli.Context) error {
			if err := noArgs(c); err != nil {
				return err
			}
			dir := stateDir(c)
			pid, err := wide.Supervisor(dir)
			if err != nil {
				return err
			}
			if pid == 0 {
				return fmt.Errorf("%w (none holds %s)", errNoDaemon, dir)
			}
			if err := syscall.Kill(pid, syscall.SIGHUP); err != nil {
				return fmt.Errorf("signal the supervisor, process %d: %w", pid, err)
			}
			if _, err := fmt.Fprintf(c.App.Writer, "process %d reads its configuration again; its log says what came of it\n", pid); err != nil {
				return fmt.Errorf("print: %w", err)
			}
			return nil
		},
	}
}

// reloader reads a daemon's configuration again.
type reloader struct {
	now    *config.Effective // in force, but for what needs a restart
	load   func() (*config.Effective, error)
	apply  func(*config.Effective)
	status string // that the service manager shows of a daemon that serves
	log    *slog.Logger
}

// run reloads at each signal until ctx ends.
func (r *reloader) run(ctx context.Context, signals <-chan os.Signal) {
	for {
		select {
		case <-signals:
			err := systemd.Reloading()
			r.reload()
			// Whatever came of it, the daemon serves as before.
			if err = errors.Join(err, systemd.Ready(r.status)); err != nil {
				r.log.Warn("the service manager was not told of the reload", "err", err)
			}
		case <-ctx.Done():
			return
		}
	}
}

// reload applies what can be changed of the configuration as it is now, or keeps the old one and says what is wrong.
func (r *reloader) reload() {
	next, err := r.load()
	if err != nil {
		problems, ok := errors.AsType[config.Problems](err)
		if !ok {
			problems = config.Problems{{Msg: err.Error()}}
		}
		for _, p := range problems {
			r.log.Error("the configuration is wrong", "path", p.Path, "line", p.Line, "name", p.Name, "problem", p.Msg)
		}
		r.log.Error("the configuration stays as it was", "problems", len(problems))
		return
	}
	changed, restart := config.Changed(r.now, next)
	r.apply(next)
	for _, key := range restart {
		r.log.Warn("a changed setting takes effect after a restart", "key", key, "source", next.Sources[key].String())
	}
	r.log.Info("configuration reloaded", "file", next.Path, "changed", changed)
	// What needs a restart is warned of again at the next reload: it is still not in force.
	r.now = config.Merge(r.now, next)
}
