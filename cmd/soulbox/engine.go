package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"time"

	"github.com/soulbox/soulbox/cgroups"
	"github.com/soulbox/soulbox/cmd/soulbox/config"
	"github.com/soulbox/soulbox/images"
	"github.com/soulbox/soulbox/images/debian"
	"github.com/soulbox/soulbox/images/library"
	"github.com/soulbox/soulbox/rpc/metrics"
	"github.com/soulbox/soulbox/sandbox"
	"github.com/soulbox/soulbox/sandbox/assets"
	"github.com/soulbox/soulbox/sandbox/wide"
	"github.com/soulbox/soulbox/store"
)

// stateSchema is the version of the tables in the store.
const stateSchema = 1

// engineConfig is what a command decides about the engine in it.
type engineConfig struct {
	cacheDir     string
	runtime      string // that sandboxes live in where nobody says; empty: runc
	languagesDir string // of the operator's recipes; empty: none
	maxQueue     int
	maxRunning   int
	maxSandboxes int // that live on; 0: the engine's default
	memory       int64
	diskFloor    uint64
	drain        time.Duration
	images       config.Images
	policy       sandbox.Policy
	retention    config.Retention
	strict       bool
	lost         int // exit status when the helper ends, without which nothing can be done any more
	log          *slog.Logger
}

// engine is a [sandbox.Engine] with what it stands on. Close gives everything back.
type engine struct {
	*sandbox.Engine
	store    *store.Store
	metrics  *metrics.Metrics
	keys     *keyStore
	keep     *retention
	blocks   int // of ids: more sandboxes cannot run at once
	warnings []sandbox.Warning

	handedOver bool // to the next daemon, with the sandboxes; set before Close

	onClose []func() error // newest runs first
}

// openEngine assembles the engine of a daemon.
func openEngine(ctx context.Context, s *wide.Session, c engineConfig) (_ *engine, err error) {
	e := &engine{metrics: metrics.New(version)}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.closeParts())
		}
	}()
	tree, err := cgroups.Open(cgroups.Options{Name: treeName(s.StateDir)})
	if err != nil {
		return nil, err
	}
	e.onClose = append(e.onClose, func() error {
		if e.handedOver {
			return nil // sandboxes live in it
		}
		return tree.Remove(context.WithoutCancel(ctx))
	})
	if e.warnings = hostWarnings(tree); c.strict && len(e.warnings) > 0 {
		return nil, refusal(e.warnings)
	}
	if e.store, err = store.Open(filepath.Join(s.StateDir, storeDir), store.Options{Logger: c.log, Schema: stateSchema}); err != nil {
		return nil, err
	}
	e.onClose = append(e.onClose, e.store.Close)
	journal, err := newJournal(ctx, e.store)
	if err != nil {
		return nil, err
	}
	e.keep = newRetention(journal, c.retention, c.log)
	e.onClose = append(e.onClose, runUntil(ctx, e.keep.run))
	if e.keys, err = newKeyStore(e.store); err != nil {
		return nil, err
	}
	e.blocks = sandbox.Blocks(s.Range.Count)
	o, err := c.engineOptions(s, tree, e.keys)
	if err != nil {
		return nil, err
	}
	rt, err := c.openRunc(ctx, s, tree)
	if err != nil {
		return nil, err
	}
	e.onClose = append(e.onClose, rt.Close)
	if o.ProgramFilter, err = rt.Compile(ctx, "program"); err != nil {
		return nil, err
	}
	if o.SessionFilter, err = rt.Compile(ctx, "session"); err != nil {
		return nil, err
	}
	if o.AgentFilter, err = rt.Compile(ctx, "agent"); err != nil {
		return nil, err
	}
	if o.Runtime, o.Others, err = c.runtimes(s, tree, rt); err != nil {
		return nil, err
	}
	o.Journal, o.Cgroups, o.Warnings, o.Observer = journal, tree, e.warnings, e.metrics
	o.Sandboxes.Journal = journal
	if o.Images, err = openLibrary(s, c, o.Host.Languages); err != nil {
		return nil, err
	}
	if e.Engine, err = sandbox.New(ctx, o); err != nil {
		return nil, err
	}
	return e, nil
}

// running is how many sandboxes may run at once, where there are so many blocks of ids.
func (c *engineConfig) running(blocks int) int {
	return min(cmp.Or(c.maxRunning, 4*runtime.NumCPU()), blocks)
}

// configure changes what of a configuration can change while the engine runs.
func (e *engine) configure(c engineConfig) {
	e.Configure(sandbox.Live{Policy: c.policy, Drain: c.drain, MaxQueue: c.maxQueue, MaxRunning: c.running(e.blocks)})
	e.keep.set(c.retention)
}

// runUntil starts fn and returns what ends it and waits for its end.
func runUntil(ctx context.Context, fn func(context.Context)) (stop func() error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		fn(ctx)
	}()
	return func() error {
		cancel()
		<-done
		return nil
	}
}

