/*
 * Makes every system call with arguments of several kinds, each in a process of its own, and prints what came of it: a line
 * for each number, with "ok", an errno, "s" and a signal, or "-" for what did not return.
 *
 * As an agent it is PID 1 of a sandbox, under the agent's filter; elsewhere it is under the filter that it was given.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { KINDS = 4, SLOTS = 40, NONE = 0, OK = -1, BLOCKED = -2 };
static int *results; /* of number index and kind: NONE, OK, errno, or 1000 and a signal */
static long numbers[4096];
static int count;
static struct { pid_t pid; int index, kind; } live[SLOTS];
static int lives;

static void try(int index, int kind)
{
	char *buffer = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	long kinds[KINDS] = { 0, -1, 1, (long)buffer }, a = kinds[kind];
	pid_t self = getpid();
	setsid();
	long r = syscall(numbers[index], a, a, a, a, a, a);
	int e = errno;
	if (getpid() == self) /* what it forked says nothing */
		results[index * KINDS + kind] = r == -1 ? e : OK;
	_exit(0);
}

static void ended(pid_t pid, int status)
{
	for (int i = 0; i < lives; i++) {
		if (live[i].pid != pid)
			continue;
		int *r = &results[live[i].index * KINDS + live[i].kind];
		if (*r == NONE)
			*r = WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : BLOCKED;
		live[i] = live[--lives];
		return;
	}
}

/* collect waits until at most most run, at most for a while. */
static void collect(int most, double seconds)
{
	struct timespec pause = { 0, 1000000 };
	for (double waited = 0; lives > most && waited < seconds;) {
		int status;
		pid_t pid = waitpid(-1, &status, WNOHANG);
		if (pid > 0)
			ended(pid, status);
		else {
			nanosleep(&pause, NULL);
			waited += 0.001;
		}
	}
}

static void confine(const char *name)
{
	static struct sock_filter filter[4096];
	int fd = open(name, O_RDONLY);
	if (fd < 0)
		return;
	ssize_t n = read(fd, filter, sizeof filter);
	struct sock_fprog prog = { n / sizeof *filter, filter };
	if (n <= 0 || syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) < 0) {
		perror("seccomp");
		exit(1);
	}
	close(fd);
}

int main(void)
{
	if (getpid() == 1)
		confine("/.soul/agent.bpf");
	for (long i = 0; i < 700; i++)
		numbers[count++] = i;
#ifdef __x86_64__
	for (long i = 0; i < 550; i++)
		numbers[count++] = 0x40000000 + i;
#endif
	numbers[count++] = 0x7fffffff;
	numbers[count++] = 0xffffffff;
	results = mmap(NULL, count * KINDS * sizeof *results, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (int i = 0; i < count; i++) {
		for (int kind = 0; kind < KINDS; kind++) {
			pid_t pid = fork();
			if (pid == 0)
				try(i, kind);
			if (pid < 0) {
				perror("fork");
				return 1;
			}
			live[lives].pid = pid, live[lives].index = i, live[lives].kind = kind, lives++;
			collect(SLOTS - 1, 1); /* those that wait for something hold a place until then */
			for (; lives == SLOTS; collect(SLOTS - 1, 10))
				for (int k = 0; k < lives; k++)
					kill(live[k].pid, SIGKILL);
		}
	}
	collect(0, 5);
	for (int i = 0; i < lives; i++)
		kill(live[i].pid, SIGKILL);
	collect(0, 10);
	for (int i = 0; i < count; i++) {
		printf("%lu", numbers[i] & 0xffffffffUL);
		for (int kind = 0; kind < KINDS; kind++) {
			int r = results[i * KINDS + kind];
			if (r == OK)
				printf(" ok");
			else if (r > 1000)
				printf(" s%d", r - 1000);
			else if (r > 0)
				printf(" %d", r);
			else
				printf(" -");
		}
		printf("\n");
	}
	puts("done");
	fflush(stdout);
	if (getpid() == 1) /* no socket: whoever waits for the agent gives it up */
		open("/.soul/agent.sock", O_CREAT | O_WRONLY, 0600);
	return 0;
}
