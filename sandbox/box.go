package sandbox

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/soulbox/soulbox/cgroups"
	"github.com/soulbox/soulbox/images"
	"github.com/soulbox/soulbox/images/library"
	"github.com/soulbox/soulbox/sandbox/agent/client"
)

// Ids inside a sandbox.
const (
	programUID  = 1000
	launcherUID = 1031
	wideRoot    = 1 // the sandbox's root as the wide namespace sees it

	// sharedOwner owns what all sandboxes see. None maps it: a sandbox whose agent was taken over can make its own
	// mounts writable again, but not those files.
	sharedOwner = 0
)

// startTime bounds how long a sandbox may take from its bundle to its agent's answer.
const startTime = 30 * time.Second

// boxTmpfs bounds what a sandbox's root can write to its channel directory and log, which are memory of the host.
const boxTmpfs = "size=1m,nr_inodes=64,mode=0700"

// boxSpec says what one sandbox is for.
type boxSpec struct {
	runtime   Runtime // nil: the default
	memory    int64   // bytes, for all slots together
	processes int64
	recipe    *images.Recipe // whose prepared directory is bound; nil: none
	prepared  string         // that directory as the daemon sees it; empty: none
	writable  bool           // for the prepare step
	ground    ground         // what it runs on; not for sandboxes
	execution *Execution     // what runs in it, journalled with the sandbox; nil for SoulBox's own
	sandbox   *Sandbox       // set for one that lives on, whose id the box takes; it has a root of its own
}

// box is one running sandbox with its agent.
type box struct {
	id    ID
	rt    Runtime
	block Block
	cg    *cgroups.Box
	agent *client.Client
	image *library.Root // that is kept for it; nil: none
	undo  undo
}

// openBox starts a sandbox. When it fails nothing is left.
func (e *Engine) openBox(ctx context.Context, spec boxSpec) (_ *box, err error) {
	b := &box{id: NewID(), undo: undo{fault: e.o.Fault}, rt: cmp.Or(spec.runtime, e.o.Runtime)}
	if spec.sandbox != nil {
		b.id = spec.sandbox.ID
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close(ctx))
		}
	}()
	if err := e.o.host("acquire ids", func() error { b.block, err = e.o.IDs.Acquire(); return err }); err != nil {
		return nil, err
	}
	b.undo.add(func(context.Context) error { return e.o.IDs.Release(b.block) })
	// On disk by the time the sandbox runs; meanwhile it is made.
	journalled := e.journalBox(ctx, b, spec)
	defer func() { err = errors.Join(err, <-journalled) }()
	limits := onHost(b.rt, cgroups.Limits{Memory: spec.memory, Pids: spec.processes})
	if err := e.o.host("make cgroups", func() error { b.cg, err = e.o.Cgroups.Box(string(b.id), limits); return err }); err != nil {
		return nil, fmt.Errorf("make cgroups of sandbox %s: %w", b.id, err)
	}
	b.undo.add(b.cg.Remove)
	dir := e.boxDir(b.id)
	if err := e.makeBoxDir(dir, &b.undo); err != nil {
		return nil, err
	}
	root := e.groundRoot(spec.ground)
	if spec.sandbox != nil {
		image, err := e.useImage(b, spec.sandbox)
		if err != nil {
			return nil, err
		}
		if root, err = e.makeRoot(b, image, spec.sandbox.Workdir); err != nil {
			return nil, err
		}
	}
	if spec.writable { // before a runtime looks whose it is
		if err := chownTree(spec.prepared, int(b.block.Base())); err != nil {
			return nil, fmt.Errorf("hand %s to sandbox %s: %w", spec.prepared, b.id, err)
		}
	}
	if err := e.writeBox(b, dir, root, spec); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	b.undo.add(func(ctx context.Context) error { return b.rt.Destroy(ctx, b.id) })
	log := filepath.Join(dir, "agent.log")
	if err := e.o.host("start", func() error { return b.rt.Start(ctx, b.id, filepath.Join(dir, "bundle"), log) }); err != nil {
		return nil, fmt.Errorf("start sandbox %s: %w", b.id, err)
	}
	var channel *os.File
	err = e.o.host("open channel", func() error {
		channel, err = os.OpenFile(filepath.Join(dir, "soul"), unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open the channel of sandbox %s: %w", b.id, err)
	}
	defer channel.Close()
	if err := e.o.host("reach the agent", func() error { b.agent, err = client.Dial(ctx, channel); return err }); err != nil {
		return nil, fmt.Errorf("reach the agent of sandbox %s (its log: %q): %w", b.id, tail(log), err)
	}
	b.undo.add(func(context.Context) error { return b.agent.Close() })
	return b, nil
}

// journalBox stores the record of b, which is forgotten when b is closed.
func (e *Engine) journalBox(ctx context.Context, b *box, spec boxSpec) <-chan error {
	r := BoxRecord{ID: b.id, Tenant: SystemTenant, Runtime: b.rt.Info().Name, Block: b.block.Index, CreatedAt: time.Now().UTC()}
	x := spec.execution
	switch {
	case x != nil:
		r.Tenant, r.Execution = x.Tenant, x.ID
	case spec.sandbox != nil:
		r.Tenant = spec.sandbox.Tenant
	}
	done := make(chan error, 1)
	go func() {
		err := e.o.Journal.OpenBox(context.WithoutCancel(ctx), r, x)
		if err != nil {
			err = fmt.Errorf("journal sandbox %s: %w", b.id, err)
		}
		done <- err
	}()
	b.undo.add(func(ctx context.Context) error { return e.closeRecord(ctx, r) })
	return done
}

// closeRecord forgets the record of a box.
func (e *Engine) closeRecord(ctx context.Context, r BoxRecord) error {
	if err := e.o.Journal.CloseBox(ctx, r); err != nil && KindOf(err) != KindNotFound {
		return fmt.Errorf("journal the end of sandbox %s: %w", r.ID, err)
	}
	return nil
}

// outOfMemory tells whether the kernel ended anything of the agent's group for its memory: with a runtime whose sandboxes are
// one group, programs included.
func (b *box) outOfMemory() bool {
	st, err := b.cg.Agent().Stats()
	return err == nil && st.OOMKills > 0
}

// close ends the sandbox and gives everything back. Closing twice is safe.
func (b *box) close(ctx context.Context) error { return b.undo.run(ctx) }

func (e *Engine) boxDir(id ID) string { return filepath.Join(e.o.RunDir, "boxes", string(id)) }

// makeBoxDir mounts the sandbox's own small tmpfs.
func (e *Engine) makeBoxDir(dir string, u *undo) error {
	if err := e.o.host("make directory", func() error { return os.Mkdir(dir, 0o700) }); err != nil {
		return fmt.Errorf("make sandbox directory: %w", err)
	}
	u.add(func(context.Context) error { return removeBoxDir(dir) })
	mount := func() error {
		return unix.Mount("soulbox-box", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, boxTmpfs)
	}
	if err := e.o.host("mount directory", mount); err != nil {
		return fmt.Errorf("mount %s: %w", dir, err)
	}
	return nil
}

// removeBoxDir undoes makeBoxDir, however far it came.
func removeBoxDir(dir string) error {
	if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("unmount %s: %w", dir, err)
	}
	if err := os.Remove(dir); err != nil {
		return fmt.Errorf("remove sandbox directory: %w", err)
	}
	return nil
}

