package sandboxtest_test

import (
	"testing"

	"github.com/soulbox/soulbox/sandbox"
	"github.com/soulbox/soulbox/sandbox/sandboxtest"
)

// isolationCase is a program that looks for what it must not find and prints a line for everything found: nothing
// printed and exit status 0 is right.
type isolationCase struct {
	name     string
	language string // default: python
	code     string
	args     []string
}

// TestIsolation tries from inside what a program must not see or do.
func TestIsolation(t *testing.T) {
	p := sandboxtest.Open(t, nil)
	for _, c := range viewCases() {
		t.Run(c.name, func(t *testing.T) {
			if c.language == "" {
				c.language = "python"
			}
			x := execute(t, p, sandbox.Request{Language: c.language, Code: c.code, Args: c.args})
			if x.Verdict != sandbox.VerdictOK || p.Achieved(t, string(x.Stdout)) != nil {
				t.Errorf("verdict %v, found:\n%s\nstderr %s, compile %+v", x.Verdict, x.Stdout, x.Stderr, x.Compile)
			}
		})
	}
}

// viewCases look at files and processes.
func viewCases() []isolationCase {
	return []isolationCase{
		{name: "users and names are generated", code: `
import os, socket
users = {line.split(":")[0] for line in open("/etc/passwd")}
if not {"root", "nobody"} <= users or len(users) > 6: print(users)
if socket.gethostname() != "soulbox": print(socket.gethostname())
if (os.getuid(), os.getgid(), os.getgroups()) != (1000, 1000, [1000]): print(os.getresuid(), os.getresgid(), os.getgroups())
if (os.getcwd(), os.environ["HOME"]) != ("/work", "/work"): print(os.getcwd(), os.environ)
for name in ("/etc/shadow", "/etc/subuid", "/etc/machine-id", "/etc/fstab", "/etc/ssh"):
    if os.path.exists(name): print(name)
`},
		{name: "the environment is the recipe's", code: `
import os
leaked = [n for n in os.environ if n.startswith(("SOULBOX", "GO")) or n in ("SSH_AUTH_SOCK", "SUDO_USER", "OLDPWD")]
if leaked: print(leaked)
if os.environ.get("USER") != "user": print(os.environ.get("USER"))
`},
		{name: "no privilege is left or to be had", code: `
status = dict(line.rstrip().split(":\t", 1) for line in open("/proc/self/status") if ":\t" in line)
for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
    if int(status[name], 16): print(name, status[name])
if status["NoNewPrivs"] != "1" or status["Seccomp"] != "2": print(status)
`},
		{name: "only its own directories can be written", code: `
import os
for top in ("/", "/etc", "/usr", "/usr/bin", "/opt", "/opt/soulbox/bin", "/proc/sys/kernel", "/sys", "/dev"):
    try: open(os.path.join(top, "x"), "w"); print("wrote to", top)
    except OSError: pass
for name in ("/proc/sysrq-trigger", "/proc/sys/kernel/hostname", "/proc/1/oom_score_adj", "/sys/fs/cgroup/cgroup.procs"):
    try: open(name, "w").write("0"); print("wrote", name)
    except OSError: pass
for top in ("/work", "/tmp", "/dev/shm"):
    open(os.path.join(top, "x"), "w").close()
`},
	}
}
