package sandboxtest_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/soulbox/soulbox/sandbox"
	"github.com/soulbox/soulbox/sandbox/sandboxtest"
)

// poison is an agent that was taken over: a server of its own on the agent's sockets, whose answers are bad.
const poison = `
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static char block[1 << 16];

static void *serve(void *p)
{
	int c = (int)(long)p;
	static const char *const answers[] = {
		"",                                                                 /* never answers */
		"\x1b]0;title\x07 no protocol at all ",                             /* and again */
		"HTTP/1.1 200 OK\r\nContent-Type: application/proto\r\nTransfer-Encoding: chunked\r\n\r\n10000\r\n", /* a body without end */
		"HTTP/1.1 200 OK\r\nX-Header: ",                                    /* a header without end */
		"HTTP/1.1 200 OK\r\nContent-Type: application/proto\r\nContent-Length: 5\r\n\r\n\xff\xff\xff\xff\xff", /* malformed */
		"HTTP/1.1 200 OK\r\nContent-Type: application/connect+proto\r\nContent-Length: 9\r\n\r\n\0\xff\xff\xff\xffxxxx", /* a length that lies */
		"HTTP/1.1 999 \xff\xfe\r\nContent-Length: -1\r\n\r\n",
	};
	if (read(c, block, sizeof block) == 16) { /* the token of descriptors, which are taken as they should be */
		write(c, "", 1);
		close(c);
		return NULL;
	}
	const char *a = answers[MODE];
	write(c, a, MODE == 5 ? strlen(a) + 9 : strlen(a));
	if (MODE == 0)
		for (;;) pause();
	memset(block, 'x', sizeof block);
	if (MODE == 1 || MODE == 2 || MODE == 3)
		for (;;) {
			if (write(c, block, sizeof block) <= 0) break;
			if (MODE == 2) write(c, "\r\n10000\r\n", 9);
		}
	close(c);
	return NULL;
}

static int listener(const char *name, int type)
{
	struct sockaddr_un a = { AF_UNIX };
	strcpy(a.sun_path, name);
	int s = socket(AF_UNIX, type, 0);
	bind(s, (void *)&a, sizeof a);
	listen(s, 16);
	return s;
}

static void *accept_all(void *s)
{
	for (;;) {
		pthread_t t;
		pthread_create(&t, NULL, serve, (void *)(long)accept((int)(long)s, NULL, NULL));
	}
}

int main(void)
{
	pthread_t t;
	signal(SIGPIPE, SIG_IGN);
	int fds = listener("/.soul/fds.sock", SOCK_SEQPACKET), agent = listener("/.soul/agent.sock", SOCK_STREAM);
	pthread_create(&t, NULL, accept_all, (void *)(long)fds);
	puts("up");
	fflush(stdout);
	accept_all((void *)(long)agent);
}
`

// TestPoisonedAgents makes sandboxes whose agents answer too much, too little, slowly, for ever, and nonsense. Whoever asked
// is told within the time that a start may take, nothing is left, and others' sandboxes go on.
func TestPoisonedAgents(t *testing.T) {
	p, ids := openIdle(t, func(*sandbox.Options) {})
	neighbour := open(t, p, sandbox.CreateSandbox{})
	var was, is runtime.MemStats
	runtime.ReadMemStats(&was)
	before := time.Now()
	var wg sync.WaitGroup
	seen := map[string]bool{}
	for mode := range 7 {
		restore := replaceAgent(t, p, fmt.Sprintf("#define MODE %d\n%s", mode, poison))
		over := make(chan struct{})
		wg.Go(func() {
			defer close(over)
			s, err := p.Engine.Sandboxes().Create(context.WithoutCancel(t.Context()), sandbox.CreateSandbox{})
			if k := sandbox.KindOf(err); err == nil || k != sandbox.KindInternal && k != sandbox.KindUnavailable && k != sandbox.KindConflict {
				t.Errorf("mode %d: Create = %+v, %v (%v), want internal or unavailable", mode, s, err, k)
			} else {
				t.Logf("mode %d, after %v: %.300v", mode, time.Since(before).Round(time.Second), err)
			}
		})
		eventually(t, patience, fmt.Sprintf("agent %d is up", mode), func() bool {
			select {
			case <-over:
				return true
			default:
				return poisoned(t, p, seen)
			}
		})
		restore()
	}
	if got := neighbour.prints("", "echo well"); got != "well\n" {
		t.Errorf("meanwhile the sandbox beside them says %q", got)
	}
	wg.Wait()
	runtime.ReadMemStats(&is)
	if grown := int64(is.HeapSys) - int64(was.HeapSys); grown > 64<<20 {
		t.Errorf("the engine's process grew by %d bytes", grown)
	}
	neighbour.delete()
	checkNoSandbox(t, p, ids)
}

// poisoned tells whether a poisoned agent has come up that was not seen before.
func poisoned(t *testing.T, p *sandboxtest.Parts, seen map[string]bool) bool {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(p.RunDir, "boxes", "*", "agent.log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if b, err := os.ReadFile(name); err == nil && strings.HasPrefix(string(b), "up\n") && !seen[name] {
			seen[name] = true
			return true
		}
	}
	return false
}
