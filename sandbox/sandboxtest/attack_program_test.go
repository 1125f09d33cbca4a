package sandboxtest_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/soulbox/soulbox/sandbox"
	"github.com/soulbox/soulbox/sandbox/sandboxtest"
)

// attack is a program that prints what it achieved, one line each, and must print nothing.
type oldAttack struct {
	name string
	code string // Python; try_(name, function) prints name when the function returns
}

// attackPrelude has the helpers of attacks. Started by root outside a sandbox, most of the attacks succeed.
const attackPrelude = `import ctypes, errno, os, signal, socket
libc = ctypes.CDLL(None, use_errno=True)
def try_(name, f):
    try: f()
    except (OSError, ValueError): pass
    else: print(name)
def call(*a):
    if libc.syscall(*a) < 0: raise OSError(ctypes.get_errno(), 'refused')
def write(path, text):
    fd = os.open(path, os.O_WRONLY)
    try: os.write(fd, text.encode())
    finally: os.close(fd)
def read(path): open(path, 'rb').read(1)
`

func programAttacks() []oldAttack {
	return []oldAttack{
		{name: "launcher", code: `
for s in (0, signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD): try_('signal %d' % s, lambda: os.kill(1, s))
try_('renice', lambda: os.setpriority(os.PRIO_PROCESS, 1, 19))
import resource
try_('prlimit', lambda: resource.prlimit(1, resource.RLIMIT_NOFILE, (0, 0)))
try_('attach', lambda: 0 if libc.ptrace(16, 1, 0, 0) == 0 else os.stat('/nonexistent'))
try_('pidfd', lambda: signal.pidfd_send_signal(os.pidfd_open(1), signal.SIGKILL))
for f in ('environ', 'maps', 'mem', 'auxv', 'stack', 'syscall', 'io'): try_('read ' + f, lambda: read('/proc/1/' + f))
for f in ('exe', 'root', 'cwd', 'ns/pid', 'ns/mnt', 'ns/user'): try_('follow ' + f, lambda: os.stat('/proc/1/' + f))
buf = ctypes.create_string_buffer(8)
here = (ctypes.c_size_t * 2)(ctypes.addressof(buf), 8); there = (ctypes.c_size_t * 2)(0x400000, 8)
def vm(f):
    if f(1, here, 1, there, 1, 0) < 0: raise OSError(ctypes.get_errno(), 'refused')
try_('read memory', lambda: vm(libc.process_vm_readv)); try_('write memory', lambda: vm(libc.process_vm_writev))
try_('list fd', lambda: os.listdir('/proc/1/fd'))
for f in ('oom_score_adj', 'comm', 'mem', 'timerslack_ns', 'autogroup'): try_('write ' + f, lambda: write('/proc/1/' + f, '1'))
`},
		{name: "channel", code: `
for d in ('/.soul', '/.soulbin'):
    try_('list ' + d, lambda: os.listdir(d))
    for f in ('agent', 'launcher', 'agent.bpf', 'agent.sock', 'fds.sock', '../.soul/agent.sock'):
        try_('stat ' + d + '/' + f, lambda: os.stat(d + '/' + f))
def connect(name):
    s = socket.socket(socket.AF_UNIX); s.settimeout(1); s.connect(name)
for line in open('/proc/net/unix').read().split('\n')[1:]:
    if len(line.split()) > 7:
        try_('connect ' + line, lambda: connect(line.split()[7].replace('@', '\0', 1)))
try_('unmount', lambda: 0 if libc.umount2(b'/.soul', 2) == 0 else os.stat('/nonexistent'))
`},
		{name: "descriptors", code: `
for fd in os.listdir('/proc/self/fd'):
    try: to = os.readlink('/proc/self/fd/' + fd)
    except OSError: continue
    if int(fd) > 2 or not to.startswith('pipe:'): print(fd, to)
for k in os.environ:
    if 'SOUL' in k or 'KEY' in k or 'TOKEN' in k: print(k)
`},
		{name: "privileges", code: `
status = dict(l.split(':\t', 1) for l in open('/proc/self/status').read().split('\n') if ':\t' in l)
for f in ('CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'):
    if int(status[f], 16): print(f, status[f])
if status['NoNewPrivs'] != '1' or status['Seccomp'] != '2': print('NoNewPrivs', status['NoNewPrivs'], 'Seccomp', status['Seccomp'])
if status['Uid'].split() != ['1000'] * 4 or status['Gid'].split() != ['1000'] * 4 or status['Groups'].split() != ['1000']: print(status['Uid'], status['Gid'], status['Groups'])
for n in (0, 1, 999, 1001, 1031, 65534):
    try_('setuid %d' % n, lambda: os.setuid(n))
    try_('setgid %d' % n, lambda: os.setgid(n))
    try_('setgroups %d' % n, lambda: os.setgroups([n]))
    try_('chown %d' % n, lambda: os.chown('main.py', n, n))
try_('nice', lambda: os.setpriority(os.PRIO_PROCESS, 0, -1))
try_('out of memory last', lambda: write('/proc/self/oom_score_adj', '-1'))
import resource
for r in (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE, resource.RLIMIT_STACK, resource.RLIMIT_CPU, resource.RLIMIT_CORE):
    soft, hard = resource.getrlimit(r)
    if hard == resource.RLIM_INFINITY: print('no limit', r)
    else: try_('raise limit %d' % r, lambda: resource.setrlimit(r, (hard + 1, hard + 1)))
`},
		{name: "kernel", code: `
import platform
if platform.machine() == 'x86_64':
    for name, args in {'unshare user': (272, 0x10000000), 'unshare mount': (272, 0x20000), 'unshare time': (272, 0x80), 'clone user': (56, 0x10000011, 0, 0, 0, 0),
        'clone3': (435, 0, 0), 'mount': (165, b'x', b'/tmp', b'tmpfs', 0, 0), 'open_tree': (428, -100, b'/', 1), 'fsopen': (430, b'tmpfs', 0),
        'pivot_root': (155, b'/tmp', b'/tmp'), 'chroot': (161, b'/tmp'), 'mknod': (133, b'/tmp/d', 0o20666, 0x103), 'keyctl': (250, 0, -3, 0),
        'add_key': (248, b'user', b'a', b'b', 1, -4), 'bpf': (321, 0, 0, 0), 'perf_event_open': (298, 0, 0, -1, -1, 0), 'userfaultfd': (323, 0),
        'io_uring_setup': (425, 1, 0), 'setns': (308, 0, 0), 'swapon': (167, b'/tmp/x', 0), 'syslog': (103, 10, 0, 0), 'acct': (163, 0),
        'sethostname': (170, b'x', 1), 'open_by_handle_at': (304, -100, 0, 0), 'finit_module': (313, 0, b'', 0), 'reboot': (169, 0, 0, 0, 0),
        'clock_settime': (227, 0, 0), 'iopl': (172, 3)}.items():
        pid = os.getpid()
        try_(name, lambda: call(*args))
        if os.getpid() != pid: os._exit(0)
for family, kind in ((socket.AF_INET, socket.SOCK_RAW), (socket.AF_INET6, socket.SOCK_RAW), (socket.AF_PACKET, socket.SOCK_RAW), (socket.AF_PACKET, socket.SOCK_DGRAM), (40, 1), (38, 5)):
    try_('socket %d %d' % (family, kind), lambda: socket.socket(family, kind))
try_('internet', lambda: socket.create_connection(('192.0.2.1', 80), 1))
`},
		{name: "proc and dev", code: `
for f in ('sys/kernel/core_pattern', 'sys/kernel/hostname', 'sys/kernel/msgmax', 'sys/kernel/shmmax', 'sys/kernel/ns_last_pid', 'sys/fs/mqueue/msg_max', 'sys/vm/drop_caches', 'sys/net/ipv4/ip_forward',
          'sysrq-trigger', 'self/uid_map', 'self/gid_map', 'self/setgroups', 'self/exe', 'self/timens_offsets', 'irq/default_smp_affinity', 'mtrr'):
    try_('write ' + f, lambda: write('/proc/' + f, '1') if os.path.exists('/proc/' + f) else os.stat('/nonexistent'))
for f in ('kcore', 'kmsg', 'keys', 'key-users', 'timer_list', 'interrupts', 'slabinfo', 'pagetypeinfo', 'kpagecount', 'kpageflags', 'sched_debug'):
    try: text = open('/proc/' + f, 'rb').read(1)
    except OSError: continue
    if text: print('read', f)
for pid in os.listdir('/proc'):
    if pid.isdigit() and pid not in ('1', str(os.getpid())): print('sees', pid, open('/proc/' + pid + '/cmdline').read())
known = {'fd', 'full', 'null', 'ptmx', 'pts', 'random', 'shm', 'stderr', 'stdin', 'stdout', 'tty', 'urandom', 'zero', 'mqueue', 'core'}
for n in sorted(set(os.listdir('/dev')) - known): print('device', n)
for f in ('/dev/mem', '/dev/kmem', '/dev/kvm', '/dev/fuse', '/dev/vda', '/dev/sda', '/dev/net/tun'): try_('open ' + f, lambda: os.open(f, os.O_RDONLY))
`},
		{name: "files", code: `
for top, dirs, files in os.walk('/', followlinks=False):
    if top in ('/proc', '/work', '/tmp', '/dev'): dirs[:] = []; continue
    for n in dirs + ([''] if top == '/' else []):
        d = os.path.join(top, n)
        if d in ('/work', '/tmp', '/proc', '/dev') or os.path.islink(d): continue
        if os.access(d, os.W_OK): print('writable', d)
for f in ('/etc/shadow', '/etc/gshadow', '/etc/sudoers', '/root/.ssh', '/var/run/docker.sock', '/run/user', '/etc/soulbox', '/var/lib/soulbox'): try_('there is ' + f, lambda: os.stat(f))
for d in ('/home', '/root', '/mnt', '/srv', '/run', '/sys'):
    if os.path.isdir(d) and os.listdir(d): print(d, os.listdir(d))
import subprocess
open('sh', 'wb').write(open('/bin/sh', 'rb').read()); os.chmod('sh', 0o6755)
if subprocess.run(['./sh', '-p', '-c', 'id -u'], capture_output=True, text=True).stdout.strip() != '1000': print('setuid')
for line in open('/proc/self/mountinfo'):
    point, options = line.split()[4:6]
    if 'nosuid' not in options and point != '/' and not point.startswith(('/dev/', '/proc/')): print('no nosuid', line)
`},
	}
}

