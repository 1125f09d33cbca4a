package sandboxtest_test

import (
	"strings"
	"testing"

	"github.com/soulbox/soulbox/sandbox"
	"github.com/soulbox/soulbox/sandbox/sandboxtest"
)

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