// writeBox writes the bundle, the log and the agent's channel directory.
func (e *Engine) writeBox(b *box, dir string, root *images.RootFS, spec boxSpec) error {
	soul, bundle := filepath.Join(dir, "soul"), filepath.Join(dir, "bundle")
	for _, d := range []string{soul, bundle} {
		if err := e.o.host("make "+filepath.Base(d), func() error { return os.Mkdir(d, 0o700) }); err != nil {
			return fmt.Errorf("make directory of sandbox: %w", err)
		}
	}
	if err := e.o.host("own soul", func() error { return os.Chown(soul, wideRoot, wideRoot) }); err != nil {
		return fmt.Errorf("give the channel to the sandbox: %w", err)
	}
	config, err := json.Marshal(images.Spec(e.bundle(b, dir, root, spec)))
	if err != nil {
		return fmt.Errorf("encode bundle: %w", err)
	}
	if err := e.o.host("write config.json", func() error { return writeNew(filepath.Join(bundle, "config.json"), config, 0o600) }); err != nil {
		return err
	}
	if err := e.o.host("write agent.log", func() error { return writeNew(filepath.Join(dir, "agent.log"), nil, 0o600) }); err != nil {
		return err
	}
	if len(e.o.AgentFilter) == 0 {
		return nil
	}
	filter := filepath.Join(soul, "agent.bpf")
	if err := e.o.host("write agent.bpf", func() error { return writeNew(filter, e.o.AgentFilter, 0o400) }); err != nil {
		return err
	}
	if err := e.o.host("own agent.bpf", func() error { return os.Chown(filter, wideRoot, wideRoot) }); err != nil {
		return fmt.Errorf("give the agent its filter: %w", err)
	}
	return nil
}