// TestAttacksOfPrograms runs programs that try to reach what is not theirs.
func TestAttacksOfPrograms(t *testing.T) {
	p := sandboxtest.Open(t, nil)
	for _, a := range programAttacks() {
		t.Run(a.name, func(t *testing.T) {
			x := execute(t, p, sandbox.Request{Language: "python", Code: attackPrelude + strings.TrimPrefix(a.code, "\n"),
				Limits: sandbox.Limits{WallTime: patience, CPUTime: patience}}) // looking through all of /usr takes its time
			if achieved := p.Achieved(t, string(x.Stdout)); x.Verdict != sandbox.VerdictOK || achieved != nil {
				t.Errorf("%v, achieved:\n%s\nstderr:\n%s", x.Verdict, strings.Join(achieved, "\n"), x.Stderr)
			}
		})
	}
}

// TestNothingIsLeftBehind looks, in executions one after the other, for what an earlier one left on purpose.
func TestNothingIsLeftBehind(t *testing.T) {
	p := sandboxtest.Open(t, nil)
	leave := attackPrelude + `
s = socket.socket(socket.AF_UNIX); s.bind('\0left'); s.listen()
for d in ('/tmp', '/dev/shm', '/work'): open(d + '/left', 'w').write('x')
i = libc.shmget(0x5b, 1 << 20, 0o1666); libc.semget(0x5b, 1, 0o1666); libc.msgget(0x5b, 0o1666)
if os.fork() == 0:
    os.setsid()
    while True: signal.pause()
print(i >= 0)
`
	look := attackPrelude + `
if open('/proc/net/unix').read().count('left'): print('socket')
for d in ('/tmp', '/dev/shm', '/work'): try_(d, lambda: os.stat(d + '/left'))
for n in ('shmget', 'semget', 'msgget'):
    if getattr(libc, n)(0x5b, *((0, 0) if n != 'msgget' else (0,))) >= 0: print(n)
for pid in os.listdir('/proc'):
    if pid.isdigit() and int(pid) not in (1, os.getpid()): print('process', pid)
`
	for range 3 {
		if x := execute(t, p, sandbox.Request{Language: "python", Code: leave}); string(x.Stdout) != "True\n" {
			t.Fatalf("could not leave anything: %+v", x)
		}
		if x := execute(t, p, sandbox.Request{Language: "python", Code: look}); x.Verdict != sandbox.VerdictOK || len(x.Stdout) > 0 {
			t.Errorf("found %q, %v %s", x.Stdout, x.Verdict, x.Stderr)
		}
	}
}

