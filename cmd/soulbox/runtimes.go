package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/soulbox/soulbox/cgroups"
	"github.com/soulbox/soulbox/sandbox"
	"github.com/soulbox/soulbox/sandbox/assets"
	"github.com/soulbox/soulbox/sandbox/runc"
	"github.com/soulbox/soulbox/sandbox/runsc"
	"github.com/soulbox/soulbox/sandbox/wide"
)

// runtimeNames lists the runtimes of this build, the usual one first.
func runtimeNames() []string { return []string{"runc", runsc.Name} }

// runtimeFlag lets a caller choose.
func runtimeFlag() cli.Flag {
	return &cli.StringFlag{Name: "runtime", Usage: "`RUNTIME` to run it in, " + strings.Join(runtimeNames(), " or ") + " (default: the daemon's)"}
}

// runtimes returns the default runtime and the others. runc is open already: it compiles the filters of all.
func (c engineConfig) runtimes(s *wide.Session, tree *cgroups.Tree, runcRuntime *runc.Runtime) (sandbox.Runtime, []sandbox.Runtime, error) {
	missing := ""
	if !assets.Has(assets.Runsc) {
		missing = "this soulbox was built without runsc; make build adds it"
	}
	gvisor, err := runsc.New(runsc.Options{Dir: filepath.Join(s.RunDir, "runsc"), Cgroups: tree, Rootless: s.UID != 0, Unavailable: missing,
		Binary: func() (string, error) { return assets.Install(assets.Runsc, c.cacheDir) }})
	if err != nil {
		return nil, nil, err
	}
	if c.runtime == runsc.Name {
		return gvisor, []sandbox.Runtime{runcRuntime}, nil
	}
	return runcRuntime, []sandbox.Runtime{gvisor}, nil
}

func (c engineConfig) openRunc(ctx context.Context, s *wide.Session, tree *cgroups.Tree) (*runc.Runtime, error) {
	helper, err := assets.Open("helper")
	if err != nil {
		return nil, err
	}
	has := tree.Enforced()
	enforced := []sandbox.LimitName{sandbox.LimitWallTime, sandbox.LimitOpenFiles, sandbox.LimitFileSize, sandbox.LimitDisk, sandbox.LimitInodes, sandbox.LimitOutput}
	for name, ok := range map[sandbox.LimitName]bool{sandbox.LimitMemory: has.Memory, sandbox.LimitProcesses: has.Pids, sandbox.LimitCPUTime: has.CPUTime} {
		if ok {
			enforced = append(enforced, name)
		}
	}
	return runc.New(ctx, runc.Options{Helper: helper, Dir: filepath.Join(s.RunDir, "runc"), NoCgroups: tree.Mode() == cgroups.ModeNone,
		Rootless: s.UID != 0, Enforced: enforced,
		// What runs cannot be ended in order. It ends with this process, or when the supervisor has started it again.
		Lost: func(err error) {
			c.log.Error("the daemon ends with its helper", "err", err)
			os.Exit(c.lost)
		}})
}
