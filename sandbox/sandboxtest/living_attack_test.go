package sandboxtest_test

import (
	"context"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/soulbox/soulbox/sandbox"
	"github.com/soulbox/soulbox/sandbox/sandboxtest"
)

// killFirst begins the part of an attack that ends its sandbox where the kernel does not protect a first process.
const killFirst = `# The kernel takes signals to a namespace's first process from inside, and drops them: that it lives on is what counts.`

// sessionAttacks are tried by the user and by root of a sandbox that lives on. What root may do to its own sandbox (its
// files, its users' processes) is no attack.
func sessionAttacks() []oldAttack {
	return []oldAttack{
		{name: "first process", code: `
for f in ('environ', 'maps', 'mem', 'auxv', 'stack', 'syscall', 'io'): try_('read ' + f, lambda: read('/proc/1/' + f))
for f in ('exe', 'root', 'cwd', 'ns/pid', 'ns/mnt', 'ns/user'): try_('follow ' + f, lambda: os.stat('/proc/1/' + f))
try_('list fd', lambda: os.listdir('/proc/1/fd'))
import resource
def limit(pid, hard):
    was = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (was[0], hard or was[1]))
try_('prlimit', lambda: limit(1, 0))
try_('renice', lambda: os.setpriority(os.PRIO_PROCESS, 1, 19))
try_('attach', lambda: 0 if libc.ptrace(16, 1, 0, 0) == 0 else os.stat('/nonexistent'))
try_('seize', lambda: 0 if libc.ptrace(0x4206, 1, 0, 0) == 0 else os.stat('/nonexistent'))
buf = ctypes.create_string_buffer(8)
here = (ctypes.c_size_t * 2)(ctypes.addressof(buf), 8); there = (ctypes.c_size_t * 2)(0x400000, 8)
def vm(f):
    if f(1, here, 1, there, 1, 0) < 0: raise OSError(ctypes.get_errno(), 'refused')
try_('read memory', lambda: vm(libc.process_vm_readv)); try_('write memory', lambda: vm(libc.process_vm_writev))
for f in ('oom_score_adj', 'comm', 'mem', 'timerslack_ns', 'autogroup'): try_('write ' + f, lambda: write('/proc/1/' + f, '1'))
` + killFirst + `
for s in (signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP, signal.SIGSEGV):
    try: os.kill(1, s)
    except OSError: pass
os.stat('/proc/1')
`},
		{name: "agent", code: `
for d in ('/.soul', '/.soulbin'):
    try: found = os.listdir(d)
    except OSError: found = []
    if found: print('list', d, found)
    for f in ('agent', 'launcher', 'agent.bpf', 'agent.sock', 'fds.sock', '../.soul/agent.sock'):
        try_('stat ' + d + '/' + f, lambda: os.stat(d + '/' + f))
def connect(name):
    s = socket.socket(socket.AF_UNIX); s.settimeout(1); s.connect(name)
for line in open('/proc/net/unix').read().split('\n')[1:]:
    if len(line.split()) > 7:
        try_('connect ' + line, lambda: connect(line.split()[7].replace('@', '\0', 1)))
try_('unmount', lambda: 0 if libc.umount2(b'/.soul', 2) == 0 else os.stat('/nonexistent'))
for line in open('/proc/self/mountinfo'):
    if 'sock' in line or 'agent' in line: print('mount', line)
`},
		{name: "privileges", code: `
status = dict(l.split(':\t', 1) for l in open('/proc/self/status').read().split('\n') if ':\t' in l)
allowed = sum(1 << c for c in (0, 1, 3, 4, 5, 6, 7, 8, 10, 18, 29, 31)) # chown to setpcap, net_bind_service, sys_chroot, audit_write, setfcap
for f in ('CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'):
    if int(status[f], 16) & ~allowed or f == 'CapAmb' and int(status[f], 16): print(f, status[f])
if os.getuid() and int(status['CapEff'], 16): print('a user has', status['CapEff'])
if status['Seccomp'] != '2': print('Seccomp', status['Seccomp'])
try_('nice', lambda: os.setpriority(os.PRIO_PROCESS, 0, -1))
try_('out of memory last', lambda: write('/proc/self/oom_score_adj', '-1000'))
import resource
for r in (resource.RLIMIT_NOFILE, resource.RLIMIT_CORE):
    soft, hard = resource.getrlimit(r)
    try_('raise limit %d' % r, lambda: resource.setrlimit(r, (hard + 1, hard + 1)))
`},
		{name: "kernel", code: `
import platform
if platform.machine() == 'x86_64':
    for name, args in {'unshare user': (272, 0x10000000), 'unshare mount': (272, 0x20000), 'unshare pid': (272, 0x20000000), 'unshare net': (272, 0x40000000), 'unshare time': (272, 0x80),
        'clone user': (56, 0x10000011, 0, 0, 0, 0), 'clone mount': (56, 0x20011, 0, 0, 0, 0), 'clone3': (435, 0, 0), 'mount': (165, b'x', b'/tmp', b'tmpfs', 0, 0),
        'bind': (165, b'/', b'/mnt', b'', 4096, 0), 'remount': (165, b'', b'/', b'', 32 | 4096, 0), 'umount': (166, b'/proc', 2),
        'open_tree': (428, -100, b'/', 1), 'fsopen': (430, b'tmpfs', 0), 'move_mount': (429, -100, b'/', -100, b'/tmp', 0),
        'pivot_root': (155, b'/tmp', b'/tmp'), 'mknod': (133, b'/tmp/d', 0o20666, 0x103), 'mknod block': (133, b'/tmp/b', 0o60666, 0x801), 'keyctl': (250, 0, -3, 0),
        'add_key': (248, b'user', b'a', b'b', 1, -4), 'bpf': (321, 0, 0, 0), 'perf_event_open': (298, 0, 0, -1, -1, 0), 'userfaultfd': (323, 0),
        'io_uring_setup': (425, 1, 0), 'setns': (308, 0, 0), 'swapon': (167, b'/tmp/x', 0), 'syslog': (103, 10, 0, 0), 'acct': (163, 0),
        'sethostname': (170, b'x', 1), 'open_by_handle_at': (304, -100, 0, 0), 'finit_module': (313, 0, b'', 0), 'reboot': (169, 0, 0, 0, 0),
        'clock_settime': (227, 0, 0), 'iopl': (172, 3), 'quotactl': (179, 0, 0, 0, 0), 'kexec_load': (246, 0, 0, 0, 0)}.items():
        pid = os.getpid()
        try_(name, lambda: call(*args))
        if os.getpid() != pid: os._exit(0)
for family, kind in ((socket.AF_INET, socket.SOCK_RAW), (socket.AF_INET6, socket.SOCK_RAW), (socket.AF_PACKET, socket.SOCK_RAW), (socket.AF_PACKET, socket.SOCK_DGRAM), (40, 1), (38, 5)):
    try_('socket %d %d' % (family, kind), lambda: socket.socket(family, kind))
`},
		{name: "proc and dev", code: `
for f in ('sys/kernel/core_pattern', 'sys/kernel/hostname', 'sys/kernel/msgmax', 'sys/kernel/ns_last_pid', 'sys/vm/drop_caches', 'sys/net/ipv4/ip_forward', 'sysrq-trigger',
          'self/uid_map', 'self/gid_map', 'self/setgroups', 'irq/default_smp_affinity', 'mtrr'):
    try_('write ' + f, lambda: write('/proc/' + f, '1') if os.path.exists('/proc/' + f) else os.stat('/nonexistent'))
for f in ('kcore', 'kmsg', 'keys', 'key-users', 'timer_list', 'interrupts', 'slabinfo', 'pagetypeinfo', 'kpagecount', 'kpageflags', 'sched_debug'):
    try: text = open('/proc/' + f, 'rb').read(1)
    except OSError: continue
    if text: print('read', f)
known = {'fd', 'full', 'null', 'ptmx', 'pts', 'random', 'shm', 'stderr', 'stdin', 'stdout', 'tty', 'urandom', 'zero', 'mqueue', 'core'}
for n in sorted(set(os.listdir('/dev')) - known): print('device', n)
for f in ('/dev/mem', '/dev/kmem', '/dev/kvm', '/dev/fuse', '/dev/vda', '/dev/sda', '/dev/net/tun'): try_('open ' + f, lambda: os.open(f, os.O_RDONLY))
if os.path.isdir('/sys/fs/cgroup') and os.listdir('/sys/fs/cgroup'): print('cgroups', os.listdir('/sys/fs/cgroup'))
`},
		{name: "host", code: `
for f in ('/var/run/docker.sock', '/etc/soulbox', '/var/lib/soulbox', '/etc/ssh', '/root/.ssh', '/etc/machine-id', '/etc/fstab'): try_('there is ' + f, lambda: os.stat(f))
for d in ('/root', '/mnt', '/srv', '/media', '/sys', '/boot'):
    try: found = set(os.listdir(d)) - {'.bashrc', '.profile'}
    except OSError: continue
    if found: print(d, found)
if set(os.listdir('/home')) != {'user'}: print(os.listdir('/home'))
names = [line.split(':')[0].strip() for line in open('/proc/net/dev').readlines()[2:]]
if set(names) - {'lo'}: print(names)
import sys
for to in (('127.0.0.1', int(sys.argv[1])), ('192.0.2.1', 80), ('2001:db8::1', 80)): try_('reached %s' % (to,), lambda: socket.create_connection(to, 2))
try_('abstract socket', lambda: connect_unix('\0' + sys.argv[2]))
if len(os.environ) > 12: print(os.environ)
for k in os.environ:
    if 'SOUL' in k or 'KEY' in k or 'TOKEN' in k: print(k)
for fd in os.listdir('/proc/self/fd'):
    try: to = os.readlink('/proc/self/fd/' + fd)
    except OSError: continue
    if int(fd) > 2 or not to.startswith('pipe:'): print(fd, to)
s = socket.socket(); s.bind(('127.0.0.1', 8080)); s.listen(); socket.create_connection(('127.0.0.1', 8080), 5).close() # loopback works
`},
	}
}

