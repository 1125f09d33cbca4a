package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/soulbox/soulbox/cgroups"
	"github.com/soulbox/soulbox/cmd/soulbox/config"
	"github.com/soulbox/soulbox/sandbox"
	"github.com/soulbox/soulbox/sandbox/wide"
	"github.com/soulbox/soulbox/systemd"
)

// exitCrashed is the status after which the supervisor starts the daemon again.
const exitCrashed = 2

func serveCommand(session *wide.Session) *cli.Command {
	return &cli.Command{
		Name:  "serve",
		Usage: "run the daemon in the foreground",
		Description: "Prints its URL as the first line, then serves until SIGTERM or SIGINT, which let running executions end (--drain) and\n" +
			"then stop everything. SIGHUP, or soulbox reload, reads the configuration again. A daemon that is killed is started\n" +
			"again by its supervisor. A flag comes before the environment, that before the file, that before the default.\n\n" +
			"   soulbox serve --state-dir /var/lib/soulbox --listen 127.0.0.1:4444",
		Flags: settingFlags(),
		Action: func(c *cli.Context) error {
			if c.NArg() > 0 {
				return fmt.Errorf("serve takes no arguments, got %q; see soulbox serve --help", c.Args().Slice())
			}
			if session == nil {
				return superviseServe(c)
			}
			return serve(c, session)
		},
	}
}

// engineOf returns what a configuration of the user uid says of the engine.
func engineOf(e *config.Effective, uid int, log *slog.Logger) engineConfig {
	return engineConfig{cacheDir: e.CacheDir, runtime: e.Runtime, languagesDir: languagesOf(e, uid), maxQueue: e.MaxQueue, maxRunning: e.MaxRunning, maxSandboxes: e.MaxSandboxes,
		memory: e.Memory, diskFloor: uint64(e.DiskFloor), drain: e.Drain, images: e.Images, policy: e.Policy, retention: e.Retention, strict: e.Strict, lost: exitCrashed, log: log}
}

// supervise makes the wide namespace and starts this command again in it.
// listen opens the sockets of a daemon that is to be restarted when it is killed; nil is for commands that end by themselves.
func supervise(c *cli.Context, stateDir string, listen func() ([]*os.File, error)) error {
	stateDir, err := filepath.Abs(stateDir)
	if err != nil {
		return fmt.Errorf("state directory: %w", err)
	}
	ids, err := wide.Subordinate(os.Getuid())
	if err != nil {
		return err
	}
	lockFile, err := sandbox.LockFile(os.Getuid(), ids.UIDBase)
	if err != nil {
		return err
	}
	lock, err := sandbox.OpenLockFile(lockFile)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := cgroups.Settle(cgroups.Options{Name: treeName(stateDir)}); err != nil {
		slog.Debug("cgroups are not settled", "err", err) // Open tries again inside and reports
	}
	status, err := wide.Run(c.Context, wide.Options{Args: os.Args[1:], StateDir: stateDir, Range: ids, Lock: lock, Listen: listen, Restart: listen != nil,
		Dying: func() { thawAll(c.Context, treeName(stateDir)) }})
	if err != nil {
		return err
	}
	if status != 0 {
		return exitStatus(status)
	}
	return nil
}

// thawTime bounds how long the frozen sandboxes of a supervisor that was killed may take to be thawed.
const thawTime = 10 * time.Second

// thawAll lets paused sandboxes die that have been killed with their supervisor: on cgroup v1 they would stay, and so would it.
func thawAll(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), thawTime)
	defer cancel()
	if err := cgroups.ThawKilled(ctx, cgroups.Options{Name: name}); err != nil {
		slog.Debug("not all that was frozen could be thawed; what is gone needs none", "err", err)
	}
}

// serve is the daemon.
func serve(c *cli.Context, s *wide.Session) (err error) {
	hup := make(chan os.Signal, 1) // one is enough: a reload that is due reads what is there then
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	ctx, stop := signal.NotifyContext(c.Context, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	cfg, err := loadConfig(c, s.UID)
	if err != nil {
		return err
	}
	logs := openLog(cfg.LogLevel, cfg.LogFormat)
	defer func() { err = errors.Join(err, logs.Close()) }()
	log := logs.logger()
	slog.SetDefault(log)
	if err := systemd.Alive(); err != nil { // the next ping comes once it can answer
		log.Warn("the watchdog was not pinged", "err", err)
	}
	first := engineOf(cfg, s.UID, log)
	if first.cacheDir, err = filepath.Abs(first.cacheDir); err != nil {
		return fmt.Errorf("cache directory: %w", err)
	}
	e, err := openEngine(ctx, s, first)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close(context.WithoutCancel(ctx))) }()
	for _, w := range e.warnings {
		log.Warn(w.Text, "warning", w.Name)
	}
	handler, err := newHandler(ctx, e, s.StateDir, log)
	if err != nil {
		return err
	}
	url := "http://" + s.Listeners[0].Addr().String()
	if err := writeEndpoint(s.StateDir, endpointOf(s.Listeners)); err != nil {
		return err
	}
	defer func() {
		if !e.handedOver { // the next one is there at once
			err = errors.Join(err, removeEndpoint(s.StateDir))
		}
	}()
	if s.Generation == 1 {
		fmt.Println(url)
	}
	status := "serving on " + url
	notify(log, systemd.Ready, status)
	r := &reloader{now: cfg, log: log, status: status, load: func() (*config.Effective, error) { return loadConfig(c, s.UID) },
		apply: func(next *config.Effective) {
			logs.set(next.LogLevel, next.LogFormat)
			e.configure(engineOf(next, s.UID, log))
		}}
	var wg sync.WaitGroup
	wg.Go(func() { r.run(ctx, hup) })
	defer wg.Wait() // they end when ctx does, which is what ends serving
	wg.Go(func() { systemd.KeepAlive(ctx, selfCheck(s.Listeners[0].Addr()), log) })
	defer stop()
	wg.Go(func() { tellReady(ctx, e, s, log) })
	return listenAndDrain(ctx, e, s.Listeners, handler, log)
}
