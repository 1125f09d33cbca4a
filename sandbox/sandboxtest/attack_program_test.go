package sandboxtest_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/soulbox/soulbox/sandbox"
	"github.com/soulbox/soulbox/sandbox/sandboxtest"
)

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
