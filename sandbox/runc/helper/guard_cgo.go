//go:build cgo && libseccomp

package helper

/*
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct limit { int resource; uint64_t value; };

// put writes text to a file of proc. Between fork and exit only system calls are made: other threads may hold locks.
static int put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	ssize_t n = write(fd, text, strlen(text));
	int e = errno;
	close(fd);
	errno = e;
	return n == (ssize_t)strlen(text) ? 0 : -1;
}

static int put_of(pid_t pid, const char *file, const char *text)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
	return put(path, text);
}

// map_child forks a process that maps the ids of its parent, once that has left for a user namespace below, and returns a
// descriptor to let it begin; its exit status is its errno.
static pid_t map_child(int *go, const char *uids, const char *gids)
{
	int p[2];
	char c;
	pid_t parent = getpid();
	if (pipe(p) < 0)
		return -1;
	pid_t pid = fork();
	if (pid != 0) {
		close(p[0]);
		*go = p[1];
		return pid;
	}
	close(p[1]);
	if (read(p[0], &c, 1) != 1)
		_exit(0);
	_exit(put_of(parent, "uid_map", uids) < 0 || put_of(parent, "gid_map", gids) < 0 ? errno : 0);
}

static int wait_for(pid_t pid)
{
	int status;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	errno = WIFEXITED(status) ? WEXITSTATUS(status) : ECANCELED;
	return errno ? -1 : 0;
}

// nest moves this process to a user namespace below its own, with these maps, and makes it root there.
static int nest(const char *uids, const char *gids)
{
	int go;
	pid_t pid = map_child(&go, uids, gids);
	if (pid < 0)
		return -1;
	if (unshare(CLONE_NEWUSER) < 0 || write(go, "x", 1) != 1) {
		int e = errno;
		close(go);
		wait_for(pid);
		errno = e;
		return -1;
	}
	close(go);
	if (wait_for(pid) < 0)
		return -1;
	return syscall(SYS_setresgid, 0, 0, 0) < 0 || syscall(SYS_setresuid, 0, 0, 0) < 0 ? -1 : 0;
}

// guard makes the two namespaces in a child that stops there until *life is closed, and returns its pid. It reports -1 and errno, with the
// step in *step, when that fails. Lists end with NULL, and limits with resource -1.
static __attribute__((noinline)) pid_t guard(const char *all, char *const *shares, const struct limit *limits, const char *uids, const char *gids, int *life, int *step)
{
	enum { REPORT = 3, LIFE = 4 };
	int p[2], alive[2], report[2] = { 0, 0 };
	char c;
	if (pipe2(p, O_CLOEXEC) < 0)
		return -1;
	if (pipe2(alive, O_CLOEXEC) < 0) {
		close(p[0]);
		close(p[1]);
		return -1;
	}
	pid_t pid = fork();
	if (pid == 0) {
		// Nothing of the helper's is kept: it must not seem to be open when the helper is gone.
		int high = fcntl(p[1], F_DUPFD, 10), life = fcntl(alive[0], F_DUPFD, 10);
		if (high < 0 || life < 0 || dup2(high, REPORT) < 0 || dup2(life, LIFE) < 0 || syscall(SYS_close_range, LIFE + 1, ~0u, 0) < 0)
			_exit(1);
		if (nest(all, all) < 0)
			report[0] = 1;
		for (; !report[0] && shares[0] != NULL; shares += 2)
			if (put(shares[0], shares[1]) < 0 && errno != ENOENT)
				report[0] = 2;
		for (; !report[0] && limits->resource >= 0; limits++) {
			struct rlimit l = { limits->value, limits->value };
			if (setrlimit(limits->resource, &l) < 0)
				report[0] = 3;
		}
		if (!report[0] && nest(uids, gids) < 0)
			report[0] = 4;
		report[1] = report[0] ? errno : 0;
		if (write(REPORT, report, sizeof report) == sizeof report)
			while (read(LIFE, &c, 1) < 0 && errno == EINTR) // until the helper lets it go, or is gone
				;
		_exit(0);
	}
	close(p[1]);
	close(alive[0]);
	ssize_t n = pid < 0 ? -1 : read(p[0], report, sizeof report);
	close(p[0]);
	*life = alive[1];
	if (n == sizeof report && report[0] == 0)
		return pid;
	close(alive[1]);
	if (pid < 0)
		return -1;
	wait_for(pid);
	*step = report[0];
	errno = n == sizeof report ? report[1] : ECANCELED;
	return -1;
}

static void guard_end(pid_t pid, int life)
{
	close(life);
	wait_for(pid);
}
*/
import "C"

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// shares are the counters that the kernel keeps for each user of a user namespace and for all below it: without a bound
// one sandbox could take all that the daemon's user may have. Each may have one part in shareOf of the host's.
var shares = []struct{ host, own string }{
	{"/proc/sys/fs/inotify/max_user_instances", "/proc/sys/user/max_inotify_instances"},
	{"/proc/sys/fs/inotify/max_user_watches", "/proc/sys/user/max_inotify_watches"},
}

