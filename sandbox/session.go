package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/soulbox/soulbox/cgroups"
	"github.com/soulbox/soulbox/images"
	"github.com/soulbox/soulbox/sandbox/agent/client"
)

// sessionSlot names the cgroup of a session.
const sessionSlot = "session"

// sessionSearch is where a session's programs are looked for.
const sessionSearch = "/usr/local/sbin:" + images.SearchPath + ":/usr/sbin:/sbin"

// openSession opens the box of a sandbox that lives on, with its session. When it fails nothing is left.
func (e *Engine) openSession(ctx context.Context, rec *Sandbox) (_ *box, err error) {
	rt, ok := e.runtime(rec.Runtime)
	if !ok {
		return nil, fmt.Errorf("open sandbox %s: no runtime %q", rec.ID, rec.Runtime)
	}
	b, err := e.openBox(ctx, boxSpec{runtime: rt, memory: rec.Limits.Memory, processes: rec.Limits.Processes + 1, sandbox: rec})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close(ctx))
		}
	}()
	var procs []*os.File
	err = e.o.host("make session's cgroup", func() error { _, procs, err = b.slotGroup(sessionSlot, sessionGroup(rec.Limits)); return err })
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, f := range procs {
			err = errors.Join(err, f.Close())
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	e.countSlot(b)
	return b, e.o.host("open session", func() error { return b.agent.OpenSession(ctx, e.sessionSpec(rt, rec), procs) })
}

// sessionGroup is the limit of a session's cgroup: one process more than the programs may have, the launcher.
func sessionGroup(l SandboxLimits) cgroups.Limits {
	return cgroups.Limits{Memory: l.Memory, Pids: l.Processes + 1}
}

// sessionFiles is how many descriptors a session's process may have. The kernel counts those on their way between
// processes for each user, and root of all sessions is the one that all agents are, too: theirs must be more.
func sessionFiles(l SandboxLimits) uint64 {
	n := uint64(l.OpenFiles)
	var agents unix.Rlimit // as the daemon's own
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &agents) == nil {
		n = min(n, agents.Max/2)
	}
	return n
}

func (e *Engine) sessionSpec(rt Runtime, rec *Sandbox) client.SessionSpec {
	files := sessionFiles(rec.Limits)
	env := map[string]string{"PATH": sessionSearch, "LANG": "C.UTF-8"}
	for k, v := range rec.Env {
		env[k] = v
	}
	spec := client.SessionSpec{
		Slot: client.SlotSpec{
			Hostname: string(rec.ID), UID: programUID, GID: programUID, LauncherID: launcherUID,
			Filter: e.o.SessionFilter, Hide: []string{images.SoulDir, images.SoulBinDir},
			OwnGroup: rt.Info().OwnKernel, Processes: rec.Limits.Processes, Memory: rec.Limits.Memory,
		},
		Keep: sessionCapabilities(), Env: env, User: rec.User, Workdir: rec.Workdir,
		Rlimits: []client.Rlimit{
			{Resource: unix.RLIMIT_NOFILE, Soft: files, Hard: files},
			{Resource: unix.RLIMIT_CORE},
		},
	}
	if !e.kept(rt).Pids && !rt.Info().OwnKernel {
		n := uint64(rec.Limits.Processes)
		spec.Rlimits = append(spec.Rlimits, client.Rlimit{Resource: unix.RLIMIT_NPROC, Soft: n, Hard: n})
	}
	return spec
}

// sessionCapabilities is the mask of [images.SessionCapabilities].
func sessionCapabilities() uint64 {
	return 1<<unix.CAP_AUDIT_WRITE | 1<<unix.CAP_CHOWN | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_FOWNER | 1<<unix.CAP_FSETID |
		1<<unix.CAP_KILL | 1<<unix.CAP_NET_BIND_SERVICE | 1<<unix.CAP_SETFCAP | 1<<unix.CAP_SETGID | 1<<unix.CAP_SETPCAP |
		1<<unix.CAP_SETUID | 1<<unix.CAP_SYS_CHROOT
}

// adoptTime bounds how long the agent of an earlier daemon's sandbox may take to answer.
const adoptTime = 5 * time.Second

// adoptSession takes over the box of a sandbox that an earlier daemon of this supervisor opened. An error means that it
// does not live any more, or not well enough.
func (e *Engine) adoptSession(ctx context.Context, record BoxRecord, image string) (_ *box, err error) {
	rt, ok := e.runtime(record.Runtime)
	if !ok {
		return nil, fmt.Errorf("adopt sandbox %s: no runtime %q", record.ID, record.Runtime)
	}
	dir := e.boxDir(record.ID)
	channel, err := os.OpenFile(filepath.Join(dir, "soul"), unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("adopt sandbox %s: %w", record.ID, err)
	}
	defer channel.Close()
	b := &box{id: record.ID, rt: rt, block: Block{Index: record.Block}}
	if b.cg, err = e.o.Cgroups.LoadBox(string(b.id)); err != nil {
		return nil, fmt.Errorf("adopt sandbox %s: %w", b.id, err)
	}
	ctx, cancel := context.WithTimeout(ctx, adoptTime)
	defer cancel()
	if b.agent, err = client.Dial(ctx, channel); err != nil {
		return nil, fmt.Errorf("adopt sandbox %s: %w", b.id, err)
	}
	if _, err = b.agent.Processes(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("adopt sandbox %s: %w", b.id, err), b.agent.Close())
	}
	if image != "" {
		if err := e.keepImage(b, image); err != nil {
			return nil, errors.Join(fmt.Errorf("adopt sandbox %s: %w", b.id, err), b.agent.Close())
		}
	}
	// In the order of openBox.
	b.undo.add(func(context.Context) error { return e.o.IDs.Release(b.block) })
	b.undo.add(func(ctx context.Context) error { return e.closeRecord(ctx, record) })
	b.undo.add(b.cg.Remove)
	b.undo.add(func(context.Context) error { return removeBoxDir(dir) })
	b.undo.add(func(context.Context) error { return removeRoot(e.sandboxDir(b.id), e.rootDir(b.id)) })
	b.undo.add(func(ctx context.Context) error { return b.rt.Destroy(ctx, b.id) })
	b.undo.add(func(context.Context) error { return b.agent.Close() })
	e.countSlot(b)
	return b, nil
}
