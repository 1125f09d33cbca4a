package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/soulbox/soulbox/rpc/auth"
	"github.com/soulbox/soulbox/rpc/client"
	"github.com/soulbox/soulbox/sandbox/wide"
)

// clientAction is what a command does with a daemon.
type clientAction func(ctx context.Context, c *cli.Context, daemon *client.Client) error

// errNoDaemon means that nothing says where a daemon is, or that nobody answers there.
var errNoDaemon = errors.New("no daemon was found; start one with soulbox serve, or say with --url or SOULBOX_URL where one is")

// clientFlags are the flags of every command that talks to a daemon.
func clientFlags(more ...cli.Flag) []cli.Flag {
	return append(more,
		&cli.StringFlag{Name: "url", Usage: "`URL` of the daemon, http://... or unix:///path (default: the one on this machine)", EnvVars: []string{"SOULBOX_URL"}},
		&cli.StringFlag{Name: "key", Usage: "API `KEY`; better in the environment, where other users do not see it (default: this machine's own)", EnvVars: []string{keyVariable}},
		stateDirFlag(),
	)
}

func stateDirFlag() cli.Flag {
	return &cli.PathFlag{Name: "state-dir", Value: defaultStateDir(os.Getuid()), EnvVars: []string{"SOULBOX_STATE_DIR"},
		Usage: "`DIR` of the daemon on this machine; the configuration file can say another default"}
}

// localFlags are the flags of commands that work without a daemon too.
func localFlags(more ...cli.Flag) []cli.Flag {
	return clientFlags(append(more,
		&cli.BoolFlag{Name: "no-daemon", Usage: "start what is needed in this process, even when a daemon answers"},
		&cli.PathFlag{Name: "cache-dir", Value: defaultCacheDir(os.Getuid()), Usage: "without a daemon: `DIR` for what can be made again", EnvVars: []string{"SOULBOX_CACHE_DIR"}},
		languagesFlag(),
	)...)
}

// withDaemon makes the action of a command that needs a daemon. Ctrl-C and SIGTERM end its context.
func withDaemon(action clientAction) cli.ActionFunc {
	return func(c *cli.Context) error {
		ctx, stop := signal.NotifyContext(c.Context, syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		return toDaemon(ctx, c, action)
	}
}

// toDaemon does action with the daemon that the command line means.
func toDaemon(ctx context.Context, c *cli.Context, action clientAction) error {
	daemon, err := findDaemon(ctx, c)
	if err != nil {
		return err
	}
	return explained(action(ctx, c, daemon))
}

// withDaemonOrLocal makes the action of a command that, where no daemon answers, has an engine of its own: outside the
// wide namespace it makes one and starts this command again in there, where session is not nil.
func withDaemonOrLocal(session *wide.Session, action clientAction) cli.ActionFunc {
	return func(c *cli.Context) error {
		if session != nil {
			return inProcess(c, session, action)
		}
		if !c.Bool("no-daemon") {
			err := withDaemon(action)(c)
			if !errors.Is(err, errNoDaemon) || c.String("url") != "" {
				return err
			}
		}
		return alone(c)
	}
}

// alone runs this command in a wide namespace with a state directory of its own, which it removes afterwards.
func alone(c *cli.Context) (err error) {
	dir, err := os.MkdirTemp("", "soulbox-")
	if err != nil {
		return fmt.Errorf("make a state directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
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
	return supervise(c, filepath.Join(dir, "state"), nil)
}

// findDaemon returns a client of the daemon that flags, environment or the state directory name, once it can run programs.
func findDaemon(ctx context.Context, c *cli.Context) (*client.Client, error) {
	url, key, err := target(c)
	if err != nil {
		return nil, err
	}
	daemon, err := client.New(url, key)
	if err != nil {
		return nil, err
	}
	if err := patient().await(ctx, daemon, c.App.ErrWriter); err != nil {
		return nil, err
	}
	return daemon, nil
}

// activationURL is the socket on which the service manager listens for a daemon that it has not started yet. Only a
// running daemon says itself where it is.
func activationURL(stateDir string) string {
	return endpoint{socket: filepath.Join(stateDir, socketFile)}.socketURL()
}

// target returns the URL of a daemon and the key for it, "" where none is needed. A daemon on this machine is reached
// over its socket, which needs no key, rather than over its port, whose key lies in a file.
func target(c *cli.Context) (url, key string, err error) {
	dir := stateDir(c)
	url, key = c.String("url"), c.String("key")
	local, err := readEndpoint(dir)
	switch {
	case err != nil:
		return "", "", err
	case strings.HasPrefix(url, "unix:"):
		return url, key, nil
	case url == "" && local.socket != "" && checkSocket(local.socket, os.Getuid()) == nil:
		return local.socketURL(), key, nil
	case url == "" && local.url == "" && checkSocket(filepath.Join(dir, socketFile), os.Getuid()) == nil:
		return activationURL(dir), key, nil
	case url == "":
		url = local.url
	}
	if url == "" {
		return "", "", errNoDaemon
	}
	if key == "" && url == local.url {
		if err := checkListener(url, os.Getuid()); err != nil {
			return "", "", fmt.Errorf("%w (%w)", errNoDaemon, err)
		}
		secret, err := auth.ReadLocalKey(dir)
		if err != nil {
			return "", "", err
		}
		key = secret.Reveal()
	}
	if key == "" {
		return "", "", fmt.Errorf("%s needs a key: set SOULBOX_API_KEY to one that soulbox key create made there", url)
	}
	return url, key, nil
}

// explained replaces what the wire says of an error by what helps the user.
func explained(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[exitStatus](err); ok {
		return err
	}
	if _, ok := errors.AsType[*failure](err); ok {
		return err // it was, and there can be several
	}
	return &failure{client.Explain(err), err}
}

// failure is an error in other words.
type failure struct {
	text string
	err  error
}

func (f *failure) Error() string { return f.text }
func (f *failure) Unwrap() error { return f.err }
