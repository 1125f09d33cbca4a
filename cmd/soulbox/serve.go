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
	"strings"
	"syscall"
	"time"

	"github.com/docker/go-units"
	"github.com/urfave/cli/v2"

	"github.com/soulbox/soulbox/cgroups"
	"github.com/soulbox/soulbox/rpc"
	"github.com/soulbox/soulbox/sandbox"
	"github.com/soulbox/soulbox/sandbox/wide"
	"github.com/soulbox/soulbox/systemd"
)

// defaultListen is the daemon's address when nothing else was said.
const defaultListen = "127.0.0.1:4444"

// exitCrashed is the status after which the supervisor starts the daemon again.
const exitCrashed = 2

// lastAnswers bounds how long clients may take to read what the last executions answered.
const lastAnswers = 5 * time.Second

func serveCommand(session *wide.Session) *cli.Command {
	return &cli.Command{
		Name:  "serve",
		Usage: "run the daemon in the foreground",
		Description: "Prints its URL as the first line, then serves until SIGTERM, SIGINT or SIGHUP, which let running executions end\n" +
			"(--drain) and then stop everything. A daemon that is killed is started again by its supervisor.\n\n" +
			"   soulbox serve --state-dir /var/lib/soulbox --listen 127.0.0.1:4444",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "listen", Value: defaultListen, Usage: "`ADDRESS` host:port to listen on; port 0 takes a free one", EnvVars: []string{"SOULBOX_LISTEN"}},
			&cli.StringFlag{Name: "socket", Usage: "`PATH` of a socket on which the daemon's own user needs no key, or none (default: " + socketFile + " in the state directory)", EnvVars: []string{"SOULBOX_SOCKET"}},
			&cli.DurationFlag{Name: "drain", Value: 10 * time.Second, Usage: "what running executions are granted when the daemon stops"},
			&cli.BoolFlag{Name: "strict", Usage: "refuse to start when a limit cannot be enforced or isolation is weakened"},
			&cli.StringFlag{Name: "log-format", Value: "text", Usage: "`FORMAT` of the log on stderr: text or json"},
		}, engineFlags()...),
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

// engineFlags are the flags of every command with an engine in it.
func engineFlags() []cli.Flag {
	return []cli.Flag{
		&cli.PathFlag{Name: "state-dir", Value: defaultStateDir(), Usage: "`DIR` that holds all state; one daemon each", EnvVars: []string{"SOULBOX_STATE_DIR"}},
		&cli.PathFlag{Name: "cache-dir", Value: defaultCacheDir(), Usage: "`DIR` for what can be made again; shared by daemons", EnvVars: []string{"SOULBOX_CACHE_DIR"}},
		languagesFlag(),
		&cli.IntFlag{Name: "max-queue", Value: 1000, Usage: "executions that may wait; more get 429"},
		&cli.IntFlag{Name: "max-running", Usage: "sandboxes at once (default: 4 per CPU)"},
		&cli.StringFlag{Name: "memory", Usage: "`SIZE` that the memory limits of all running sandboxes may add up to (default: what is available less a reserve)"},
		&cli.StringFlag{Name: "disk-floor", Value: "512MiB", Usage: "refuse work when less `SPACE` is free below the state directory"},
		&cli.DurationFlag{Name: "max-wall-time", Value: 10 * time.Minute, Usage: "policy: the most a caller can ask for"},
		&cli.DurationFlag{Name: "max-cpu-time", Value: 10 * time.Minute, Usage: "policy"},
		&cli.StringFlag{Name: "max-memory", Value: "4GiB", Usage: "policy: `SIZE` of one execution"},
		&cli.Int64Flag{Name: "max-processes", Value: 1024, Usage: "policy"},
		&cli.Int64Flag{Name: "max-open-files", Value: 4096, Usage: "policy"},
		&cli.StringFlag{Name: "max-file-size", Value: "1GiB", Usage: "policy: `SIZE`"},
		&cli.StringFlag{Name: "max-disk", Value: "1GiB", Usage: "policy: `SIZE`"},
		&cli.Int64Flag{Name: "max-inodes", Value: 100_000, Usage: "policy"},
		&cli.StringFlag{Name: "max-output", Value: "32MiB", Usage: "policy: `SIZE` of stdout and stderr together"},
	}
}

// sizes reads several size flags and reports every bad one.
func sizes(c *cli.Context, into map[string]*int64) error {
	var errs []error
	for name, p := range into {
		if c.String(name) == "" {
			continue
		}
		n, err := units.RAMInBytes(c.String(name))
		if err != nil || n < 0 {
			errs = append(errs, fmt.Errorf("--%s %q is not a size such as 64M or 1GiB", name, c.String(name)))
		}
		*p = n
	}
	return errors.Join(errs...)
}

