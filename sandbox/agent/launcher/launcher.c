/*
 * launcher is PID 1 of a slot: it makes the slot's mounts, joins its cgroups, starts programs and reaps.
 *
 * It is spoken to over one SEQPACKET socket, descriptor 3, by the agent, whom it trusts; wire.go describes the same
 * messages. Everything that PREPARE needs of memory is touched before the cgroups are joined, and what RUN needs lies
 * in a memfd of the agent's, so that a program with a limit of a few MiB has them for itself.
 *
 * A slot is for one program, under the strictest confinement, or with SESSION for many that come and go, among them
 * setuid ones: their filter is installed in the launcher while it may still do so without no_new_privs, and the bounding
 * set is what their root can ever have.
 *
 * The programs share nothing with it but the pid namespace: it runs under an id of its own, is not dumpable, and
 * blocks every signal. It ends, and with it everything in the slot, at KILL or when the agent is gone.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SOCK = 3, MAX_MSG = 96 << 10, MAX_FDS = 32, MAX_FILTER = 4096, MAX_LIMITS = 64, MAX_GROUPS = 64, MAX_MAINS = 4096, LABEL = 64, PATH_LEN = 4096 };
enum { PREPARE = 1, RUN = 2, KILL = 3, SIGNAL = 4, TREE = 16, READY = 17, STARTED = 18, EXITED = 19, TOTAL = 20, FAILED = 21, SIGNALLED = 22 };
enum { SESSION = 1 };           /* flags of PREPARE */
enum { TERMINAL = 1 };          /* flags of RUN */
enum { WHOLE_GROUP = 1, EVERYBODY = 2 }; /* flags of SIGNAL */

/* Requests. All numbers are in the host's byte order; strings end with NUL. */
struct header { uint32_t type, seq; };
struct prepare { struct header h; uint32_t uid, gid, launcher_id, cgroups, filter, hides, flags, keep_low, keep_high, unused; uint64_t size, inodes; }; /* filter[], hostname, hides */
struct run { struct header h; uint64_t size, inodes; uint32_t rlimits, argc, envc, memory, uid, gid, groups, flags; }; /* the rest: memfd */
struct signal { struct header h; int32_t pid, signal; uint32_t flags; };
struct limit { uint64_t resource, soft, hard; };

/* The one form of all reports. */
struct report {
	struct header h;
	int32_t error; /* errno */
	int32_t pid;
	int32_t status;
	int32_t reaped; /* with TOTAL: processes that were left when the slot was killed */
	int64_t user, system;           /* of the process and what it waited for, microseconds */
	int64_t rss;                    /* KiB */
	int64_t tree_user, tree_system; /* of all that were reaped so far, microseconds */
	char label[LABEL];              /* the step that failed */
};

static unsigned char msg[MAX_MSG];
static struct sock_filter filter[MAX_FILTER];
static uint32_t filter_len, uid, gid, launcher_id;
static uint64_t keep;    /* capabilities that stay in the bounding set */
static int session;      /* many programs, see above */
static int unprivileged; /* the launcher is as weak as it stays */

/* The processes that RUN started and that have not ended. */
static struct { pid_t pid; uint32_t seq; } mains[MAX_MAINS];
static uint32_t nmains;

static int64_t micros(struct timeval t) { return (int64_t)t.tv_sec * 1000000 + t.tv_usec; }

static void send_fds(struct report *r, const int *fds, int n)
{
	union { struct cmsghdr h; char b[CMSG_SPACE(2 * sizeof(int))]; } c = { 0 };
	struct iovec v = { r, sizeof *r };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };
	struct rusage u;
	if (getrusage(RUSAGE_CHILDREN, &u) == 0) {
		r->tree_user = micros(u.ru_utime);
		r->tree_system = micros(u.ru_stime);
	}
	if (n > 0) {
		m.msg_control = c.b;
		m.msg_controllen = CMSG_SPACE(n * sizeof(int));
		c.h.cmsg_level = SOL_SOCKET;
		c.h.cmsg_type = SCM_RIGHTS;
		c.h.cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(&c.h), fds, n * sizeof(int));
	}
	while (sendmsg(SOCK, &m, MSG_NOSIGNAL) < 0)
		if (errno != EINTR)
			_exit(1); /* nobody listens: the slot ends */
}