// Close settles all executions and gives back what they stood on; what the next daemon takes over stays.
func (e *engine) Close(ctx context.Context) error {
	if e.handedOver {
		e.Leave()
		return e.closeParts()
	}
	return errors.Join(e.Engine.Close(ctx), e.closeParts())
}

func (e *engine) closeParts() error {
	var errs []error
	for i := len(e.onClose) - 1; i >= 0; i-- {
		errs = append(errs, e.onClose[i]())
	}
	e.onClose = nil
	return errors.Join(errs...)
}

// engineOptions fills in what depends on the session and the configuration alone.
func (c engineConfig) engineOptions(s *wide.Session, tree *cgroups.Tree, keys *keyStore) (sandbox.Options, error) {
	catalog, err := images.LoadDir(c.languagesDir)
	if err != nil {
		return sandbox.Options{}, err
	}
	blocks := sandbox.Blocks(s.Range.Count)
	total, available, err := hostMemory()
	if err != nil {
		return sandbox.Options{}, err
	}
	if c.memory == 0 {
		c.memory = sandbox.MemoryBudget(total, available)
	}
	return sandbox.Options{
		Version: version, IDs: sandbox.NewIDPool(s.Lock, blocks), Catalog: catalog,
		Host:   images.HostOptions{Languages: catalog.Names()},
		RunDir: s.RunDir, StateDir: s.StateDir, CacheDir: c.cacheDir, Assets: assets.Open,
		Sandboxes: sandbox.SandboxOptions{
			Max: min(c.maxSandboxes, blocks), MemoryFree: memoryFree, DiskFloor: c.diskFloor,
			DiskFree: func() (uint64, error) { return diskFree(s.StateDir) },
		},
		Admission: sandbox.AdmissionOptions{MaxQueue: c.maxQueue, MaxRunning: c.running(blocks), Memory: c.memory,
			DiskFree: func() (uint64, error) { return diskFree(s.StateDir) }, DiskFloor: c.diskFloor},
		Debian: debian.Options{Suite: c.images.Suite, Mirror: c.images.Mirror},
		Policy: c.policy, Drain: c.drain, ClientName: keys.name, Features: hostFeatures(tree), Logger: c.log,
	}, nil
}

// openLibrary opens the images of a daemon.
func openLibrary(s *wide.Session, c engineConfig, languages []string) (*library.Library, error) {
	return library.Open(library.Options{Dir: filepath.Join(s.StateDir, "images"), Mounts: filepath.Join(s.RunDir, "library"),
		Owner: sandbox.ImageOwner, Mountpoints: images.Mountpoints(languages), MaxBytes: c.images.MaxBytes, MaxEntries: c.images.MaxEntries,
		MaxRatio: c.images.MaxRatio, Insecure: c.images.Insecure, Log: c.log})
}

// treeName names the cgroups of a state directory: the next daemon there finds what this one left, and no other does.
func treeName(stateDir string) string {
	sum := sha256.Sum256([]byte(stateDir))
	return "d" + hex.EncodeToString(sum[:8])
}

// hostFeatures converts what the cgroup probe found.
func hostFeatures(tree *cgroups.Tree) []sandbox.Feature {
	out := []sandbox.Feature{{Name: "cgroup.mode", Answer: sandbox.AnswerYes, Detail: tree.Mode().String()}}
	for _, f := range cgroups.Probe() {
		out = append(out, sandbox.Feature{Name: f.Name, Answer: sandbox.Answer(f.Answer), Detail: f.Detail})
	}
	return out
}

// refusal is the error of a daemon that is not to start with any warning.
func refusal(warnings []sandbox.Warning) error {
	err := errors.New("--strict: refusing to start")
	for _, w := range warnings {
		err = fmt.Errorf("%w\n  %s: %s", err, w.Name, w.Text)
	}
	return err
}

// hostWarnings names the limits that no cgroup keeps on this host.
func hostWarnings(tree *cgroups.Tree) []sandbox.Warning {
	has := tree.Enforced()
	why := ""
	if err := tree.Reason(); err != nil && tree.Mode() == cgroups.ModeNone {
		why = " (" + err.Error() + ")"
	}
	const fix = "; run as root, or in a systemd unit with Delegate=yes on cgroup v2; soulbox doctor has the exact steps"
	var out []sandbox.Warning
	for _, w := range []struct {
		ok         bool
		name, text string
	}{
		{has.Memory, "memory-unenforced", "memory is bounded by polling every 10 ms, not by a cgroup: a program can exceed its limit until the next look"},
		{!has.Memory || has.Swap, "swap-unenforced", "swap cannot be switched off for programs: they may use swap beyond their memory limit"},
		{has.CPUTime, "cpu-unenforced", "CPU time of the process tree is bounded by rlimits and polling, not counted by a cgroup"},
		{has.Pids, "processes-unenforced", "processes are bounded by RLIMIT_NPROC, not by a cgroup"},
	} {
		if !w.ok {
			out = append(out, sandbox.Warning{Name: w.name, Text: w.text + fix + why})
		}
	}
	return out
}