// selfHarm is what root of a sandbox can do to its first process. It is root's own sandbox alone that ends earlier for it.
func selfHarm(user string) []string {
	switch user {
	case "root":
		return []string{"list fd", "write oom_score_adj", "write autogroup"} // files of root's, since the launcher's are not its id's
	case "root as the launcher's id":
		return []string{"prlimit"}
	}
	return nil
}

// TestAttacksOfSessions tries what neither the user nor root of a sandbox may do, nor root under the ids that its kind of
// root can take.
func TestAttacksOfSessions(t *testing.T) {
	p := sandboxtest.Open(t, nil)
	port, abstract := hostListeners(t)
	prelude := attackPrelude + `
def connect_unix(name):
    s = socket.socket(socket.AF_UNIX); s.settimeout(1); s.connect(name)
`
	for _, user := range []string{"user", "root", "root as the launcher's id"} {
		b := open(t, p, sandbox.CreateSandbox{})
		name, as, _ := strings.Cut(user, " as ")
		become := ""
		if as != "" {
			become = "os.setgroups([]); os.setresgid(1031, 1031, 1031); os.setresuid(1031, 1031, 1031)\n"
		}
		for _, a := range sessionAttacks() {
			t.Run(user+"/"+a.name, func(t *testing.T) {
				if user != "user" && p.Lacks(t, "first-process") {
					a.code, _, _ = strings.Cut(a.code, killFirst)
				}
				r := b.with(t).run(sandbox.ProcessSpec{Args: []string{"python3", "-c", prelude + become + strings.TrimPrefix(a.code, "\n"), port, abstract}, User: name})
				var achieved []string
				for _, line := range p.Achieved(t, r.stdout) {
					if a.name != "first process" || !slices.Contains(selfHarm(user), line) {
						achieved = append(achieved, line)
					}
				}
				if r.Status != 0 || achieved != nil {
					t.Errorf("status %#x, achieved:\n%s\nstderr:\n%s", int(r.Status), strings.Join(achieved, "\n"), r.stderr)
				}
			})
		}
		if s := b.get(); s.State != sandbox.SandboxRunning {
			t.Errorf("after the attacks of %s: %+v", user, s)
		}
	}
}