/* fail reports errno for what was tried on object and ends the slot. */
static void fail(uint32_t seq, const char *what, const char *object)
{
	struct report r = { .h = { FAILED, seq }, .error = errno };
	snprintf(r.label, sizeof r.label, "%s %s", what, object);
	send_fds(&r, NULL, 0);
	_exit(1);
}

/* ---- PREPARE ---- */

/* cover binds from over to, where to exists. */
static void cover(uint32_t seq, const char *from, const char *to)
{
	if (mount(from, to, NULL, MS_BIND, NULL) < 0 && errno != ENOENT)
		fail(seq, "cover", to);
}

static void make_tree(uint32_t seq, uint64_t size, uint64_t inodes)
{
	const unsigned long flags = MS_NOSUID | MS_NODEV;
	char options[96];
	/* The first RUN sets the final size, where the kernel can; until then only the agent writes. */
	snprintf(options, sizeof options, "mode=0755,size=%llu,nr_inodes=%llu", (unsigned long long)size, (unsigned long long)inodes);
	if (mount("tmpfs", "/tmp", "tmpfs", flags, options) < 0)
		fail(seq, "mount tmpfs on", "/tmp");
	if (mkdir("/dev/shm", 01777) < 0 && errno != EEXIST)
		fail(seq, "make", "/dev/shm");
	if (mkdir("/tmp/tmp", 0) < 0 || mkdir("/tmp/shm", 0) < 0 || mkdir("/tmp/work", 0) < 0)
		fail(seq, "make directories in", "/tmp");
	if (chmod("/tmp/tmp", 01777) < 0 || chmod("/tmp/shm", 01777) < 0 || chmod("/tmp/work", 0755) < 0 ||
	    chown("/tmp/work", uid, gid) < 0)
		fail(seq, "own directories in", "/tmp");
	if (mount("/tmp/work", "/work", NULL, MS_BIND, NULL) < 0)
		fail(seq, "bind tmpfs to", "/work");
	if (mount("/tmp/shm", "/dev/shm", NULL, MS_BIND, NULL) < 0)
		fail(seq, "bind tmpfs to", "/dev/shm");
	if (mount("/tmp/tmp", "/tmp", NULL, MS_BIND, NULL) < 0)
		fail(seq, "bind tmpfs to", "/tmp");
}

/* make_session mounts what programs of a session find beside the root file system, which is theirs to write. */
static void make_session(uint32_t seq)
{
	const unsigned long flags = MS_NOSUID | MS_NOEXEC;
	if (mkdir("/dev/shm", 01777) < 0 && errno != EEXIST)
		fail(seq, "make", "/dev/shm");
	if (mkdir("/dev/pts", 0755) < 0 && errno != EEXIST)
		fail(seq, "make", "/dev/pts");
	if (mount("shm", "/dev/shm", "tmpfs", flags | MS_NODEV, "mode=1777,size=64m,nr_inodes=4096") < 0)
		fail(seq, "mount tmpfs on", "/dev/shm");
	/* Linux has so many terminals for all; gVisor, which knows no max, has them for each sandbox. */
	if (mount("devpts", "/dev/pts", "devpts", flags, "newinstance,ptmxmode=0666,mode=0620,gid=5,max=128") < 0 &&
	    (errno != EINVAL || mount("devpts", "/dev/pts", "devpts", flags, "newinstance,ptmxmode=0666,mode=0620,gid=5") < 0))
		fail(seq, "mount", "/dev/pts");
	if (chmod("/dev/pts", 0755) < 0) /* gVisor's is closed to all but root */
		fail(seq, "open", "/dev/pts");
	if (symlink("pts/ptmx", "/dev/ptmx") < 0 && errno != EEXIST)
		fail(seq, "link", "/dev/ptmx");
}

