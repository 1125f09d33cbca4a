package cgroups

import (
	"path"
	"strings"
	"testing"
	"testing/fstest"
)

// FuzzFacts: whatever a host says of its mounts and groups, the answer is an error or facts about directories below a
// mount.
func FuzzFacts(f *testing.F) {
	const (
		mounts = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup rw\n31 23 0:27 /a /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
		groups = "0::/user.slice/user@1000.service/app.slice\n"
	)
	f.Add(mounts, groups, "cpu memory pids")
	f.Add("", "0::/../outside", "")
	f.Add("30 23 0:26 /x /a\\040b rw - cgroup2 cgroup rw\n", "1:memory:/x\n0::/x/y\n", "cpu")
	f.Fuzz(func(t *testing.T, mountinfo, group, controllers string) {
		fsys := fstest.MapFS{
			"proc/self/mountinfo": {Data: []byte(mountinfo)}, "proc/self/cgroup": {Data: []byte(group)},
			"sys/fs/cgroup/cgroup.controllers": {Data: []byte(controllers)},
		}
		for range 2 {
			h := host{fs: fsys, writable: func(string) bool { return true }, delegated: func(string) Answer { return AnswerYes }}
			got, err := h.facts("")
			if err != nil {
				return
			}
			if v := got.V2; v.Mount != "" && v.Own != "" {
				if _, ok := below(path.Clean(v.Mount), path.Clean(v.Own)); !ok {
					t.Errorf("facts of %q, %q: own group %q is not below %q", mountinfo, group, v.Own, v.Mount)
				}
			}
			for c := range got.V1 {
				if c == "" || strings.ContainsAny(c, "/,") {
					t.Errorf("facts of %q: controller %q", mountinfo, c)
				}
			}
			delete(fsys, "sys/fs/cgroup/cgroup.controllers") // and without one of the files
		}
	})
}

// FuzzCounters: the files of a group give a number or an error.
func FuzzCounters(f *testing.F) {
	f.Add("low 0\nhigh 0\nmax 3\noom 1\noom_kill 1\n", "max")
	f.Add("max 18446744073709551615\n", "max")
	f.Add("max\nmax x\n max 1", "max")
	f.Fuzz(func(t *testing.T, text, key string) {
		if n, err := keyed(text, key); err == nil && (n < 0 || !strings.Contains(text, key+" ")) {
			t.Errorf("keyed(%q, %q) = %d", text, key, n)
		}
	})
}
