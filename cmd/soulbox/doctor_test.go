package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/soulbox/soulbox/cgroups"
)

// hostWith returns a host whose files have these contents.
func hostWith(t *testing.T, files map[string]string) hostFiles {
	t.Helper()
	h := hostFiles{root: t.TempDir()}
	for name, text := range files {
		file := filepath.Join(h.root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func TestNamespaceCheck(t *testing.T) {
	denied := attempt{Namespace: "fork/exec /proc/self/exe: operation not permitted"}
	unmountable := attempt{Mount: "mount tmpfs: permission denied"}
	const (
		max      = "proc/sys/user/max_user_namespaces"
		clone    = "proc/sys/kernel/unprivileged_userns_clone"
		apparmor = "proc/sys/kernel/apparmor_restrict_unprivileged_userns"
	)
	for _, tc := range []struct {
		name   string
		uid    int
		files  map[string]string
		made   attempt
		status string
		fix    string
	}{
		{"works", 1000, map[string]string{max: "100", clone: "1"}, attempt{}, checkOK, ""},
		{"works in spite of a switch", 1000, map[string]string{apparmor: "1"}, attempt{}, checkOK, ""},
		{"none allowed", 1000, map[string]string{max: "0"}, denied, checkFailed, "sysctl -w user.max_user_namespaces=15000"},
		{"none for plain users", 1000, map[string]string{max: "100", clone: "0"}, denied, checkFailed, "sysctl -w kernel.unprivileged_userns_clone=1"},
		{"apparmor", 1000, map[string]string{clone: "1", apparmor: "1"}, unmountable, checkFailed, "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"},
		{"apparmor does not concern root", 0, map[string]string{apparmor: "1"}, unmountable, checkFailed, "in a container"},
		{"a container", 0, nil, denied, checkFailed, "in a container"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := namespaceCheck(tc.uid, hostWith(t, tc.files), tc.made)
			if got.Status != tc.status || !strings.Contains(got.Fix, tc.fix) || tc.fix == "" && got.Fix != "" {
				t.Errorf("namespaceCheck = %+v, want status %s and fix %q", got, tc.status, tc.fix)
			}
			if got.Status != checkOK && got.Cost == "" {
				t.Errorf("namespaceCheck = %+v, want a cost", got)
			}
		})
	}
}

func TestHostChecks(t *testing.T) {
	for _, tc := range []struct {
		name string
		got  check
		want string
	}{
		{"this kernel", kernelCheck(hostWith(t, map[string]string{"proc/sys/kernel/osrelease": "6.1.0-27-amd64"})), checkOK},
		{"oldest kernel", kernelCheck(hostWith(t, map[string]string{"proc/sys/kernel/osrelease": "5.15.0"})), checkOK},
		{"old kernel", kernelCheck(hostWith(t, map[string]string{"proc/sys/kernel/osrelease": "5.14.9"})), checkWarning},
		{"no kernel", kernelCheck(hostWith(t, nil)), checkUnknown},
		{"seccomp", seccompCheck(hostWith(t, map[string]string{"proc/sys/kernel/seccomp/actions_avail": "kill_process kill_thread trap errno trace log allow"})), checkOK},
		{"old seccomp", seccompCheck(hostWith(t, map[string]string{"proc/sys/kernel/seccomp/actions_avail": "kill_thread trap errno trace allow"})), checkFailed},
		{"no seccomp", seccompCheck(hostWith(t, nil)), checkFailed},
		{"overlay", overlayCheck(attempt{}), checkOK},
		{"no overlay", overlayCheck(attempt{Overlay: "no such device"}), checkWarning},
		{"overlay untried", overlayCheck(attempt{Mount: "no"}), checkUnknown},
		{"disk that is not made yet", diskCheck(filepath.Join(t.TempDir(), "not", "yet")), checkOK},
		{"no newuidmap", mapToolsCheck(func(string) (string, error) { return "", errors.New("not found") }), checkFailed},
		{"newuidmap without rights", mapToolsCheck(func(string) (string, error) { return os.DevNull, nil }), checkFailed},
		{"ids of root", idChecks(0)[0], checkOK},
	} {
		if tc.got.Status != tc.want {
			t.Errorf("%s: %+v, want status %s", tc.name, tc.got, tc.want)
		}
		if bad := tc.got.Status == checkFailed || tc.got.Status == checkWarning; bad && (tc.got.Cost == "" || tc.got.Fix == "") {
			t.Errorf("%s: %+v, want a cost and a fix", tc.name, tc.got)
		}
	}
}

func TestCgroupChecks(t *testing.T) {
	feature := func(name string, a cgroups.Answer, detail string) cgroups.Feature {
		return cgroups.Feature{Name: "cgroup." + name, Answer: a, Detail: detail}
	}
	unified := feature("hierarchy", cgroups.AnswerYes, "unified: cgroup v2 at /sys/fs/cgroup")
	hybrid := feature("hierarchy", cgroups.AnswerYes, "hybrid: cgroup v1 with an empty v2")
	writable := feature("writable", cgroups.AnswerYes, "v2 below /sys/fs/cgroup/x")
	closed := feature("writable", cgroups.AnswerNo, "nothing is writable: no limit holds for a whole process tree")
	for _, tc := range []struct {
		name     string
		features []cgroups.Feature
		uid      int
		want     []check
	}{
		{
			name: "a plain user outside of any unit of hers", uid: 1000,
			features: []cgroups.Feature{unified, closed, feature("memory", cgroups.AnswerNo, "x: y"), feature("psi", cgroups.AnswerYes, "p")},
			want: []check{
				{Name: "cgroup.hierarchy", Status: checkOK, Found: unified.Detail},
				{Name: "cgroup.writable", Status: checkWarning, Found: "nothing is writable", Cost: "no limit holds for a whole process tree",
					Fix: "start it in a unit that systemd hands to you: systemd-run --user --scope -p Delegate=yes soulbox serve"},
				{Name: "cgroup.psi", Status: checkOK, Found: "p"},
			},
		},
		{
			name: "v1 needs root", uid: 1000, features: []cgroups.Feature{hybrid, closed},
			want: []check{
				{Name: "cgroup.hierarchy", Status: checkOK, Found: hybrid.Detail},
				{Name: "cgroup.writable", Status: checkWarning, Found: "nothing is writable", Cost: "no limit holds for a whole process tree",
					Fix: "run soulbox as root, or boot with systemd.unified_cgroup_hierarchy=1"},
			},
		},
		{
			name: "could not tell", uid: 0, features: []cgroups.Feature{unified, writable, feature("kill", cgroups.AnswerUnknown, "the root group does not show it: slow")},
			want: []check{
				{Name: "cgroup.hierarchy", Status: checkOK, Found: unified.Detail},
				{Name: "cgroup.writable", Status: checkOK, Found: writable.Detail},
				{Name: "cgroup.kill", Status: checkUnknown, Found: "the root group does not show it: slow"},
			},
		},
	} {
		if diff := cmp.Diff(tc.want, cgroupChecks(tc.features, tc.uid)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
	all := []string{"cpu", "pids", "memory", "kill", "swap", "psi", "memory.peak", "delegated", "freeze", "cpuacct"}
	for _, uid := range []int{0, 1000} {
		for _, h := range []cgroups.Feature{unified, hybrid} {
			for _, name := range all {
				for _, k := range cgroupChecks([]cgroups.Feature{h, writable, feature(name, cgroups.AnswerNo, "a: b")}, uid) {
					if k.Status == checkWarning && (k.Fix == "" || k.Cost == "") {
						t.Errorf("%s as uid %d on %s: %+v, want a cost and a fix", name, uid, h.Detail, k)
					}
				}
			}
		}
	}
}

func TestPrintChecks(t *testing.T) {
	var out bytes.Buffer
	err := printChecks(&out, painter{}, []check{{Name: "a", Status: checkOK, Found: "fine"}, {Name: "b", Status: checkFailed, Found: "no", Cost: "all", Fix: "do"},
		{Name: "c", Status: checkUnknown, Found: "?"}})
	if err != nil {
		t.Fatal(err)
	}
	const want = `ok       a                    fine
failed   b                    no
           costs: all
           fix:   do
unknown  c                    ?

1 ok, 0 warnings, 1 failed, 1 unknown
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("printChecks (-want +got):\n%s", diff)
	}
}
