package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/soulbox/soulbox/sandbox/wide"
)

func upgradeCommand() *cli.Command {
	return &cli.Command{
		Name:      "upgrade",
		Usage:     "have the daemon on this machine go on as another version, without ending its sandboxes",
		ArgsUsage: "[FILE]",
		Description: "FILE is the other version's executable, by default this one. Running executions may end (drain); clients try again for\n" +
			"a moment. When the new daemon does not become ready, the old one serves again. The supervisor stays as it is until it\n" +
			"is started anew, from the file that it was started from: replace that, too, by renaming.\n\n   soulbox upgrade /usr/local/bin/soulbox.new",
		Flags: []cli.Flag{stateDirFlag(),
			&cli.BoolFlag{Name: "check", Usage: "only say whether it could"}},
		Action: upgrade,
	}
}

func upgrade(c *cli.Context) (err error) {
	if c.NArg() > 1 {
		return fmt.Errorf("upgrade takes one FILE or none, got %q; see soulbox upgrade --help", c.Args().Slice())
	}
	path := c.Args().First()
	if path == "" {
		if path, err = os.Executable(); err != nil {
			return fmt.Errorf("find this executable: %w", err)
		}
	}
	dir := stateDir(c)
	pid, err := wide.Supervisor(dir)
	if err != nil {
		return err
	}
	if pid == 0 {
		return fmt.Errorf("%w (none holds %s)", errNoDaemon, dir)
	}
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open the executable: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	running := fmt.Sprintf("/proc/%d/exe", pid)
	next, err := canFollow(c.Context, running, fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), file.Fd()))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if c.Bool("check") {
		return printLines(c.App.Writer, fmt.Sprintf("soulbox %s can take over", next))
	}
	if err := wide.Upgrade(c.Context, dir, file); err != nil {
		return fmt.Errorf("upgrade to %s: %w", path, err)
	}
	return printLines(c.App.Writer, fmt.Sprintf("soulbox %s serves, with the sandboxes that lived", next), startedFrom(running, path))
}

// canFollow returns the version of the executable at next if its daemon can take over from that of the running one.
func canFollow(ctx context.Context, running, next string) (string, error) {
	was, err := versionOf(ctx, running)
	if err != nil {
		return "", fmt.Errorf("ask the running supervisor's executable: %w", err)
	}
	is, err := versionOf(ctx, next)
	if err != nil {
		return "", fmt.Errorf("no executable of soulbox: %w", err)
	}
	if is.Compatible != was.Compatible {
		return "", fmt.Errorf("soulbox %s cannot take over from %s (supervisor, agent, state: %v after %v): stop the daemon, replace its executable and start it; its sandboxes end",
			is.Version, was.Version, is.Compatible, was.Compatible)
	}
	return is.Version, nil
}

// versionOf asks an executable what it is.
func versionOf(ctx context.Context, path string) (b buildInfo, err error) {
	cmd := exec.CommandContext(ctx, path, "version", "--json")
	cmd.Args[0] = "soulbox"
	out, err := cmd.Output()
	if err != nil {
		return b, fmt.Errorf("run soulbox version: %w", err)
	}
	if err := json.Unmarshal(out, &b); err != nil {
		return b, fmt.Errorf("read what soulbox version printed: %w", err)
	}
	return b, nil
}

// startedFrom says what the next start of the supervisor runs.
func startedFrom(running, path string) string {
	link, err := os.Readlink(running)
	if err != nil {
		return "the supervisor itself is upgraded when it is started anew"
	}
	link = strings.TrimSuffix(link, " (deleted)")
	if abs, err := filepath.Abs(path); err == nil && abs == link {
		return "the supervisor itself is upgraded when it is started anew"
	}
	return fmt.Sprintf("the next start still runs %s: replace it by renaming, as mv does", link)
}
