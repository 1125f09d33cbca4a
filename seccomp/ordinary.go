package seccomp

import (
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// allow returns a rule that allows calls, given as names with spaces between them.
func allow(reason, calls string) Rule {
	return Rule{Calls: strings.Fields(calls), Action: Allow, Reason: reason}
}

// ordinary lists what every profile allows, on conditions in some cases.
func ordinary() []Rule {
	eperm := Errno(syscall.EPERM)
	return []Rule{
		allow("files by descriptor: what may be opened is decided by mounts and modes",
			`read write close lseek pread64 pwrite64 readv writev preadv pwritev preadv2 pwritev2 dup dup2 dup3 fcntl flock fsync
			fdatasync sync_file_range ftruncate fallocate fadvise64 readahead sendfile splice tee vmsplice copy_file_range close_range
			pipe pipe2`),
		allow("files by name: in the slot's mounts and with its id only",
			`open openat openat2 creat stat fstat lstat newfstatat statx access faccessat faccessat2 getdents getdents64 getcwd
			chdir fchdir rename renameat renameat2 mkdir mkdirat rmdir link linkat unlink unlinkat symlink symlinkat readlink
			readlinkat truncate chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat umask utime utimes futimesat utimensat
			statfs fstatfs`),
		allow("extended attributes of own files; names outside user. need capabilities",
			`setxattr lsetxattr fsetxattr getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr removexattr lremovexattr
			fremovexattr`),
		{Calls: []string{"mknod"}, Action: Allow, When: deviceModes(1), Then: eperm,
			Reason: "fifos, sockets and plain files; devices are refused even where a capability would permit them"},
		{Calls: []string{"mknodat"}, Action: Allow, When: deviceModes(2), Then: eperm,
			Reason: "fifos, sockets and plain files; devices are refused even where a capability would permit them"},
		allow("waiting for descriptors, signals and timers",
			`poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 eventfd eventfd2
			signalfd signalfd4 timerfd_create timerfd_settime timerfd_gettime`),
		allow("watching files, within the user's watch limit: node and file watchers", "inotify_init inotify_init1 inotify_add_watch inotify_rm_watch"),
		allow("own memory, counted by the cgroup; V8 and the JVM use protection keys",
			`mmap mprotect munmap brk mremap msync mincore madvise mlock mlock2 munlock mlockall munlockall pkey_mprotect pkey_alloc
			pkey_free membarrier mseal map_shadow_stack get_mempolicy memfd_create`),
		allow("processes of the slot's own pid namespace",
			`fork vfork execve execveat exit exit_group wait4 waitid kill tkill tgkill pidfd_open pidfd_send_signal getpid getppid gettid
			getpgid getpgrp setpgid getsid setsid set_tid_address set_robust_list get_robust_list rseq times getrusage`),
		allow("a tracer reaches its own id's processes in its own pid namespace, never the launcher; LeakSanitizer and debuggers need it, and it cannot lift a filter (Linux 4.8)",
			"ptrace process_vm_readv process_vm_writev"),
		allow("the kernel puts these calls itself into a process whose libraries the host traces; elsewhere they end the caller", "uprobe uretprobe"),
		allow("signals to the slot's own processes",
			`rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait rt_sigqueueinfo rt_tgsigqueueinfo rt_sigsuspend
			sigaltstack pause alarm restart_syscall`),
		allow("locks between threads and processes that share memory", "futex"),
		allow("scheduling of own processes; real-time classes need a capability or an rlimit that is 0",
			`sched_yield sched_setparam sched_getparam sched_setscheduler sched_getscheduler sched_setattr sched_getattr
			sched_get_priority_max sched_get_priority_min sched_rr_get_interval sched_setaffinity sched_getaffinity getpriority
			setpriority ioprio_get getcpu`),
		allow("reading clocks, sleeping, timers of the process",
			`time gettimeofday clock_gettime clock_getres nanosleep clock_nanosleep getitimer setitimer timer_create timer_settime
			timer_gettime timer_getoverrun timer_delete`),
		allow("ids: changing them needs capabilities that a program has not, and the launcher has to",
			`getuid geteuid getgid getegid getresuid getresgid getgroups setuid setgid setreuid setregid setresuid setresgid setfsuid
			setfsgid setgroups capget capset`),
		allow("own limits: a hard limit only goes down", "getrlimit setrlimit prlimit64"),
		allow("what machine this is, as the slot's namespaces show it", "uname sysinfo getrandom"),
		allow("switches of the calling thread; the strong ones need capabilities", "prctl arch_prctl"),
		allow("a program may confine itself further", "seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self"),
		allow("System V and POSIX IPC: the ipc namespace is the slot's own",
			`shmget shmat shmctl shmdt semget semop semtimedop semctl msgget msgsnd msgrcv msgctl mq_open mq_unlink mq_timedsend
			mq_timedreceive mq_notify mq_getsetattr`),
		allow("using sockets: which kinds there are is decided by socket, whom they reach by the net namespace",
			`connect accept accept4 bind listen getsockname getpeername sendto sendmsg sendmmsg recvfrom recvmsg recvmmsg shutdown
			setsockopt getsockopt`),
		{Calls: []string{"socket"}, Action: eperm, When: sockets(), Then: Allow,
			Reason: "Unix, TCP, UDP and route netlink; raw, packet, vsock, alg, bluetooth, SCTP and the like are kernel code that no program here needs"},
		{Calls: []string{"socketpair"}, Action: eperm, When: oneOf(0, unix.AF_UNIX), Then: Allow,
			Reason: "only Unix sockets come in pairs that programs use; TIPC's do too"},
		{Calls: []string{"ioctl"}, Action: Allow, When: oneOf(1, unix.TIOCSTI, unix.TIOCLINUX, unix.TIOCSETD, unix.TIOCCONS), Then: eperm,
			Reason: "requests to open descriptors; none that types into a terminal, takes over the console or loads a line discipline"},
	}
}

// deviceModes holds when the mode in an argument asks for a device.
func deviceModes(arg uint) []Match {
	return []Match{{{arg, unix.S_IFMT, unix.S_IFCHR}}, {{arg, unix.S_IFMT, unix.S_IFBLK}}}
}