// hostListeners listens outside of sandboxes on a port and on an abstract socket, and returns their names.
func hostListeners(t *testing.T) (port, abstract string) {
	t.Helper()
	for _, l := range []struct{ network, address string }{{"tcp", "127.0.0.1:0"}, {"unix", "@soulbox-test-" + strings.ToLower(t.Name())}} {
		listener, err := (&net.ListenConfig{}).Listen(context.Background(), l.network, l.address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { listener.Close() })
		if l.network == "tcp" {
			_, port, err = net.SplitHostPort(listener.Addr().String())
		} else {
			abstract = strings.TrimPrefix(listener.Addr().String(), "@")
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return port, abstract
}

// TestSetuidWorks runs a program of root's as the user, which is what sudo needs.
func TestSetuidWorks(t *testing.T) {
	p := sandboxtest.Open(t, nil)
	b := open(t, p, sandbox.CreateSandbox{})
	b.prints("root", `cd /opt && printf '#include <unistd.h>\n#include <stdio.h>\nint main(void){setuid(0);printf("%%d %%d\\n",getuid(),geteuid());return 0;}' > a.c &&
gcc -static -o rooted a.c && chmod 4755 rooted`)
	if got := b.prints("user", "id -u; /opt/rooted"); got != "1000\n0 0\n" {
		t.Errorf("a setuid program of root's: %q, want it to be root", got)
	}
	if got := b.prints("user", "cd /tmp && cp /opt/rooted . && chmod 4755 rooted && ./rooted"); got != "1000 1000\n" {
		t.Errorf("a setuid program of the user's own: %q", got)
	}
}

// TestSandboxesDoNotMeet leaves all there is in one sandbox, and looks for it in another of the same engine.
func TestSandboxesDoNotMeet(t *testing.T) {
	p := sandboxtest.Open(t, nil)
	one, two := open(t, p, sandbox.CreateSandbox{}), open(t, p, sandbox.CreateSandbox{})
	one.background(sandbox.ProcessSpec{User: "root", Args: []string{"python3", "-uc", attackPrelude + `
s = socket.socket(socket.AF_UNIX); s.bind('\0left'); s.listen()
n = socket.socket(); n.bind(('127.0.0.1', 9999)); n.listen()
for d in ('/tmp', '/dev/shm', '/home/user', '/root', '/opt', '/var'): open(d + '/left', 'w').write('x'); os.chmod(d + '/left', 0o666)
libc.shmget(0x5b, 1 << 20, 0o1666); libc.semget(0x5b, 1, 0o1666); libc.msgget(0x5b, 0o1666)
open('/tmp/ready', 'w').close()
signal.pause()`}})
	eventually(t, patience, "the first sandbox is full of traces", func() bool {
		return one.sh("test -e /tmp/ready").Status == 0
	})
	look := attackPrelude + `
if open('/proc/net/unix').read().count('left'): print('socket')
try_('port', lambda: socket.create_connection(('127.0.0.1', 9999), 1))
for d in ('/tmp', '/dev/shm', '/home/user', '/root', '/opt', '/var'): try_(d, lambda: os.stat(d + '/left'))
for n in ('shmget', 'semget', 'msgget'):
    if getattr(libc, n)(0x5b, *((0, 0) if n != 'msgget' else (0,))) >= 0: print(n)
for pid in os.listdir('/proc'):
    if pid.isdigit() and int(pid) not in (1, os.getpid()): print('process', pid, open('/proc/' + pid + '/cmdline').read())
`
	for _, user := range []string{"user", "root"} {
		if got := two.prints(user, "python3 - <<'END'\n"+look+"\nEND"); got != "" && !strings.HasPrefix(got, "process ") {
			t.Errorf("%s of another sandbox found %s", user, got)
		}
	}
	if got := one.prints("root", "ls /dev/shm /root | grep -c left"); got != "2\n" {
		t.Errorf("the first sandbox itself has %q, want its two files", got)
	}
}