// engineFromFlags reads [engineFlags].
func engineFromFlags(c *cli.Context, log *slog.Logger) (engineConfig, error) {
	cfg := engineConfig{
		cacheDir: c.Path("cache-dir"), languagesDir: c.Path("languages-dir"), maxQueue: c.Int("max-queue"), maxRunning: c.Int("max-running"), log: log,
		drain: c.Duration("drain"), strict: c.Bool("strict"), lost: exitCrashed,
		policy: sandbox.Limits{WallTime: c.Duration("max-wall-time"), CPUTime: c.Duration("max-cpu-time"), Processes: c.Int64("max-processes"),
			OpenFiles: c.Int64("max-open-files"), Inodes: c.Int64("max-inodes")},
	}
	var floor int64
	err := sizes(c, map[string]*int64{"memory": &cfg.memory, "disk-floor": &floor, "max-memory": &cfg.policy.Memory,
		"max-file-size": &cfg.policy.FileSize, "max-disk": &cfg.policy.Disk, "max-output": &cfg.policy.Output})
	cfg.diskFloor = uint64(floor)
	return cfg, err
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
	// Inside, everybody is root: what depends on who the user is gets decided here.
	cacheDir, err := filepath.Abs(c.Path("cache-dir"))
	if err != nil {
		return fmt.Errorf("cache directory: %w", err)
	}
	if err := os.Setenv("SOULBOX_CACHE_DIR", cacheDir); err != nil {
		return fmt.Errorf("cache directory: %w", err)
	}
	if err := settleLanguages(c); err != nil {
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
	status, err := wide.Run(c.Context, wide.Options{Args: os.Args[1:], StateDir: stateDir, Range: ids, Lock: lock, Listen: listen, Restart: listen != nil})
	if err != nil {
		return err
	}
	if status != 0 {
		return exitStatus(status)
	}
	return nil
}

func superviseServe(c *cli.Context) (err error) {
	log, err := newLogger(c.String("log-format"))
	if err != nil {
		return err
	}
	if _, err := engineFromFlags(c, nil); err != nil {
		return err
	}
	stateDir := c.Path("state-dir")
	socket, tooLong, err := socketPath(c.String("socket"), stateDir)
	if err != nil {
		return err
	}
	if tooLong {
		log.Warn("no socket: its path in the state directory would be too long; --socket takes a shorter one", "stateDir", stateDir, "most", maxSocketPath)
	}
	made := false
	defer func() {
		if made {
			err = errors.Join(err, os.Remove(socket))
		}
	}()
	return supervise(c, stateDir, func() ([]*os.File, error) {
		tcp, err := listenTCP(c.String("listen"))
		if err != nil || socket == "" {
			return []*os.File{tcp}, err
		}
		unix, err := listenSocket(socket)
		if err != nil {
			return nil, errors.Join(err, tcp.Close())
		}
		made = true
		return []*os.File{tcp, unix}, nil
	})
}

// listenTCP opens a listening socket that can be inherited.
func listenTCP(address string) (*os.File, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("--listen: %w", err)
	}
	f, err := l.(*net.TCPListener).File()
	if err = errors.Join(err, l.Close()); err != nil {
		return nil, fmt.Errorf("--listen: %w", err)
	}
	return f, nil
}

// serve is the daemon.
func serve(c *cli.Context, s *wide.Session) (err error) {
	ctx, stop := signal.NotifyContext(c.Context, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer stop()
	log, err := newLogger(c.String("log-format"))
	if err != nil {
		return err
	}
	slog.SetDefault(log)
	cfg, err := engineFromFlags(c, log)
	if err != nil {
		return err
	}
	if cfg.cacheDir, err = filepath.Abs(cfg.cacheDir); err != nil {
		return fmt.Errorf("cache directory: %w", err)
	}
	e, err := openEngine(ctx, s, cfg)
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
	defer func() { err = errors.Join(err, removeEndpoint(s.StateDir)) }()
	if s.Generation == 1 {
		fmt.Println(url)
	}
	if err := systemd.Ready("serving on " + url); err != nil {
		log.Warn("the service manager was not told that the daemon is ready", "err", err)
	}
	return listenAndDrain(ctx, e, s.Listeners, handler, log)
}

// listenAndDrain serves until ctx ends, then lets requests end and settles all executions.
func listenAndDrain(ctx context.Context, e *engine, listeners []net.Listener, h http.Handler, log *slog.Logger) error {
	srv := rpc.Server(h, log)
	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { failed <- srv.Serve(l) }()
	}
	select {
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	log.Info("stopping: no new executions, running ones may end")
	if err := systemd.Stopping("running executions may end"); err != nil {
		log.Warn("the service manager was not told that the daemon stops", "err", err)
	}
	// The server stays until all is settled: it refuses new executions, and still shows and cancels those that run. The
	// supervisor holds the socket, so a client of a server that is closed would wait for nothing.
	err := e.Engine.Close(context.WithoutCancel(ctx))
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastAnswers)
	defer cancel()
	if stuck := srv.Shutdown(last); stuck != nil {
		log.Warn("a client did not read its answer", "err", stuck)
		err = errors.Join(err, srv.Close())
	}
	for range listeners {
		<-failed // http.ErrServerClosed
	}
	return err
}

func newLogger(format string) (*slog.Logger, error) {
	switch strings.ToLower(format) {
	case "text":
		return slog.New(slog.NewTextHandler(os.Stderr, nil)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(os.Stderr, nil)), nil
	}
	return nil, fmt.Errorf("--log-format %q is not text or json", format)
}