/* make_proc mounts a proc of the slot's own. It has none of the container's masks, so they are made again. */
static void make_proc(uint32_t seq, const char *hides, uint32_t n)
{
	static const char *const files[] = { "/proc/kcore", "/proc/interrupts", "/proc/keys", "/proc/key-users", "/proc/timer_list", "/proc/timer_stats",
		"/proc/sched_debug", "/proc/latency_stats", "/proc/kpagecount", "/proc/kpageflags" };
	static const char *const dirs[] = { "/proc/acpi", "/proc/scsi", "/proc/asound", "/sys/firmware",
		"/sys/devices/virtual/powercap" };
	static const char *const fixed[] = { "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger" };
	const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
	if (mount("proc", "/proc", "proc", flags, NULL) < 0)
		fail(seq, "mount", "/proc");
	for (size_t i = 0; i < sizeof files / sizeof *files; i++)
		cover(seq, "/dev/null", files[i]);
	for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++) {
		cover(seq, fixed[i], fixed[i]);
		if (mount(NULL, fixed[i], NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | flags, NULL) < 0 && errno != ENOENT && errno != EINVAL)
			fail(seq, "make read-only", fixed[i]);
	}
	/* One blank directory, bound wherever it is wanted; /tmp holds it for the moment. */
	if (mount("blank", "/tmp", "tmpfs", MS_RDONLY | flags, "mode=0,size=4k,nr_inodes=2") < 0)
		fail(seq, "mount blank tmpfs on", "/tmp");
	for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++)
		cover(seq, "/tmp", dirs[i]);
	for (; n > 0; n--, hides += strlen(hides) + 1)
		cover(seq, "/tmp", hides);
	if (umount2("/tmp", MNT_DETACH) < 0)
		fail(seq, "unmount blank tmpfs from", "/tmp");
}

/* strings_end returns the end of the first n strings of [p, end), NULL when there are fewer. */
static const char *strings_end(const char *p, const char *end, uint64_t n)
{
	for (; n > 0; n--) {
		const char *z = p < end ? memchr(p, 0, end - p) : NULL;
		if (z == NULL)
			return NULL;
		p = z + 1;
	}
	return p;
}

/* settle makes the launcher as weak as it stays: what it needs from now on is to be the programs' user, and to kill. */
static void settle(uint32_t seq)
{
	struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
	const uint32_t caps = 1u << CAP_SETUID | 1u << CAP_SETGID | 1u << CAP_KILL;
	struct __user_cap_data_struct d[2] = { { caps, caps, 0 }, { 0 } };
	struct sock_fprog prog = { filter_len, filter };
	for (int c = 0; prctl(PR_CAPBSET_READ, c, 0, 0, 0) >= 0; c++)
		if (!(keep >> c & 1) && prctl(PR_CAPBSET_DROP, c, 0, 0, 0) < 0)
			fail(seq, "drop", "bounding set");
	/* A session's programs inherit it: setuid ones must not have no_new_privs, and without that only this may install. */
	if (session && filter_len > 0 && syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) < 0)
		fail(seq, "install", "filter");
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 || syscall(SYS_setgroups, 0, NULL) < 0 ||
	    syscall(SYS_setresgid, launcher_id, launcher_id, launcher_id) < 0 ||
	    syscall(SYS_setresuid, launcher_id, launcher_id, launcher_id) < 0 || syscall(SYS_capset, &h, d) < 0 ||
	    prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		fail(seq, "change", "id");
	unprivileged = 1;
}

