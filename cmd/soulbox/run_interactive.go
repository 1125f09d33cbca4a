package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/soulbox/soulbox/rpc/client"
	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
)

// isInteractive tells whether a command line of run asks for an interpreter: a language, no program, and a terminal.
func isInteractive(c *cli.Context) bool {
	return c.NArg() == 0 && c.IsSet("language") && !c.Bool("json") && isTerminal(os.Stdin, os.Stdout)
}

// runInteractive runs a language's interpreter on the terminal, in a sandbox that is removed afterwards.
func runInteractive(c *cli.Context) error {
	if c.Bool("no-daemon") {
		return errors.New("an interactive interpreter lives in a sandbox of a daemon: it cannot be used with --no-daemon")
	}
	if _, err := createRequest(c); err != nil {
		return err
	}
	err := toDaemon(c.Context, c, interpreter)
	if errors.Is(err, errNoDaemon) {
		return fmt.Errorf("an interactive interpreter lives in a sandbox of a daemon: %w", err)
	}
	return err
}

func interpreter(ctx context.Context, c *cli.Context, daemon *client.Client) error {
	l, err := daemon.Languages.GetLanguage(ctx, &pb.GetLanguageRequest{Name: c.String("language")})
	switch {
	case err != nil:
		return err
	case !l.GetAvailable():
		return errors.New(howToGet(l))
	case len(l.GetInteractive()) == 0:
		return fmt.Errorf("%s has no interactive interpreter; soulbox run takes a FILE, or - for standard input", printable(l.GetTitle()))
	}
	return inOwnSandbox(ctx, c, daemon, false, func(ctx context.Context, a *attachment) error {
		return a.program(ctx, &pb.StartProcess{Id: a.id, Env: map[string]string{}, Args: l.GetInteractive()}, true)
	})
}
