package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts runs the command line as users do. Scripts in testdata/script have no daemon; those in testdata/daemon
// share one, which the command line finds by its state directory.
func TestScripts(t *testing.T) {
	t.Parallel()
	runScripts(t, "testdata/script", "")
}

func TestDaemonScripts(t *testing.T) {
	t.Parallel()
	d := startDaemon(t)
	runScripts(t, "testdata/daemon", d.state)
}

func runScripts(t *testing.T, dir, state string) {
	bin := binary(t)
	testscript.Run(t, testscript.Params{
		Dir:                 dir,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Condition: func(name string) (bool, error) {
			if name != "systemd" {
				return false, fmt.Errorf("no condition %q", name)
			}
			_, err := os.Stat("/run/systemd/system")
			return err == nil, nil
		},
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", filepath.Dir(bin)+string(os.PathListSeparator)+os.Getenv("PATH"))
			e.Setenv("SOULBOX_STATE_DIR", state)
			if state == "" {
				e.Setenv("SOULBOX_STATE_DIR", filepath.Join(e.WorkDir, "state"))
			}
			for _, name := range []string{"SOULBOX_CACHE_DIR", "GOCOVERDIR"} {
				e.Setenv(name, os.Getenv(name))
			}
			return nil
		},
	})
}