// TestAttacksThroughOutputs asks for files that are not what their names say.
func TestAttacksThroughOutputs(t *testing.T) {
	p := sandboxtest.Open(t, nil)
	x := execute(t, p, sandbox.Request{Language: "python", Code: `import os
os.symlink('/etc/passwd', 'absolute'); os.symlink('../etc/passwd', 'up'); os.symlink('/proc/self/environ', 'proc')
os.symlink('/', 'root'); os.mkfifo('fifo'); os.mkdir('dir'); open('sparse', 'wb').truncate(60 << 20); open('good', 'w').write('good')
os.symlink('loop', 'loop')
import socket
s = socket.socket(socket.AF_UNIX); s.bind('socket')
`, Outputs: []string{"absolute", "up", "proc", "root/etc/passwd", "fifo", "dir", "sparse", "loop", "socket", "missing", strings.Repeat("x", 255), "good"}})
	var got []string
	for _, f := range x.Outputs {
		got = append(got, f.Path+"="+string(f.Content))
	}
	if diff := cmp.Diff([]string{"good=good"}, got); diff != "" || x.Verdict != sandbox.VerdictOK {
		t.Errorf("%v, outputs differ (-want +got):\n%s", x.Verdict, diff)
	}
}

// TestAttacksThroughCompilers feeds compilers with source that names files of others.
func TestAttacksThroughCompilers(t *testing.T) {
	p := sandboxtest.Open(t, nil)
	for name, r := range map[string]sandbox.Request{
		"include":       {Language: "c", Code: "#include \"/etc/shadow\"\nint main(void) { return 0; }"},
		"launcher":      {Language: "c", Code: "#include \"/proc/1/environ\"\nint main(void) { return 0; }"},
		"incbin":        {Language: "c", Code: "__asm__(\".incbin \\\"/.soul/agent.bpf\\\"\");\nint main(void) { return 0; }"},
		"include_bytes": {Language: "rust", Code: `fn main() { println!("{}", include_bytes!("/.soulbin/agent").len()) }`},
		"embed": {Language: "go", Entrypoint: "main.go", Files: []sandbox.File{
			{Path: "main.go", Content: []byte("package main\n\nimport _ \"embed\"\n\n//go:embed ../../etc/passwd\nvar s string\n\nfunc main() { print(s) }\n")}}},
	} {
		t.Run(name, func(t *testing.T) {
			if x := execute(t, p, r); x.Verdict != sandbox.VerdictCompileError || len(x.Stdout) > 0 {
				t.Errorf("%v, stdout %q, compile %+v", x.Verdict, x.Stdout, x.Compile)
			}
		})
	}
}