// bundle lists what the sandbox's OCI configuration is made of.
func (e *Engine) bundle(b *box, dir string, root *images.RootFS, spec boxSpec) images.BundleOptions {
	o := images.BundleOptions{
		Hostname: string(b.id), RootFS: root, Writable: spec.sandbox != nil, UIDMappings: b.block.UIDMappings(), GIDMappings: b.block.GIDMappings(),
		SoulSource:    filepath.Join(dir, "soul"),
		SoulBinSource: filepath.Join(e.o.RunDir, binDir),
		ToolsSource:   filepath.Join(e.o.RunDir, toolsDir),
		Args:          []string{images.SoulBinDir + "/" + assetAgent, "--dir", images.SoulDir},
		CgroupsPath:   b.cg.AgentPath(),
	}
	if b.rt.Info().OwnKernel { // which adds what nobody asked for
		o.Args = append(o.Args, "--trim-devices", "--unmount=/sys")
		if spec.sandbox != nil {
			o.Args = append(o.Args, "--unmount=/tmp")
		}
	}
	// Of every id, and with runc of all ids together: its root can take many.
	n := uint64(spec.processes) + agentProcesses
	o.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NPROC", Soft: n, Hard: n}}
	if spec.sandbox != nil {
		o.Capabilities = slices.Compact(slices.Sorted(slices.Values(slices.Concat(images.AgentCapabilities(), images.SessionCapabilities()))))
	}
	if spec.prepared != "" {
		o.Prepared = []images.Prepared{{Language: spec.recipe.Name, Source: spec.prepared, Writable: spec.writable}}
	}
	if dir := os.Getenv("GOCOVERDIR"); dir != "" {
		o.Env = []string{"PATH=" + images.SearchPath, "GOCOVERDIR=/"} // counters leave through the channel
	}
	return o
}

// agentProcesses is how many processes and threads a sandbox may have for agent and launchers.
const agentProcesses = 512

// slot is one slot of a box and its cgroup.
type slot struct {
	*client.Slot
	group *cgroups.Group // of the host; nil where that has one for the whole box
}

// stats reads the host's counters of the slot: none where the slot has no group of its own.
func (s *slot) stats() (cgroups.Stats, error) {
	if s.group == nil {
		return cgroups.Stats{}, nil
	}
	return s.group.Stats()
}

// slotGroup makes the group of a slot of b, and opens what its PID 1 joins it by: nothing where the runtime's sandboxes
// are one group.
func (b *box) slotGroup(name string, l cgroups.Limits) (*cgroups.Group, []*os.File, error) {
	if b.rt.Info().OwnKernel {
		return nil, nil, nil
	}
	group, err := b.cg.Slot(name)
	if err != nil {
		return nil, nil, fmt.Errorf("make cgroup of slot %s/%s: %w", b.id, name, err)
	}
	if err := group.Set(l); err != nil {
		return nil, nil, fmt.Errorf("limit slot %s/%s: %w", b.id, name, err)
	}
	procs, err := group.Procs()
	if err != nil {
		return nil, nil, fmt.Errorf("open cgroup of slot %s/%s: %w", b.id, name, err)
	}
	return group, procs, nil
}

// room is what will be put into a slot beside what its program may hold.
type room struct {
	bytes, inodes int64
	copyOf        *slot // whose work directory will be copied; nil: none
}

// openSlot prepares a slot under limits, with room for its files. It is given back with its box.
func (e *Engine) openSlot(ctx context.Context, b *box, name string, l Limits, files room) (_ *slot, err error) {
	// One process more than the program may have: the launcher.
	s := &slot{}
	var procs []*os.File
	err = e.o.host("make slot's cgroup", func() error {
		s.group, procs, err = b.slotGroup(name, cgroups.Limits{Memory: l.Memory, Pids: l.Processes + 1})
		return err
	})
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, f := range procs {
			err = errors.Join(err, f.Close())
		}
	}()
	spec := client.SlotSpec{
		Hostname: "soulbox", UID: programUID, GID: programUID, LauncherID: launcherUID,
		Filter: e.o.ProgramFilter, Hide: []string{images.SoulDir, images.SoulBinDir},
		Disk: l.Disk + files.bytes, Inodes: l.Inodes + files.inodes, OwnGroup: b.rt.Info().OwnKernel, Processes: l.Processes,
	}
	if files.copyOf != nil {
		spec.CopyOf = files.copyOf.Slot
	}
	if err := e.o.host("prepare slot", func() error { s.Slot, err = b.agent.Prepare(ctx, spec, procs); return err }); err != nil {
		return nil, fmt.Errorf("slot %s/%s: %w", b.id, name, err)
	}
	e.countSlot(b)
	return s, nil
}

// writeNew writes a file that does not exist yet.
func writeNew(path string, content []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// tail returns the end of a sandbox's log, for an error's text.
func tail(path string) string {
	const most = 2000
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-most):])
}
