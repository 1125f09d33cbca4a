package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/soulbox/soulbox/sandbox/wide"
)

// version is set by the linker: -X main.version=v1.2.3.
var version = "dev"

func main() {
	if os.Args[0] == wide.InnerName {
		os.Exit(wide.Inner(openLog(slog.LevelInfo, logAuto).logger()))
	}
	var colours string
	session, err := wide.Daemon()
	if err == nil {
		err = newApp(session, &colours).RunContext(context.Background(), os.Args)
	}
	os.Exit(report(err, newPainter(colours, os.Stderr)))
}

// report prints an error once and returns the exit status for it.
func report(err error, p painter) int {
	if err == nil {
		return 0
	}
	if status, ok := errors.AsType[exitStatus](err); ok {
		return int(status)
	}
	sayError(os.Stderr, p, err)
	return 1
}

// exitStatus ends the command with a status and no message: all was said.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// newApp returns the command line. session is nil outside the wide namespace. colours becomes what --color says.
func newApp(session *wide.Session, colours *string) *cli.App {
	return &cli.App{
		Name:                   "soulbox",
		Usage:                  "run untrusted programs in sandboxes that start in milliseconds",
		Version:                version,
		HideVersion:            true,
		UseShortOptionHandling: true,
		Flags:                  []cli.Flag{colourFlag(colours)},
		Commands:               commands(session),
		ExitErrHandler:         func(*cli.Context, error) {}, // report does it
	}
}
