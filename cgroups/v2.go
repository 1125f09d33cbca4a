package cgroups

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/cgroups/v3/cgroup2"
	"golang.org/x/sys/unix"
)

// v2 keeps groups in the unified hierarchy.
type v2 struct {
	files
	top     string   // directory of the tree
	mount   string   // mount point; what libcontainer is told starts below it
	control []string // controllers in use
	swap    bool     // memory.swap.max is there
	zswap   bool     // memory.zswap.max is there
	kill1   bool     // cgroup.kill is there
}

func openV2(f facts, o Options) (driver, Enforced, error) {
	base := f.V2.Base
	d := &v2{files: files{before: o.before}, mount: f.V2.Mount, control: f.V2.Control, top: path.Join(base, parentGroup, o.Name)}
	err := d.enable(base)
	if errors.Is(err, unix.EBUSY) {
		if err = d.settle(base); err == nil {
			err = d.enable(base)
		}
	}
	if err != nil {
		return nil, Enforced{}, err
	}
	if err := makeTop(d.files, base, o.Name, d.enable); err != nil {
		return nil, Enforced{}, err
	}
	has := func(name string) bool {
		_, err := os.Lstat(path.Join(d.top, name))
		return err == nil
	}
	d.swap, d.zswap, d.kill1 = has("memory.swap.max"), has("memory.zswap.max"), has("cgroup.kill")
	memory := slices.Contains(d.control, "memory")
	return d, Enforced{
		Memory: memory, Swap: memory && (d.swap || noSwap(o.host)),
		Pids:    slices.Contains(d.control, "pids"),
		CPUTime: has("cpu.stat"), CPUWeight: slices.Contains(d.control, "cpu"),
		Freeze: has("cgroup.freeze"), Kill: d.kill1,
	}, nil
}

// noSwap tells that the host has no swap at all.
func noSwap(h *host) bool {
	text, err := h.readFile("/proc/swaps")
	return err == nil && strings.Count(strings.TrimSpace(text), "\n") == 0
}

// enable hands the tree's controllers down to the children of dir.
func (d *v2) enable(dir string) error {
	if len(d.control) == 0 {
		return nil
	}
	return d.write(dir, "cgroup.subtree_control", "+"+strings.Join(d.control, " +"))
}

func (d *v2) dir(rel string) string           { return path.Join(d.top, rel) }
func (d *v2) dirs(rel string) []string        { return []string{d.dir(rel)} }
func (d *v2) exists(rel string) (bool, error) { return groupExists(d.dir(rel)) }