static void prepare(size_t len, const int *fds, uint32_t nfds)
{
	const struct prepare *p = (const void *)msg;
	const uint32_t seq = p->h.seq;
	const char *text = (const char *)msg + sizeof *p, *hides;
	struct report r = { .h = { TREE, seq } };
	errno = EBADMSG;
	if (len < sizeof *p || p->filter > MAX_FILTER || p->filter * sizeof *filter > len - sizeof *p || p->cgroups != nfds)
		fail(seq, "read", "PREPARE");
	uid = p->uid, gid = p->gid, launcher_id = p->launcher_id, filter_len = p->filter;
	session = p->flags & SESSION, keep = (uint64_t)p->keep_high << 32 | p->keep_low;
	memcpy(filter, text, filter_len * sizeof *filter);
	text += filter_len * sizeof *filter;
	hides = strings_end(text, (char *)msg + len, 1);
	if (hides == NULL || strings_end(hides, (char *)msg + len, p->hides) == NULL)
		fail(seq, "read", "PREPARE");

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		fail(seq, "make private", "/");
	make_proc(seq, hides, p->hides);
	if (session)
		make_session(seq);
	else
		make_tree(seq, p->size, p->inodes);
	if (sethostname(text, strlen(text)) < 0 || setdomainname("(none)", 6) < 0)
		fail(seq, "set", "host name");
	const char *top = session ? "/" : "/work";
	int dirs[2] = { open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC), open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC) };
	if (dirs[0] < 0 || dirs[1] < 0)
		fail(seq, "open /proc and", top);
	send_fds(&r, dirs, 2);
	close(dirs[0]);
	close(dirs[1]);

	/* The last thing, so that nothing above is charged to the program. */
	for (uint32_t i = 0; i < nfds; i++)
		if (write(fds[i], "0", 1) != 1)
			fail(seq, "join", "cgroup");
	if (unshare(CLONE_NEWCGROUP) < 0 && errno != EINVAL && errno != ENOSYS)
		fail(seq, "unshare", "cgroup namespace");
	if (session)
		settle(seq);
	r.h.type = READY;
	send_fds(&r, NULL, 0);
}

/* ---- RUN ---- */

/* bound sets what the program's tmpfs holds from now on. */
static void bound(const struct run *q)
{
	char options[96];
	snprintf(options, sizeof options, "size=%llu,nr_inodes=%llu", (unsigned long long)q->size, (unsigned long long)q->inodes);
	if (mount(NULL, "/work", NULL, MS_REMOUNT | MS_NOSUID | MS_NODEV, options) < 0)
		fail(q->h.seq, "set size of", "/work");
}

/* What the child could not do. It shares the launcher's memory until it executes. */
static volatile int child_errno;
static const char *volatile child_step;

static void __attribute__((noreturn)) give_up(const char *step)
{
	child_errno = errno;
	child_step = step;
	_exit(127);
}

/* execute is execvpe with the PATH of env, without the shell for what has no interpreter line. */
static void execute(char **argv, char **env)
{
	const char *path = "/usr/local/bin:/usr/bin:/bin";
	char file[PATH_LEN];
	int denied = 0;
	if (strchr(argv[0], '/') != NULL) {
		execve(argv[0], argv, env);
		return;
	}
	for (char **e = env; *e != NULL; e++)
		if (strncmp(*e, "PATH=", 5) == 0)
			path = *e + 5;
	for (const char *p = path, *end; p != NULL; p = end ? end + 1 : NULL) {
		end = strchr(p, ':');
		int n = end ? (int)(end - p) : (int)strlen(p);
		if ((size_t)snprintf(file, sizeof file, "%.*s/%s", n, n ? p : ".", argv[0]) >= sizeof file)
			continue;
		if (n == 0)
			snprintf(file, sizeof file, "./%s", argv[0]);
		execve(file, argv, env);
		if (errno == EACCES)
			denied = 1;
		else if (errno != ENOENT && errno != ENOTDIR)
			return;
	}
	errno = denied ? EACCES : ENOENT;
}

