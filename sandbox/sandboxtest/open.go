package sandboxtest

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/soulbox/soulbox/cgroups"
	"github.com/soulbox/soulbox/images"
	"github.com/soulbox/soulbox/images/library"
	"github.com/soulbox/soulbox/sandbox"
	"github.com/soulbox/soulbox/sandbox/assets"
	"github.com/soulbox/soulbox/sandbox/runc"
	"github.com/soulbox/soulbox/sandbox/runsc"
)

// runtimeVariable names the runtime whose turn it is: the default of every engine under test.
const runtimeVariable = "SOULBOX_RUNTIME"

// Parts are an engine under test and what it stands on.
type Parts struct {
	Engine  *sandbox.Engine
	Journal *Journal
	Cgroups *cgroups.Tree
	Library *library.Library // of all tests of the process
	RunDir  string

	StateDir string
}

// Open assembles an engine from real parts inside the wide namespace of [Main] and waits until it is ready. The test's
// end closes it. change, when not nil, adapts the options.
func Open(t testing.TB, change func(*sandbox.Options)) *Parts {
	t.Helper()
	s, err := session()
	if err != nil || s == nil {
		t.Fatalf("no wide namespace (%v): does TestMain call sandboxtest.Main?", err)
	}
	ctx := context.Background()
	tree, err := cgroups.Open(cgroups.Options{Name: treeName()})
	if err != nil {
		t.Fatal(err)
	}
	catalog, err := images.Load()
	if err != nil {
		t.Fatal(err)
	}
	helper, err := assets.Open("helper")
	if err != nil {
		t.Fatal(err)
	}
	rt, err := runc.New(ctx, runc.Options{Helper: helper, Dir: filepath.Join(s.RunDir, "runc"), NoCgroups: tree.Mode() == cgroups.ModeNone, Rootless: s.UID != 0,
		Enforced: enforced(tree.Enforced())})
	if err != nil {
		t.Fatal(err)
	}
	gvisor, err := runsc.New(runsc.Options{Dir: filepath.Join(s.RunDir, "runsc"), Cgroups: tree, Rootless: s.UID != 0,
		Binary: func() (string, error) { return assets.Install(assets.Runsc, cacheDir(s.StateDir)) }})
	if err != nil {
		t.Fatal(err)
	}
	lib, err := library.Open(library.Options{Dir: filepath.Join(s.StateDir, imagesName), Mounts: filepath.Join(s.RunDir, "library"), Owner: sandbox.ImageOwner,
		Mountpoints: images.Mountpoints(catalog.Names())})
	if err != nil {
		t.Fatal(err)
	}
	p := &Parts{Library: lib, Journal: NewJournal(), Cgroups: tree, RunDir: s.RunDir, StateDir: s.StateDir}
	o := sandbox.Options{
		Version: "test", Runtime: rt, Others: []sandbox.Runtime{gvisor}, Journal: p.Journal, Cgroups: tree, Catalog: catalog, Images: lib,
		IDs:    sandbox.NewIDPool(s.Lock, sandbox.Blocks(s.Range.Count)),
		Host:   images.HostOptions{Languages: catalog.Names()},
		RunDir: s.RunDir, StateDir: s.StateDir, CacheDir: cacheDir(s.StateDir), Assets: assets.Open,
		Admission: sandbox.AdmissionOptions{Memory: 8 << 30},
		Sandboxes: sandbox.SandboxOptions{Journal: p.Journal},
		Logger:    slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	if o.ProgramFilter, err = rt.Compile(ctx, "program"); err != nil {
		t.Fatal(err)
	}
	if o.SessionFilter, err = rt.Compile(ctx, "session"); err != nil {
		t.Fatal(err)
	}
	if o.AgentFilter, err = rt.Compile(ctx, "agent"); err != nil {
		t.Fatal(err)
	}
	if os.Getenv(runtimeVariable) == runsc.Name { // as a daemon does
		o.Runtime, o.Others = gvisor, []sandbox.Runtime{rt}
	}
	if change != nil {
		change(&o)
	}
	if p.Engine, err = sandbox.New(ctx, o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, err := range []error{p.Engine.Close(ctx), rt.Close(), tree.Remove(ctx)} {
			if err != nil {
				t.Error(err)
			}
		}
	})
	ready, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := p.Engine.AwaitReady(ready); err != nil {
		t.Fatal(err)
	}
	return p
}

// enforced names the limits of the process tree that cgroups keep.
func enforced(has cgroups.Enforced) (names []sandbox.LimitName) {
	for name, ok := range map[sandbox.LimitName]bool{sandbox.LimitMemory: has.Memory, sandbox.LimitProcesses: has.Pids, sandbox.LimitCPUTime: has.CPUTime} {
		if ok {
			names = append(names, name)
		}
	}
	return names
}

// cacheDir is SOULBOX_CACHE_DIR, so that what recipes prepare is made once for several test processes.
func cacheDir(stateDir string) string {
	if dir := os.Getenv("SOULBOX_CACHE_DIR"); filepath.IsAbs(dir) {
		return dir
	}
	return filepath.Join(stateDir, cacheName)
}