// shareOf is how many sandboxes must take all they may have before there is none left for others.
const shareOf = 8

// namespace is a user namespace for one container, made but not entered yet. Between it and the wide one lies another, the
// guard: the kernel counts there what all ids of the container hold together, and holds them to their share.
type namespace struct {
	pid  C.pid_t
	life C.int
}

// path names the namespace until close.
func (n namespace) path() string { return fmt.Sprintf("/proc/%d/ns/user", n.pid) }

// close lets go of it; who has entered it stays.
func (n namespace) close() { C.guard_end(n.pid, n.life) }

// newNamespace makes the user namespace of a bundle, whose RLIMIT_NPROC bounds the container as a whole as well.
func newNamespace(spec *specs.Spec) (_ namespace, err error) {
	own, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return namespace{}, fmt.Errorf("read own ids: %w", err)
	}
	var all strings.Builder // the ids of the wide namespace, as they are; gids are mapped alike
	for line := range strings.Lines(string(own)) {
		f := strings.Fields(line)
		fmt.Fprintf(&all, "%s %s %s\n", f[0], f[0], f[2])
	}
	var values []string
	for _, s := range shares {
		b, err := os.ReadFile(s.host)
		if err != nil {
			continue // this kernel does not count it
		}
		n, err := strconv.Atoi(strings.TrimSpace(string(b)))
		if err != nil {
			return namespace{}, fmt.Errorf("read %s: %w", s.host, err)
		}
		values = append(values, s.own, strconv.Itoa(max(1, n/shareOf)))
	}
	free, strs := cStrings(append(values, all.String(), idMap(spec.Linux.UIDMappings), idMap(spec.Linux.GIDMappings)))
	defer free()
	lists := append(slices.Clone(strs[:len(values)]), nil)
	var n namespace
	var step C.int
	together, err := limits(spec.Process.Rlimits)
	if err != nil {
		return namespace{}, err
	}
	n.pid, err = C.guard(strs[len(values)], &lists[0], &together[0], strs[len(values)+1], strs[len(values)+2], &n.life, &step)
	if n.pid < 0 {
		what := []string{"start", "make the guard", "set shares", "set limits", "make the container's"}[step]
		return namespace{}, fmt.Errorf("make user namespaces: %s: %w", what, err)
	}
	return n, nil
}

// idMap is a map in the kernel's spelling.
func idMap(m []specs.LinuxIDMapping) string {
	var b strings.Builder
	for _, e := range m {
		fmt.Fprintf(&b, "%d %d %d\n", e.ContainerID, e.HostID, e.Size)
	}
	return b.String()
}

// cStrings copies strings for C; free frees them.
func cStrings(list []string) (free func(), out []*C.char) {
	for _, s := range list {
		out = append(out, C.CString(s))
	}
	return func() {
		for _, s := range out {
			C.free(unsafe.Pointer(s))
		}
	}, out
}

// limits returns what all processes of a container may have together, with an end. What a user namespace remembers of who
// made it bounds all below it; the wide one is bounded by the limits of the daemon's user, of which each container has a share.
func limits(rlimits []specs.POSIXRlimit) ([]C.struct_limit, error) {
	var out []C.struct_limit
	for _, r := range []int{unix.RLIMIT_SIGPENDING, unix.RLIMIT_MSGQUEUE, unix.RLIMIT_MEMLOCK} {
		var l unix.Rlimit
		if err := unix.Getrlimit(r, &l); err != nil {
			return nil, fmt.Errorf("read limit %d: %w", r, err)
		}
		out = append(out, C.struct_limit{resource: C.int(r), value: C.uint64_t(l.Max / shareOf)})
	}
	for _, l := range rlimits {
		if l.Type == "RLIMIT_NPROC" {
			out = append(out, C.struct_limit{resource: unix.RLIMIT_NPROC, value: C.uint64_t(l.Hard)})
		}
	}
	return append(out, C.struct_limit{resource: -1}), nil
}
