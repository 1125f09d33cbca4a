package cgroups

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"time"

	"github.com/containerd/cgroups/v3/cgroup1"
	stats1 "github.com/containerd/cgroups/v3/cgroup1/stats"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// v1 keeps groups in one hierarchy for each controller, as root of the host.
type v1 struct {
	files
	rel    string            // path of the tree in each hierarchy
	root   string            // directory in which each controller has one of its name
	mounts map[string]string // mount point of each controller in use
	order  []string          // distinct values of mounts, in the order of joining
	// Where libcontainer makes groups as well, whether told to or not: they have to be removed with ours.
	others []string
	memsw  bool // swap is accounted for
}

func openV1(f facts, o Options) (driver, Enforced, error) {
	d := &v1{
		files: files{before: o.before}, rel: path.Join("/", parentGroup, o.Name), others: f.Others,
		root: path.Dir(f.V1["memory"].Dir), mounts: map[string]string{},
	}
	if f.V2.Mount != "" {
		d.others = append(slices.Clone(d.others), f.V2.Mount)
	}
	for _, c := range v1Controllers {
		m, ok := f.V1[c]
		// containerd wants /sys/fs/cgroup/<controller>, which is a link where several share a hierarchy.
		if !ok || !o.host.exists(path.Join(d.root, c)) {
			continue
		}
		if !m.Writable {
			d.others = append(d.others, m.Dir)
			continue
		}
		d.mounts[c] = m.Dir
		if !slices.Contains(d.order, m.Dir) {
			d.order = append(d.order, m.Dir)
		}
	}
	for i, mount := range d.order {
		if err := makeTop(d.files, mount, o.Name, d.enable); err != nil {
			for _, m := range d.order[:i] {
				err = errors.Join(err, d.removeShared(path.Join(m, d.rel)), d.removeShared(path.Join(m, parentGroup)))
			}
			return nil, Enforced{}, err
		}
	}
	_, err := os.Lstat(path.Join(d.dir("memory", ""), "memory.memsw.limit_in_bytes"))
	d.memsw = err == nil
	has := func(c string) bool { return d.mounts[c] != "" }
	return d, Enforced{
		Memory: true, Swap: d.memsw || noSwap(o.host), Pids: has("pids"), CPUTime: has("cpuacct"), CPUWeight: has("cpu"),
		Freeze: has("freezer"), Kill: has("freezer"),
	}, nil
}

// enable makes a memory group count what lies below it, which is not the default before Linux 5.11.
func (d *v1) enable(dir string) error {
	if !pathIn(d.mounts["memory"], dir) {
		return nil
	}
	if value, err := d.read(dir, "memory.use_hierarchy"); err != nil || value == "1" {
		return err
	}
	return d.write(dir, "memory.use_hierarchy", "1")
}

func pathIn(root, dir string) bool {
	_, ok := below(root, dir)
	return root != "" && ok
}

func (d *v1) dir(controller, rel string) string { return path.Join(d.mounts[controller], d.rel, rel) }

func (d *v1) dirs(rel string) []string {
	var dirs []string
	for _, mount := range d.order {
		dirs = append(dirs, path.Join(mount, d.rel, rel))
	}
	return dirs
}

// everywhere returns the group's directories in all hierarchies of the host.
func (d *v1) everywhere(rel string) []string {
	dirs := d.dirs(rel)
	for _, mount := range d.others {
		dirs = append(dirs, path.Join(mount, d.rel, rel))
	}
	return dirs
}

func (d *v1) name(rel string) string { return path.Join(d.rel, rel) }