/* child runs in the launcher's memory: raw system calls, no allocation, never returns. */
static void __attribute__((noreturn)) child(const struct run *q, const int *fds, const struct limit *l, const gid_t *groups, const char *dir, char **argv, char **env)
{
	struct sock_fprog prog = { filter_len, filter };
	sigset_t none;
	if (setsid() < 0)
		give_up("setsid");
	for (uint32_t i = 0; i < q->rlimits; i++) {
		struct rlimit old, new;
		if (getrlimit(l[i].resource, &old) < 0)
			give_up("getrlimit");
		new.rlim_max = l[i].hard < old.rlim_max ? l[i].hard : old.rlim_max;
		new.rlim_cur = l[i].soft < new.rlim_max ? l[i].soft : new.rlim_max;
		if (setrlimit(l[i].resource, &new) < 0)
			give_up("setrlimit");
	}
	for (int i = 0; i < 3; i++) /* received descriptors are above SOCK */
		if (dup2(fds[i], i) < 0)
			give_up("dup2");
	if (q->flags & TERMINAL && ioctl(0, TIOCSCTTY, 0) < 0)
		give_up("set terminal");
	if (syscall(SYS_close_range, 3, ~0u, 0) < 0 && errno != ENOSYS) /* all are close-on-exec anyway */
		give_up("close_range");
	umask(022);
	if (syscall(SYS_setgroups, q->groups, groups) < 0 || syscall(SYS_setresgid, q->gid, q->gid, q->gid) < 0 ||
	    syscall(SYS_setresuid, q->uid, q->uid, q->uid) < 0)
		give_up("setresuid");
	if (chdir(dir) < 0)
		give_up("chdir");
	sigemptyset(&none);
	if (sigprocmask(SIG_SETMASK, &none, NULL) < 0)
		give_up("sigprocmask");
	if (!session && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		give_up("no_new_privs");
	if (!session && filter_len > 0 && syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) < 0)
		give_up("seccomp");
	execute(argv, env);
	give_up("exec");
}

/* run starts a program. Its memfd holds limits, groups (an even number of words), room for the pointers of argv and
 * envp, directory, argv, envp. */
static void run(size_t len, const int *fds, uint32_t nfds)
{
	const struct run *q = (const void *)msg;
	struct report r = { .h = { STARTED, q->h.seq } };
	errno = EBADMSG;
	if (len != sizeof *q || nfds != 4 || q->argc == 0 || q->rlimits > MAX_LIMITS || q->groups > MAX_GROUPS || (nmains > 0 && !session))
		fail(q->h.seq, "read", "RUN");
	const uint64_t pointers = (uint64_t)q->argc + q->envc + 2, limits = q->rlimits * sizeof(struct limit),
		skip = limits + (q->groups + 1) / 2 * 2 * sizeof(gid_t);
	if (skip + pointers * sizeof(char *) > q->memory)
		fail(q->h.seq, "read", "RUN");
	char *base = mmap(NULL, q->memory, PROT_READ | PROT_WRITE, MAP_SHARED, fds[3], 0), *end = base + q->memory;
	if (base == MAP_FAILED)
		fail(q->h.seq, "map", "RUN");
	char **argv = (char **)(base + skip), **env = argv + q->argc + 1, *p = (char *)(argv + pointers);
	const char *dir = p;
	if (strings_end(p, end, pointers - 1) == NULL) {
		errno = EBADMSG;
		fail(q->h.seq, "read", "RUN");
	}
	p += strlen(p) + 1;
	for (uint32_t i = 0; i < q->argc; i++, p += strlen(p) + 1)
		argv[i] = p;
	for (uint32_t i = 0; i < q->envc; i++, p += strlen(p) + 1)
		env[i] = p;
	argv[q->argc] = env[q->envc] = NULL;

	if (!session)
		bound(q);
	if (!unprivileged)
		settle(q->h.seq);
	child_errno = nmains < MAX_MAINS ? 0 : EAGAIN;
	pid_t pid = child_errno ? -1 : vfork();
	if (pid == 0)
		child(q, fds, (const struct limit *)base, (const gid_t *)(base + limits), dir, argv, env);
	r.pid = pid;
	if (pid < 0) {
		r.error = child_errno ? child_errno : errno;
		strcpy(r.label, "fork");
	} else if (child_errno != 0) {
		r.error = child_errno;
		strcpy(r.label, child_step);
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	} else {
		mains[nmains].pid = pid;
		mains[nmains++].seq = q->h.seq;
	}
	munmap(base, q->memory);
	send_fds(&r, NULL, 0);
}

/* ---- the loop ---- */

/* main_of returns the index of what RUN started as pid, nmains when it is none of them. */
static uint32_t main_of(pid_t pid)
{
	uint32_t i = 0;
	while (i < nmains && mains[i].pid != pid)
		i++;
	return i;
}

/* reap waits for what has ended, with options 0 until nothing is left. It returns how many processes it reaped, those
 * that RUN started aside. */
