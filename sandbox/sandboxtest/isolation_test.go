package sandboxtest_test

import (
	"fmt"
	"net"
	"strings"
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
	cases := append(viewCases(), networkCases(t)...)
	cases = append(cases, isolationCase{name: "denied system calls", language: "c", code: deniedCalls})
	for _, c := range cases {
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
		{name: "directories of the host are absent or empty", code: `
import os
for d in ("/home", "/root", "/var/tmp", "/var/lib", "/var/log", "/var/run", "/run", "/srv", "/mnt", "/media", "/boot", "/.soul", "/.soulbin"):
    try:
        found = os.listdir(d)
    except (FileNotFoundError, PermissionError):
        continue
    if found: print(d, found)
if set(os.listdir("/var")) - {"tmp"}: print(os.listdir("/var"))
`},
		{name: "processes of others are invisible", code: `
import os
own = {1, os.getpid()}
for d in os.listdir("/proc"):
    if d.isdigit() and int(d) not in own: print(d, open(f"/proc/{d}/comm").read())
for name in ("root", "cwd", "exe", "environ", "maps", "mem", "fd"):
    try:
        path = f"/proc/1/{name}"
        if name in ("root", "cwd", "exe"): print(path, os.readlink(path))
        elif name == "fd": print(path, os.listdir(path))
        else: print(path, open(path, "rb").read(1))
    except OSError:
        pass
`},
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
		{name: "descriptors are the three", code: `
import os
found = set()
for fd in os.listdir("/proc/self/fd"):
    try: found.add((fd, os.readlink(f"/proc/self/fd/{fd}")))
    except FileNotFoundError: pass # the directory's own
extra = {f for f in found if f[0] not in "012" and not f[1].endswith("main.py")}
if extra or any(not to.startswith("pipe:") for fd, to in found if fd in "012"): print(found)
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
		{name: "devices are the harmless ones", code: `
import os
allowed = {"null", "zero", "full", "random", "urandom", "tty", "fd", "stdin", "stdout", "stderr", "shm", "pts", "ptmx", "mqueue", "console", "core"}
extra = set(os.listdir("/dev")) - allowed
if extra: print(extra)
`},
		{name: "cgroups of the host are invisible", code: `
for line in open("/proc/self/cgroup"):
    path = line.rstrip().split(":", 2)[2]
    if "sandboxtest" in path or "user.slice" in path or "docker" in path: print(line)
`},
	}
}

// networkCases try to reach the host, where a listener waits on loopback.
func networkCases(t *testing.T) []isolationCase {
	t.Helper()
	host, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { host.Close() })
	abstract := fmt.Sprintf("soulbox-test-%d", host.Addr().(*net.TCPAddr).Port)
	unix, err := net.Listen("unix", "@"+abstract)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close() })
	port := strings.TrimPrefix(host.Addr().String(), "127.0.0.1:")
	return []isolationCase{{name: "no network but its own loopback", args: []string{port, abstract}, code: `
import socket, sys
names = [line.split(":")[0].strip() for line in open("/proc/net/dev").readlines()[2:]]
if names and names != ["lo"]: print(names)
for to in (("127.0.0.1", int(sys.argv[1])), ("192.0.2.1", 80), ("2001:db8::1", 80)):
    try: socket.create_connection(to, 5); print("reached", to)
    except OSError: pass
try:
    s = socket.socket(socket.AF_UNIX); s.connect("\0" + sys.argv[2]); print("reached the host's abstract socket")
except OSError: pass
for kind, proto in ((socket.SOCK_RAW, socket.IPPROTO_ICMP), (socket.SOCK_RAW, 255)):
    try: socket.socket(socket.AF_INET, kind, proto); print("raw socket")
    except OSError: pass
try: socket.socket(socket.AF_PACKET, socket.SOCK_RAW); print("packet socket")
except OSError: pass
`}}
}

// deniedCalls makes calls that must fail for a program whose arguments are right, or could be.
const deniedCalls = `
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void refused(const char *name, long got) {
    if (got != -1) printf("%s answered %ld\n", name, got);
}
#define TRY(name, ...) refused(#name, syscall(SYS_##name, __VA_ARGS__))

int main(void) {
    char buffer[4096] = {0};
    TRY(mount, "none", "/tmp", "tmpfs", 0L, 0L);
    TRY(umount2, "/proc", 2L);
    TRY(pivot_root, "/", "/");
    TRY(chroot, "/tmp");
    TRY(unshare, (long)CLONE_NEWUSER);
    TRY(unshare, (long)CLONE_NEWNS);
    TRY(unshare, (long)CLONE_NEWNET);
    TRY(setns, 0L, 0L);
    TRY(keyctl, 0L, -3L, 1L, 0L, 0L);
    TRY(add_key, "user", "name", "x", 1L, -3L);
    TRY(request_key, "user", "name", 0L, 0L);
    TRY(bpf, 0L, buffer, 64L);
    TRY(ptrace, (long)PTRACE_ATTACH, 1L, 0L, 0L);
    TRY(ptrace, (long)PTRACE_SEIZE, 1L, 0L, 0L);
    TRY(process_vm_readv, 1L, 0L, 0L, 0L, 0L, 1L);
    TRY(io_uring_setup, 8L, buffer);
    TRY(perf_event_open, buffer, 0L, -1L, -1L, 0L);
    TRY(userfaultfd, 0L);
    TRY(open_by_handle_at, AT_FDCWD, buffer, 0L);
    TRY(name_to_handle_at, AT_FDCWD, "/", buffer, buffer, 99L);
    TRY(init_module, buffer, 0L, "");
    TRY(finit_module, 0L, "", 0L);
    TRY(kexec_load, 0L, 0L, 0L, 0L);
    TRY(reboot, 0xfee1deadL, 672274793L, 0L, 0L);
    TRY(swapon, "/tmp/x", 0L);
    TRY(sethostname, "x", 1L);
    TRY(setdomainname, "x", 1L);
    TRY(acct, "/tmp/x");
    TRY(syslog, 3L, buffer, 1L);
    TRY(quotactl, 0L, "", 0L, buffer);
    TRY(mknodat, AT_FDCWD, "/tmp/device", (long)(S_IFCHR | 0666), 0x103L);
    TRY(setuid, 0L);
    TRY(setgid, 0L);
    TRY(setpriority, 0L, 0L, -5L);
    TRY(kill, 1L, 9L);
    TRY(open_tree, AT_FDCWD, "/", 1L);
    TRY(fsopen, "tmpfs", 0L);
    TRY(move_mount, AT_FDCWD, "/", AT_FDCWD, "/tmp", 0L);
    TRY(memfd_secret, 0x10000L);
    return 0;
}
`
