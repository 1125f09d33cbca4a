package cgroups

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/containerd/cgroups/v3"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// daemonGroup is the child of a delegated group that takes the unit's own processes: a v2 group with processes in it
// cannot hand controllers down.
const daemonGroup = "daemon"

// host is how this process reaches its host. Paths are absolute; tests put a transcript behind them.
type host struct {
	fs        fs.FS
	writable  func(path string) bool
	delegated func(dir string) Answer // whether systemd has marked the group as handed over
}

// thisHost returns the host as it is.
func thisHost() host {
	return host{
		fs:        os.DirFS("/"),
		writable:  func(p string) bool { return unix.Faccessat(unix.AT_FDCWD, p, unix.W_OK, unix.AT_EACCESS) == nil },
		delegated: delegatedMark,
	}
}

// delegatedMark reads the mark that systemd 251 and later leaves on groups with Delegate=yes. Without it nothing can be
// told: older ones of a user leave none.
func delegatedMark(dir string) Answer {
	for _, attr := range []string{"user.delegate", "trusted.delegate"} {
		var b [8]byte
		n, err := unix.Getxattr(dir, attr, b[:])
		if err == nil && string(b[:n]) == "1" {
			return AnswerYes
		}
	}
	return AnswerUnknown
}

func (h host) readFile(p string) (string, error) {
	b, err := fs.ReadFile(h.fs, strings.TrimPrefix(p, "/"))
	if err != nil {
		return "", fmt.Errorf("read %s: %w", p, err)
	}
	return string(b), nil
}

func (h host) exists(p string) bool {
	_, err := fs.Stat(h.fs, strings.TrimPrefix(p, "/"))
	return err == nil
}

// v2Facts are what is known of the unified hierarchy.
type v2Facts struct {
	Mount     string   // "" when it is not mounted
	Own       string   // directory of this process's group; "" when it lies outside of what is mounted
	Base      string   // the group below which SoulBox's may be made; "" when there is none
	Control   []string // controllers that Base can hand down
	Delegated Answer   // of Base
}

// v1Mount is one hierarchy of cgroup v1.
type v1Mount struct {
	Dir      string
	Writable bool
}

// facts are what a host says of its control groups.
type facts struct {
	V2     v2Facts
	V1     map[string]v1Mount // by controller
	Others []string           // mount points of v1 hierarchies that are not used: named ones, and other controllers
}

// v1Controllers are those that SoulBox uses, in the order in which a process joins them.
var v1Controllers = [...]string{"memory", "cpu", "cpuacct", "pids", "freezer"}

// v2Controllers are those that SoulBox uses.
var v2Controllers = [...]string{"cpu", "memory", "pids"}

// facts reads mounts and groups. base overrides the search for a v2 group.
func (h host) facts(base string) (facts, error) {
	text, err := h.readFile("/proc/self/mountinfo")
	if err != nil {
		return facts{}, err
	}
	mounts, err := mountinfo.GetMountsFromReader(strings.NewReader(text), mountinfo.FSTypeFilter("cgroup", "cgroup2"))
	if err != nil {
		return facts{}, fmt.Errorf("parse mountinfo: %w", err)
	}
	text, err = h.readFile("/proc/self/cgroup")
	if err != nil {
		return facts{}, err
	}
	_, own, err := cgroups.ParseCgroupFromReaderUnified(strings.NewReader(text))
	if err != nil {
		return facts{}, fmt.Errorf("parse /proc/self/cgroup: %w", err)
	}
	f := facts{V1: map[string]v1Mount{}}
	for _, m := range mounts {
		if m.FSType == "cgroup2" {
			if f.V2.Mount == "" {
				f.V2 = h.v2Facts(m, own, base)
			}
			continue
		}
		f.addV1(h, m)
	}
	return f, nil
}

func (f *facts) addV1(h host, m *mountinfo.Info) {
	used := false
	for opt := range strings.SplitSeq(m.VFSOptions, ",") {
		if _, twice := f.V1[opt]; !twice && slices.Contains(v1Controllers[:], opt) {
			f.V1[opt] = v1Mount{Dir: m.Mountpoint, Writable: h.writable(m.Mountpoint)}
			used = true
		}
	}
	if !used {
		f.Others = append(f.Others, m.Mountpoint)
	}
}

func (h host) v2Facts(m *mountinfo.Info, own, base string) v2Facts {
	v := v2Facts{Mount: m.Mountpoint, Delegated: AnswerUnknown}
	if rel, ok := below(m.Root, own); ok {
		v.Own = path.Join(m.Mountpoint, rel)
	}
	v.Base = base
	if base == "" {
		v.Base = h.v2Base(v)
	}
	if v.Base == "" {
		return v
	}
	v.Delegated = h.delegated(v.Base)
	if text, err := h.readFile(path.Join(v.Base, "cgroup.controllers")); err == nil {
		for _, c := range strings.Fields(text) {
			if slices.Contains(v2Controllers[:], c) {
				v.Control = append(v.Control, c)
			}
		}
	}
	return v
}

// below returns the path of dir below root.
func below(root, dir string) (string, bool) {
	if dir == "" || strings.HasPrefix(dir, "/..") {
		return "", false // of an outer cgroup namespace
	}
	if root == "/" || root == dir {
		return strings.TrimPrefix(dir, root), true
	}
	if rel, ok := strings.CutPrefix(dir, root+"/"); ok {
		return rel, true
	}
	return "", false
}

// v2Base chooses the group below which SoulBox makes its own. It is the unit's, when that is ours to change. A group
// that systemd has not marked gives way to the hierarchy's root where that is writable: there no process has to be
// moved, and a login session of root's stays as it is.
func (h host) v2Base(v v2Facts) string {
	if parent, last := path.Split(v.Own); last == daemonGroup && h.groupWritable(path.Clean(parent)) {
		return path.Clean(parent) // an earlier start, or who started us, has moved us
	}
	root := h.groupWritable(v.Mount)
	switch {
	case v.Own == "" || !h.groupWritable(v.Own):
		if root {
			return v.Mount
		}
		return ""
	case root && h.delegated(v.Own) != AnswerYes:
		return v.Mount
	}
	return v.Own
}

// groupWritable tells whether groups can be made below dir, processes moved and controllers handed down.
func (h host) groupWritable(dir string) bool {
	return h.writable(dir) && h.writable(path.Join(dir, "cgroup.procs")) && h.writable(path.Join(dir, "cgroup.subtree_control"))
}

// errNone is why a host has no groups for us.
var errNone = errors.New("no cgroup v2 group of this process is writable, and no memory controller of cgroup v1")

// modes returns the modes worth trying, best first.
func (f facts) modes() []Mode {
	v1 := f.V1["memory"].Writable
	memory2 := slices.Contains(f.V2.Control, "memory")
	switch {
	case memory2 && v1:
		return []Mode{ModeV2, ModeV1}
	case memory2:
		return []Mode{ModeV2}
	case v1:
		return []Mode{ModeV1}
	case len(f.V2.Control) > 0:
		return []Mode{ModeV2} // counts processes and CPU time at least
	}
	return nil
}
