package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/soulbox/soulbox/cgroups"
	"github.com/soulbox/soulbox/sandbox"
	"github.com/soulbox/soulbox/sandbox/assets"
	"github.com/soulbox/soulbox/sandbox/runsc"
	"github.com/soulbox/soulbox/sandbox/wide"
)

// lowDisk is the free space below which a daemon refuses work unless told otherwise, in bytes.
const lowDisk = 512 << 20

// nothingRuns is what it costs to lack something that every sandbox needs.
const nothingRuns = "no program can run"

// hostFiles reads what the kernel says in files below a root; tests give it another.
type hostFiles struct{ root string }

// read returns a file's trimmed text, "" when it cannot be read.
func (h hostFiles) read(name string) string {
	b, err := os.ReadFile(filepath.Join(h.root, name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func programsCheck() check {
	k := check{Name: "programs", Status: checkOK, Found: "helper, agent and launcher are in this executable"}
	if _, err := assets.Digest(); err != nil {
		k = check{Name: k.Name, Status: checkFailed, Found: err.Error(), Cost: nothingRuns, Fix: "make build"}
	}
	return k
}

// gvisorCheck says whether there is the second runtime, and in what it differs.
func gvisorCheck() check {
	k := check{Name: "runsc", Status: checkOK}
	if !assets.Has(assets.Runsc) {
		k.Status, k.Found = checkWarning, "this soulbox was built without gVisor"
		k.Cost, k.Fix = "programs cannot be run with the runtime runsc", "make build"
		return k
	}
	var lacks []string
	for _, f := range runsc.Features() {
		if f.Answer == sandbox.AnswerNo {
			lacks = append(lacks, f.Name)
		}
	}
	k.Found = fmt.Sprintf("gVisor %s is in this executable; its sandboxes have no %s", runsc.Version, strings.Join(lacks, ", "))
	return k
}

// kernelCheck compares with the oldest kernel that SoulBox is written for.
func kernelCheck(h hostFiles) check {
	release := h.read("proc/sys/kernel/osrelease")
	k := check{Name: "kernel", Status: checkOK, Found: release}
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil {
		k.Status, k.Found = checkUnknown, fmt.Sprintf("%q is no version", release)
	} else if major < 5 || major == 5 && minor < 15 {
		k.Status, k.Cost, k.Fix = checkWarning, "older than 5.15: SoulBox is not tried there", "install a newer kernel, such as Debian 12's"
	}
	return k
}

// namespaceCheck judges the attempt to make a user namespace and to mount in it, and names the switch that forbids it.
func namespaceCheck(uid int, h hostFiles, made attempt) check {
	k := check{Name: "user namespaces", Status: checkOK, Found: "one can be made, and mounted in"}
	if made.Namespace == "" && made.Mount == "" {
		return k
	}
	k.Status, k.Cost = checkFailed, nothingRuns
	k.Found = "cannot be made: " + made.Namespace
	if made.Namespace == "" {
		k.Found = "can be made, but not mounted in: " + made.Mount
	}
	for _, s := range []struct{ file, forbids, fix string }{
		{"proc/sys/user/max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=15000"},
		{"proc/sys/kernel/unprivileged_userns_clone", "0", "sysctl -w kernel.unprivileged_userns_clone=1"},
		{"proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"},
	} {
		if h.read(s.file) != s.forbids || uid == 0 && s.forbids == "1" {
			continue
		}
		name := strings.ReplaceAll(strings.TrimPrefix(s.file, "proc/sys/"), "/", ".")
		k.Found += fmt.Sprintf("; %s is %s", name, s.forbids)
		k.Fix = fmt.Sprintf("run as root: %s; to keep it, write the setting to /etc/sysctl.d/soulbox.conf", s.fix)
	}
	if k.Fix == "" {
		k.Fix = "in a container, allow it to make user namespaces and mounts (its seccomp or AppArmor profile forbids them); otherwise use a kernel with CONFIG_USER_NS"
	}
	return k
}

// overlayCheck is for what comes with long-lived sandboxes; programs alone do without.
func overlayCheck(made attempt) check {
	k := check{Name: "overlay", Status: checkOK, Found: "can be mounted in a user namespace"}
	switch {
	case made.Namespace != "" || made.Mount != "":
		k.Status, k.Found = checkUnknown, "cannot be tried without a user namespace"
	case made.Overlay != "":
		k.Status, k.Found = checkWarning, made.Overlay
		k.Cost, k.Fix = "no sandbox can have a writable image; single programs are not concerned", "run as root: modprobe overlay"
	}
	return k
}

// idChecks looks for the ids that sandboxes run under, and for what hands them out.
func idChecks(uid int) []check {
	ids := check{Name: "subordinate ids", Status: checkOK}
	r, err := wide.Subordinate(uid)
	switch {
	case errors.Is(err, wide.ErrNoSubordinateIDs):
		ids.Status, ids.Found, ids.Cost = checkFailed, "this user has too few", nothingRuns
		ids.Fix = err.Error() // it has the exact command
	case err != nil:
		ids.Status, ids.Found = checkUnknown, err.Error()
	default:
		ids.Found = fmt.Sprintf("%d from %d", r.Count, r.UIDBase)
	}
	tools := check{Name: "newuidmap", Status: checkOK, Found: "not needed as root"}
	if uid != 0 {
		tools = mapToolsCheck(exec.LookPath)
	}
	return []check{ids, tools}
}

// mapToolsCheck wants newuidmap and newgidmap with the right to do their work: setuid, or file capabilities.
func mapToolsCheck(look func(string) (string, error)) check {
	k := check{Name: "newuidmap", Status: checkOK}
	var found []string
	for _, tool := range []string{"newuidmap", "newgidmap"} {
		file, err := look(tool)
		if err != nil {
			return check{Name: k.Name, Status: checkFailed, Found: tool + " is missing", Cost: nothingRuns, Fix: "run as root: apt-get install uidmap"}
		}
		st, err := os.Stat(file)
		if err != nil {
			return check{Name: k.Name, Status: checkUnknown, Found: err.Error()}
		}
		if _, err := unix.Getxattr(file, "security.capability", nil); st.Mode()&fs.ModeSetuid == 0 && err != nil {
			return check{Name: k.Name, Status: checkFailed, Found: file + " is neither setuid nor has capabilities", Cost: nothingRuns,
				Fix: "run as root: chmod u+s " + file}
		}
		found = append(found, file)
	}
	k.Found = strings.Join(found, ", ")
	return k
}

func seccompCheck(h hostFiles) check {
	actions := h.read("proc/sys/kernel/seccomp/actions_avail")
	k := check{Name: "seccomp", Status: checkOK, Found: actions}
	for _, need := range []string{"kill_process", "errno", "allow"} {
		if !strings.Contains(" "+actions+" ", " "+need+" ") {
			return check{Name: k.Name, Status: checkFailed, Found: "the kernel filters no system calls, or does not offer " + need, Cost: nothingRuns,
				Fix: "use a kernel with CONFIG_SECCOMP_FILTER"}
		}
	}
	return k
}

// diskCheck looks at the disk of the state directory, or of the directory that it will be made in.
func diskCheck(dir string) check {
	k := check{Name: "disk", Status: checkOK}
	at := dir
	free, err := diskFree(at)
	for errors.Is(err, fs.ErrNotExist) && at != filepath.Dir(at) {
		at = filepath.Dir(at)
		free, err = diskFree(at)
	}
	switch {
	case err != nil:
		k.Status, k.Found = checkUnknown, err.Error()
	case free < lowDisk:
		k.Status, k.Cost = checkFailed, "a daemon refuses programs below "+showBytes(lowDisk)+" (--disk-floor)"
		k.Fix = "free some, or choose another disk with --state-dir"
		fallthrough
	default:
		k.Found = fmt.Sprintf("%s free for %s", showBytes(int64(min(free, 1<<62))), dir)
	}
	return k
}

// cgroupChecks shows what the probe found. What it costs stands in the probe's details; how to mend it depends on who
// asks and on the hierarchy.
func cgroupChecks(features []cgroups.Feature, uid int) []check {
	fix := cgroupFix(features, uid)
	usable := slices.ContainsFunc(features, func(f cgroups.Feature) bool {
		return f.Name == "cgroup.writable" && f.Answer == cgroups.AnswerYes
	})
	checks := make([]check, 0, len(features))
	for _, f := range features {
		switch f.Name {
		case "cgroup.hierarchy", "cgroup.writable", "cgroup.psi":
		default:
			if !usable {
				continue // all of it is lacking for the one reason
			}
		}
		k := check{Name: f.Name, Status: checkOK, Found: f.Detail}
		switch f.Answer {
		case cgroups.AnswerYes:
		case cgroups.AnswerUnknown:
			k.Status = checkUnknown
		default:
			k.Status = checkWarning
			// The probe says what was found, a colon, and what it costs.
			if i := strings.LastIndex(f.Detail, ": "); i >= 0 {
				k.Found, k.Cost = f.Detail[:i], f.Detail[i+2:]
			} else {
				k.Found, k.Cost = "no", f.Detail
			}
			k.Fix = fix(f.Name)
		}
		checks = append(checks, k)
	}
	return checks
}

// cgroupFix returns what mends the lack of a feature.
func cgroupFix(features []cgroups.Feature, uid int) func(name string) string {
	unified, writable := false, false
	for _, f := range features {
		switch f.Name {
		case "cgroup.hierarchy":
			unified = strings.HasPrefix(f.Detail, "unified")
		case "cgroup.writable":
			writable = f.Answer == cgroups.AnswerYes
		}
	}
	return func(name string) string {
		switch {
		case name == "cgroup.psi":
			return "boot with psi=1 on the kernel's command line"
		case name == "cgroup.kill", name == "cgroup.memory.peak":
			return "use cgroup v2 and a kernel of 5.19 or newer; nothing is lost but time and precision"
		case name == "cgroup.swap" && writable:
			return "boot with swapaccount=1 on the kernel's command line, or run as root: swapoff -a"
		case !unified && uid == 0:
			return "boot with systemd.unified_cgroup_hierarchy=1, or mount the controllers below /sys/fs/cgroup"
		case !unified:
			return "run soulbox as root, or boot with systemd.unified_cgroup_hierarchy=1"
		case uid == 0:
			return "start it in a unit that systemd leaves alone: systemd-run --scope -p Delegate=yes soulbox serve"
		case writable:
			return "let systemd hand all controllers to users, as root: mkdir -p /etc/systemd/system/user@.service.d && printf '[Service]\\nDelegate=cpu cpuset io memory pids\\n' >/etc/systemd/system/user@.service.d/delegate.conf && systemctl daemon-reload; then log in again"
		default:
			return "start it in a unit that systemd hands to you: systemd-run --user --scope -p Delegate=yes soulbox serve"
		}
	}
}