// exists finds what is left of a group in any hierarchy: making and removing one takes a step for each.
func (d *v1) exists(rel string) (bool, error) {
	for _, dir := range d.everywhere(rel) {
		if ok, err := groupExists(dir); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

func (d *v1) children(rel string) ([]string, error) {
	var all []string
	for _, dir := range d.everywhere(rel) {
		names, err := d.files.children(dir)
		if err != nil {
			return nil, err
		}
		all = append(all, names...)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

func (d *v1) make(rel string, _ bool) (err error) {
	var made []string
	defer func() {
		if err != nil {
			for _, dir := range made {
				err = errors.Join(err, d.rmdir(dir))
			}
		}
	}()
	for _, dir := range d.dirs(rel) {
		if err := d.mkdir(dir); err != nil {
			return err
		}
		made = append(made, dir)
	}
	return nil
}

func (d *v1) set(rel string, l Limits) error {
	type updater interface {
		Update(path string, resources *specs.LinuxResources) error
	}
	if err := d.setMemory(rel, l.Memory); err != nil {
		return err
	}
	controllers := map[string]updater{"pids": cgroup1.NewPids(d.root), "cpu": cgroup1.NewCpu(d.root)}
	resources := v1Resources(l)
	for _, c := range v1Controllers {
		u, ok := controllers[c]
		if !ok || d.mounts[c] == "" {
			continue
		}
		err := d.check("limit", d.dir(c, rel))
		if err == nil {
			err = u.Update(d.name(rel), resources)
		}
		if err != nil {
			return fmt.Errorf("limit %s of group %s to %+v: %w", c, rel, l, err)
		}
	}
	if d.mounts["pids"] != "" && l.Pids == 0 { // containerd writes positive numbers only
		return d.write(d.dir("pids", rel), "pids.max", "max")
	}
	return nil
}

// setMemory limits memory, and memory and swap together to the same, which leaves no swap. The kernel refuses a memory
// limit above the other one, so the order depends on the way the limits go. containerd has the order wrong when they
// rise, hence the plain files.
func (d *v1) setMemory(rel string, bytes int64) error {
	dir, value := d.dir("memory", rel), "-1" // no limit
	if bytes > 0 {
		value = strconv.FormatInt(bytes, 10)
	}
	names := []string{"memory.limit_in_bytes"}
	if d.memsw {
		const both = "memory.memsw.limit_in_bytes"
		text, err := d.read(dir, both)
		if err != nil {
			return err
		}
		now, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return fmt.Errorf("parse %s of %s: %w", both, dir, err)
		}
		names = append(names, both)
		if bytes <= 0 || bytes > now {
			slices.Reverse(names)
		}
	}
	for _, name := range names {
		if err := d.write(dir, name, value); err != nil {
			return err
		}
	}
	return nil
}

// v1Resources translates the limits that containerd writes.
func v1Resources(l Limits) *specs.LinuxResources {
	pids, shares := l.Pids, uint64(1024)
	if l.CPUWeight > 0 {
		shares = max(2, uint64(l.CPUWeight)*1024/100)
	}
	return &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: &pids}, CPU: &specs.LinuxCPU{Shares: &shares}}
}

func (d *v1) join(rel string) (_ []*os.File, err error) {
	var open []*os.File
	defer func() {
		if err != nil {
			for _, f := range open {
				err = errors.Join(err, f.Close())
			}
		}
	}()
	for _, dir := range d.dirs(rel) {
		f, err := d.open(dir, "cgroup.procs", os.O_WRONLY)
		if err != nil {
			return nil, err
		}
		open = append(open, f)
	}
	return open, nil
}

func (d *v1) stats(rel string) (Stats, error) {
	type statter interface {
		Stat(path string, stats *stats1.Metrics) error
	}
	controllers := map[string]statter{
		"memory":  cgroup1.NewMemory(d.root, cgroup1.IgnoreModules("memsw", "kmem", "kmem.tcp")),
		"cpuacct": cgroup1.NewCpuacct(d.root), "pids": cgroup1.NewPids(d.root),
	}
	m := &stats1.Metrics{CPU: &stats1.CPUStat{Usage: &stats1.CPUUsage{}}} // cpuacct wants it made
	for _, c := range v1Controllers {
		s, ok := controllers[c]
		if !ok || d.mounts[c] == "" {
			continue
		}
		err := d.check("read", d.dir(c, rel))
		if err == nil {
			err = s.Stat(d.name(rel), m)
		}
		if err != nil {
			return Stats{}, fmt.Errorf("read %s counters of group %s: %w", c, rel, err)
		}
	}
	s := Stats{
		MemoryPeak:    int64(m.GetMemory().GetUsage().GetMax()),
		MemoryCurrent: int64(m.GetMemory().GetUsage().GetUsage()),
		OOMKills:      int64(m.GetMemoryOomControl().GetOomKill()),
		PidsCurrent:   int64(m.GetPids().GetCurrent()),
		CPUTotal:      time.Duration(m.CPU.Usage.Total),
	}
	s.CPUUser, s.CPUSystem = split(s.CPUTotal, time.Duration(m.CPU.Usage.User), time.Duration(m.CPU.Usage.Kernel))
	if d.mounts["pids"] == "" {
		return s, nil
	}
	var err error
	s.PidsMaxEvents, err = d.counter(d.dir("pids", rel), "pids.events", "max") // containerd does not read it
	return s, err
}

// split divides an exact total as user and system time, which are counted in clock ticks, are divided. What was too
// short for a tick is the program's own.
func split(total, user, system time.Duration) (time.Duration, time.Duration) {
	if user+system <= 0 {
		return total, 0
	}
	s := time.Duration(float64(total) * (float64(system) / float64(user+system)))
	return total - s, s
}

func (d *v1) kill(ctx context.Context, rel string) error {
	freezer := ""
	if d.mounts["freezer"] != "" {
		freezer = d.dir("freezer", rel)
	}
	return killLoop(ctx, d.files, d.dirs(rel), freezer)
}

func (d *v1) freeze(ctx context.Context, rel string, on bool) error {
	if d.mounts["freezer"] == "" {
		return fmt.Errorf("freeze group %s: no freezer: %w", rel, errors.ErrUnsupported)
	}
	dir, want := d.dir("freezer", rel), "THAWED"
	if on {
		want = "FROZEN"
	}
	return retry(ctx, "wait until group "+rel+" is "+want, func() error {
		// Written each time: a process that forked while the first was at work is held by the next.
		if err := d.write(dir, "freezer.state", want); err != nil {
			return err
		}
		state, err := d.read(dir, "freezer.state")
		if err == nil && state != want {
			return errBusy
		}
		return err
	})
}

func (d *v1) remove(ctx context.Context, rel string) error {
	for _, dir := range d.everywhere(rel) {
		if err := retry(ctx, "remove group "+rel, func() error { return d.rmdir(dir) }); err != nil {
			return err
		}
		if rel == "" {
			if err := d.removeShared(path.Dir(dir)); err != nil {
				return err
			}
		}
	}
	return nil
}