static int reap(int options)
{
	struct rusage u;
	int status, others = 0;
	for (pid_t pid; (pid = wait4(-1, &status, options, &u)) > 0 || (pid < 0 && errno == EINTR);) {
		uint32_t i = pid > 0 ? main_of(pid) : nmains;
		if (i == nmains) {
			others += pid > 0;
			continue;
		}
		struct report r = { .h = { EXITED, mains[i].seq }, .pid = pid, .status = status };
		r.user = micros(u.ru_utime);
		r.system = micros(u.ru_stime);
		r.rss = u.ru_maxrss;
		mains[i] = mains[--nmains];
		send_fds(&r, NULL, 0);
	}
	return others;
}

/* forward sends a signal to what RUN started, to all of its process group, or to everybody in the slot. */
static void forward(size_t len)
{
	const struct signal *q = (const void *)msg;
	struct report r = { .h = { SIGNALLED, q->h.seq } };
	errno = EBADMSG;
	if (len != sizeof *q)
		fail(q->h.seq, "read", "SIGNAL");
	if (q->flags & EVERYBODY)
		r.error = kill(-1, q->signal) < 0 && errno != ESRCH ? errno : 0;
	else if (q->pid <= 0 || main_of(q->pid) == nmains)
		r.error = ESRCH; /* its number may be another's by now */
	else if (kill(q->flags & WHOLE_GROUP ? -q->pid : q->pid, q->signal) < 0)
		r.error = errno;
	send_fds(&r, NULL, 0);
}

static void receive(void)
{
	union { struct cmsghdr h; char b[CMSG_SPACE(MAX_FDS * sizeof(int))]; } c;
	struct iovec v = { msg, sizeof msg };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = c.b, .msg_controllen = sizeof c.b };
	int fds[MAX_FDS];
	uint32_t nfds = 0;
	const struct header *h = (const void *)msg;
	ssize_t n = recvmsg(SOCK, &m, MSG_CMSG_CLOEXEC);
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) /* the agent is gone; the kernel kills the rest of the slot */
		_exit(0);
	struct cmsghdr *k = CMSG_FIRSTHDR(&m);
	if (k != NULL && k->cmsg_level == SOL_SOCKET && k->cmsg_type == SCM_RIGHTS) {
		nfds = (k->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(fds, CMSG_DATA(k), nfds * sizeof(int));
	}
	errno = EBADMSG;
	if ((size_t)n < sizeof *h || m.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
		fail(0, "read", "message");
	if (h->type == PREPARE)
		prepare(n, fds, nfds);
	else if (h->type == RUN)
		run(n, fds, nfds);
	else if (h->type == SIGNAL)
		forward(n);
	else if (h->type == KILL) {
		struct report r = { .h = { TOTAL, h->seq } };
		reap(WNOHANG); /* who ended before is not counted as left */
		kill(-1, SIGKILL);
		r.reaped = reap(0);
		send_fds(&r, NULL, 0);
		_exit(0);
	} else
		fail(h->seq, "read", "message");
	for (uint32_t i = 0; i < nfds; i++)
		close(fds[i]);
}

int main(void)
{
	sigset_t all;
	/* Programs inherit what is ignored. The system call itself: C libraries refuse the numbers they use themselves. The
	 * kernel's structure is shorter than this on every architecture, and SIG_DFL is 0. */
	static const unsigned long defaults[8];
	for (int s = 1; s <= 64; s++)
		syscall(SYS_rt_sigaction, s, defaults, NULL, 8); /* SIGKILL and SIGSTOP cannot be set */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	fcntl(SOCK, F_SETFD, FD_CLOEXEC);
	sigemptyset(&all);
	sigaddset(&all, SIGCHLD);
	struct pollfd p[2] = { { SOCK, POLLIN, 0 }, { signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK), POLLIN, 0 } };
	if (p[1].fd < 0)
		fail(0, "make", "signalfd");
	for (;;) {
		struct signalfd_siginfo info;
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			fail(0, "wait for", "messages");
		if (p[1].revents && read(p[1].fd, &info, sizeof info) > 0)
			reap(WNOHANG);
		if (p[0].revents)
			receive();
	}
}