func groupExists(dir string) (bool, error) {
	_, err := os.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func (d *v2) children(rel string) ([]string, error) { return d.files.children(d.dir(rel)) }

func (d *v2) name(rel string) string {
	return path.Join("/", strings.TrimPrefix(d.dir(rel), d.mount))
}

func (d *v2) make(rel string, inner bool) error {
	dir := d.dir(rel)
	if err := d.mkdir(dir); err != nil {
		return err
	}
	if !inner {
		return nil
	}
	if err := d.enable(dir); err != nil {
		return errors.Join(err, d.rmdir(dir))
	}
	return nil
}

// manager is containerd's view of a group. It holds nothing.
func (d *v2) manager(op, rel string) (*cgroup2.Manager, error) {
	if err := d.check(op, d.dir(rel)); err != nil {
		return nil, fmt.Errorf("%s group %s: %w", op, rel, err)
	}
	return cgroup2.Load("/"+rel, cgroup2.WithMountpoint(d.top))
}

func (d *v2) set(rel string, l Limits) error {
	m, err := d.manager("limit", rel)
	if err != nil {
		return err
	}
	if err := m.Update(d.resources(l)); err != nil {
		return fmt.Errorf("limit group %s to %+v: %w", rel, l, err)
	}
	if d.zswap && l.Memory > 0 {
		return d.write(d.dir(rel), "memory.zswap.max", "0")
	}
	return nil
}

// resources translates limits, zero ones included, since a group is limited again and again. The swap limit comes
// before the memory limit, so that nothing is swapped out to meet the latter.
func (d *v2) resources(l Limits) *cgroup2.Resources {
	r := &cgroup2.Resources{}
	for _, c := range d.control {
		switch c {
		case "memory":
			limit, swap, whole := int64(math.MaxInt64), int64(math.MaxInt64), false // the kernel reads it as "max"
			if l.Memory > 0 {
				limit, swap = l.Memory, 0
			}
			r.Memory = &cgroup2.Memory{Max: &limit, OOMGroup: &whole}
			if d.swap {
				r.Memory.Swap = &swap
			}
		case "pids":
			r.Pids = &cgroup2.Pids{Max: -1} // "max"
			if l.Pids > 0 {
				r.Pids.Max = l.Pids
			}
		case "cpu":
			weight := uint64(100)
			if l.CPUWeight > 0 {
				weight = uint64(l.CPUWeight)
			}
			r.CPU = &cgroup2.CPU{Weight: &weight}
		}
	}
	return r
}

func (d *v2) join(rel string) ([]*os.File, error) {
	file, err := d.open(d.dir(rel), "cgroup.procs", os.O_WRONLY)
	if err != nil {
		return nil, err
	}
	return []*os.File{file}, nil
}

func (d *v2) stats(rel string) (Stats, error) {
	m, err := d.manager("read", rel)
	if err != nil {
		return Stats{}, err
	}
	metrics, err := m.StatFiltered(cgroup2.StatPids | cgroup2.StatCPU | cgroup2.StatMemory | cgroup2.StatMemoryEvents)
	if err != nil {
		return Stats{}, fmt.Errorf("read counters of group %s: %w", rel, err)
	}
	// A file that is missing reads as 0 there, so a group that is gone would read as idle.
	if ok, err := d.exists(rel); !ok {
		return Stats{}, fmt.Errorf("read counters of group %s: %w", rel, errors.Join(err, fs.ErrNotExist))
	}
	s := Stats{
		MemoryCurrent: int64(metrics.GetMemory().GetUsage()),
		OOMKills:      int64(metrics.GetMemoryEvents().GetOomKill()),
		PidsCurrent:   int64(metrics.GetPids().GetCurrent()),
		CPUUser:       time.Duration(metrics.GetCPU().GetUserUsec()) * time.Microsecond,
		CPUSystem:     time.Duration(metrics.GetCPU().GetSystemUsec()) * time.Microsecond,
		CPUTotal:      time.Duration(metrics.GetCPU().GetUsageUsec()) * time.Microsecond,
	}
	s.MemoryPeak = max(int64(metrics.GetMemory().GetMaxUsage()), s.MemoryCurrent)
	if slices.Contains(d.control, "pids") {
		s.PidsMaxEvents, err = d.counter(d.dir(rel), "pids.events", "max") // containerd does not read it
	}
	return s, err
}

// counter returns the number after key in a file of "key number" lines.
func (f files) counter(dir, name, key string) (int64, error) {
	text, err := f.read(dir, name)
	if err != nil {
		return 0, err
	}
	value, err := keyed(text, key)
	if err != nil {
		return 0, fmt.Errorf("read %s of %s: %w", name, dir, err)
	}
	return value, nil
}

func keyed(text, key string) (int64, error) {
	for line := range strings.Lines(text) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), " "); ok && k == key {
			n, err := strconv.ParseUint(v, 10, 63)
			if err != nil {
				return 0, fmt.Errorf("value of %s: %w", key, err)
			}
			return int64(n), nil
		}
	}
	return 0, fmt.Errorf("no line %q: %w", key, errors.ErrUnsupported)
}

// event returns a condition on the content of cgroup.events.
func event(key string, value int64) func(string) bool {
	return func(text string) bool {
		n, err := keyed(text, key)
		return err == nil && n == value
	}
}

func (d *v2) kill(ctx context.Context, rel string) error {
	dir := d.dir(rel)
	if !d.kill1 {
		return killLoop(ctx, d.files, []string{dir}, "")
	}
	if err := d.write(dir, "cgroup.kill", "1"); err != nil {
		return ignoreGone(err)
	}
	return ignoreGone(d.awaitEvent(ctx, dir, event("populated", 0)))
}

func (d *v2) freeze(ctx context.Context, rel string, on bool) error {
	dir, value := d.dir(rel), int64(0)
	if on {
		value = 1
	}
	if err := d.write(dir, "cgroup.freeze", strconv.FormatInt(value, 10)); err != nil {
		return err
	}
	return d.awaitEvent(ctx, dir, event("frozen", value))
}

func (d *v2) remove(ctx context.Context, rel string) error {
	dir := d.dir(rel)
	for {
		err := d.rmdir(dir)
		if !errors.Is(err, unix.EBUSY) {
			if err == nil && rel == "" {
				err = d.removeShared(path.Dir(dir))
			}
			return err
		}
		names, listErr := d.files.children(dir)
		if listErr != nil || len(names) > 0 {
			return errors.Join(err, listErr) // someone else makes groups here; waiting would not end
		}
		if err := d.awaitEvent(ctx, dir, event("populated", 0)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
}
