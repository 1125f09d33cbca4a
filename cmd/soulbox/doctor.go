package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/soulbox/soulbox/cgroups"
)

// The statuses of a check.
const (
	checkOK      = "ok"
	checkWarning = "warning" // programs run, with less kept from them
	checkFailed  = "failed"  // nothing can run
	checkUnknown = "unknown" // the check could not tell
)

// check is one line of `soulbox doctor`.
type check struct {
	Name   string `json:"name"`
	Status string `json:"status"`
	Found  string `json:"found"`
	Cost   string `json:"cost,omitempty"` // what the lack costs; with a status that is not ok
	Fix    string `json:"fix,omitempty"`  // what to do about it, exactly
}

func doctorCommand() *cli.Command {
	return &cli.Command{
		Name:  "doctor",
		Usage: "check what this host can enforce, and say how to mend what it cannot",
		Description: "It changes nothing, and asks no daemon: what it finds is for the user who runs it. The exit status is 1 when something is\n" +
			"   missing without which nothing runs; warnings leave it 0.\n\n   soulbox doctor",
		Flags: []cli.Flag{
			&cli.PathFlag{Name: "state-dir", Value: defaultStateDir(os.Getuid()), Usage: "`DIR` whose disk is looked at", EnvVars: []string{"SOULBOX_STATE_DIR"}},
			jsonFlag(),
		},
		Action: func(c *cli.Context) error {
			if err := noArgs(c); err != nil {
				return err
			}
			return doctor(c)
		},
	}
}

func doctor(c *cli.Context) error {
	checks := examine(c.Context, os.Getuid(), c.Path("state-dir"))
	var err error
	if c.Bool("json") {
		err = printJSON(c.App.Writer, map[string][]check{"checks": checks})
	} else {
		err = printChecks(c.App.Writer, painterOf(c, c.App.Writer), checks)
	}
	if err == nil && slices.ContainsFunc(checks, func(k check) bool { return k.Status == checkFailed }) {
		err = exitStatus(1)
	}
	return err
}

// examine makes all checks, the most important first.
func examine(ctx context.Context, uid int, stateDir string) []check {
	h := hostFiles{root: "/"}
	made := tryNamespace(ctx)
	checks := []check{programsCheck(), gvisorCheck(), kernelCheck(h), namespaceCheck(uid, h, made), overlayCheck(made)}
	checks = append(checks, idChecks(uid)...)
	checks = append(checks, seccompCheck(h))
	checks = append(checks, cgroupChecks(cgroups.Probe(), uid)...)
	return append(checks, diskCheck(stateDir))
}

func printChecks(w io.Writer, p painter, checks []check) error {
	var b strings.Builder
	count := map[string]int{}
	for _, k := range checks {
		count[k.Status]++
		fmt.Fprintf(&b, "%s %-20s %s\n", p.paint(toneOf(k.Status), fmt.Sprintf("%-8s", k.Status)), k.Name, printable(k.Found))
		if k.Cost != "" {
			fmt.Fprintf(&b, "%-8s   costs: %s\n", "", k.Cost)
		}
		if k.Fix != "" {
			fmt.Fprintf(&b, "%-8s   fix:   %s\n", "", k.Fix)
		}
	}
	fmt.Fprintf(&b, "\n%d ok, %d warnings, %d failed", count[checkOK], count[checkWarning], count[checkFailed])
	if n := count[checkUnknown]; n > 0 {
		fmt.Fprintf(&b, ", %d unknown", n)
	}
	b.WriteByte('\n')
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("print checks: %w", err)
	}
	return nil
}
