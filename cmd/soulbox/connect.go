package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
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
		&cli.StringFlag{Name: "url", Usage: "`URL` of the daemon (default: the one on this machine)", EnvVars: []string{"SOULBOX_URL"}},
		&cli.StringFlag{Name: "key", Usage: "API `KEY`; better in the environment, where other users do not see it (default: this machine's own)", EnvVars: []string{"SOULBOX_API_KEY"}},
		&cli.PathFlag{Name: "state-dir", Value: defaultStateDir(), Usage: "`DIR` of the daemon on this machine", EnvVars: []string{"SOULBOX_STATE_DIR"}},
	)
}

// localFlags are the flags of commands that work without a daemon too.
func localFlags(more ...cli.Flag) []cli.Flag {
	return clientFlags(append(more,
		&cli.BoolFlag{Name: "no-daemon", Usage: "start what is needed in this process, even when a daemon answers"},
		&cli.PathFlag{Name: "cache-dir", Value: defaultCacheDir(), Usage: "without a daemon: `DIR` for what can be made again", EnvVars: []string{"SOULBOX_CACHE_DIR"}},
	)...)
}

// withDaemon makes the action of a command that needs a daemon. Ctrl-C and SIGTERM end its context.
func withDaemon(action clientAction) cli.ActionFunc {
	return func(c *cli.Context) error {
		ctx, stop := signal.NotifyContext(c.Context, syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		daemon, err := findDaemon(ctx, c)
		if err != nil {
			return err
		}
		return explained(action(ctx, c, daemon))
	}
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
	return supervise(c, filepath.Join(dir, "state"), nil, false)
}

// findDaemon returns a client of the daemon that flags, environment or the state directory name, once it answers.
func findDaemon(ctx context.Context, c *cli.Context) (*client.Client, error) {
	dir := c.Path("state-dir")
	local, err := readEndpoint(dir)
	if err != nil {
		return nil, err
	}
	url, key := c.String("url"), c.String("key")
	if url == "" {
		url = local
	}
	if url == "" {
		return nil, errNoDaemon
	}
	if key == "" && url == local {
		if err := checkListener(local, os.Getuid()); err != nil {
			return nil, fmt.Errorf("%w (%w)", errNoDaemon, err)
		}
		secret, err := auth.ReadLocalKey(dir)
		if err != nil {
			return nil, err
		}
		key = secret.Reveal()
	}
	if key == "" {
		return nil, fmt.Errorf("%s needs a key: set SOULBOX_API_KEY to one that soulbox key create made there", url)
	}
	daemon, err := client.New(url, key)
	if err != nil {
		return nil, err
	}
	if err := daemon.Ready(ctx); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("%w (%w)", errNoDaemon, err)
	}
	return daemon, nil
}

// readEndpoint returns the URL that a daemon has left in its state directory, "" without one.
func readEndpoint(stateDir string) (string, error) {
	b, err := os.ReadFile(filepath.Join(stateDir, endpointFile))
	// Another user's state directory is not ours to look into: no daemon of ours.
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("find the daemon: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// explained replaces what the wire says of an error by what helps the user.
func explained(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[exitStatus](err); ok {
		return err
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
