package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v2"

	"github.com/soulbox/soulbox/sandbox"
	"github.com/soulbox/soulbox/sandbox/assets"
	"github.com/soulbox/soulbox/sandbox/wide"
)

// buildInfo is what `soulbox version --json` prints.
type buildInfo struct {
	Version  string `json:"version"`
	Go       string `json:"go"`
	Platform string `json:"platform"`         // os/arch
	Programs string `json:"programs"`         // digest of the embedded programs; empty without them
	Runc     string `json:"runc,omitempty"`   // version of libcontainer in the build
	Notice   string `json:"notice,omitempty"` // what this build cannot do

	// Compatible is equal in two builds of which one's daemon can take over the other's sandboxes.
	Compatible compatibility `json:"compatible"`
}

// compatibility are versions of what a daemon shares with its supervisor, with the agents of living sandboxes and with
// the daemon before it.
type compatibility struct {
	Supervisor int `json:"supervisor"`
	Agent      int `json:"agent"`
	State      int `json:"state"`
}

func versionCommand() *cli.Command {
	return &cli.Command{
		Name:        "version",
		Description: "With --json, of the embedded programs too.\n\n   soulbox version --json",
		Usage:       "say what this executable was built from",
		Flags:       []cli.Flag{jsonFlag()},
		Action: func(c *cli.Context) error {
			if err := noArgs(c); err != nil {
				return err
			}
			return printVersion(c.App.Writer, build(), c.Bool("json"))
		},
	}
}

func build() buildInfo {
	b := buildInfo{Version: version, Compatible: compatibility{wide.Protocol, sandbox.AgentProtocol, stateSchema}, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	digest, err := assets.Digest()
	if err != nil {
		b.Notice = err.Error()
	}
	b.Programs = digest
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == "github.com/opencontainers/runc" {
				b.Runc = m.Version
			}
		}
	}
	return b
}

func printVersion(w io.Writer, b buildInfo, asJSON bool) error {
	if asJSON {
		return printJSON(w, b)
	}
	_, err := fmt.Fprintf(w, "soulbox %s (%s, %s)\n", b.Version, b.Go, b.Platform)
	if err == nil && b.Notice != "" {
		_, err = fmt.Fprintln(w, b.Notice)
	}
	return err
}
