package seccomp

import (
	"strings"
	"syscall"
)

// refused lists what no profile allows and answers with EPERM: the caller is told that it may not.
func refused() []Rule {
	refuse := func(reason, calls string) Rule {
		return Rule{Calls: strings.Fields(calls), Action: Errno(syscall.EPERM), Reason: reason}
	}
	return []Rule{
		refuse("mounts by descriptor, beside mount itself; nothing in a sandbox makes mounts this way",
			"open_tree open_tree_attr move_mount fsopen fsconfig fsmount fspick mount_setattr"),
		refuse("a second root invites escapes from the first, and with user namespaces shut it needs a capability anyway", "chroot"),
		refuse("keyrings are shared by all slots of a sandbox and not by namespace", "add_key request_key keyctl"),
		refuse("runs code in the kernel", "bpf"),
		refuse("counts and samples kernel and hardware events: large code, side channels", "perf_event_open"),
		refuse("lets a program stop the kernel in the middle of a copy: a tool of exploits", "userfaultfd"),
		refuse("does what other calls do, past this filter", "io_uring_setup io_uring_enter io_uring_register"),
		refuse("loads a kernel", "kexec_load kexec_file_load"),
		refuse("loads or removes kernel code", "create_module init_module finit_module delete_module"),
		refuse("the clock is the machine's", "settimeofday clock_settime adjtimex clock_adjtime"),
		refuse("the machine's power, swap, accounting and quotas", "reboot swapon swapoff acct quotactl quotactl_fd"),
		refuse("direct access to hardware ports", "iopl ioperm"),
		refuse("segments of its own: 16-bit code and a history of kernel bugs", "modify_ldt"),
		refuse("opens a file past its directories' permissions, or prepares that", "open_by_handle_at name_to_handle_at"),
		refuse("names files to a profiler that is gone", "lookup_dcookie"),
		refuse("the kernel's NFS server, gone", "nfsservctl"),
		refuse("watches and answers for other processes' files", "fanotify_init fanotify_mark"),
		refuse("the kernel's log shows the host", "syslog"),
		refuse("hangs up the terminal for others", "vhangup"),
		refuse("writes back whole file systems of the host: fsync is for own files", "sync syncfs"),
		refuse("copies another process's descriptors; only debuggers of debuggers do", "pidfd_getfd"),
		refuse("tells the order of kernel pointers", "kcmp"),
		refuse("acts on another process's memory; none of its callers fails without", "process_madvise process_mrelease"),
		refuse("places memory on the machine's nodes, which other sandboxes share", "mbind set_mempolicy set_mempolicy_home_node migrate_pages move_pages"),
		refuse("raises a program's disk priority over that of its neighbours without any capability", "ioprio_set"),
	}
}

// absent lists what is answered with ENOSYS, as by a kernel without it: callers fall back to an older call.
func absent() []Rule {
	missing := func(reason, calls string) Rule {
		return Rule{Calls: strings.Fields(calls), Action: Errno(syscall.ENOSYS), Reason: reason}
	}
	return []Rule{
		missing("its flags lie in memory, where no filter sees them; C libraries fall back to clone", "clone3"),
		missing("kernel AIO: one machine-wide limit for all, and callers fall back to threads",
			"io_setup io_destroy io_submit io_cancel io_getevents io_pgetevents"),
		missing("memory outside the kernel's own map: slows the whole machine", "memfd_secret"),
		missing("new forms of futex that C libraries do not need yet", "futex_waitv futex_wake futex_wait futex_requeue"),
		missing("tells which pages of files that sandboxes share are cached: a side channel", "cachestat"),
		missing("lists mounts and namespaces, host paths among them", "statmount listmount listns"),
		missing("attributes of security modules: the host's affair", "lsm_get_self_attr lsm_set_self_attr lsm_list_modules"),
		missing("new forms of older calls that callers fall back to",
			"setxattrat getxattrat listxattrat removexattrat file_getattr file_setattr rseq_slice_yield"),
		missing("obsolete, and absent from most kernels",
			`uselib ustat sysfs _sysctl get_kernel_syms query_module getpmsg putpmsg afs_syscall tuxcall security vserver
			epoll_ctl_old epoll_wait_old set_thread_area get_thread_area remap_file_pages`),
	}
}
