package seccomp

import (
	"slices"
	"syscall"
)

// Program returns the profile of untrusted executions: interpreters, compilers and what they make run unharmed, and
// everything that makes namespaces, mounts or configures the machine is refused.
func Program() Profile {
	return Profile{
		Name:    "program",
		Rules:   slices.Concat(ordinary(), refused(), absent(), programOnly()),
		Default: Errno(syscall.ENOSYS),
		BadArch: KillProcess,
	}
}

// programOnly lists the rules in which Program and Agent differ.
func programOnly() []Rule {
	eperm := Errno(syscall.EPERM)
	return []Rule{
		{Calls: []string{"clone"}, Action: eperm, When: without(0, cloneNamespaces), Then: Allow,
			Reason: "processes and threads, but no namespaces: a new user namespace gives the capabilities that most kernel exploits need"},
		{Calls: []string{"unshare", "setns"}, Action: eperm, Reason: "namespaces are the launcher's to make"},
		{Calls: []string{"mount", "umount2", "pivot_root"}, Action: eperm, Reason: "the slot's mounts are its isolation"},
		{Calls: []string{"sethostname", "setdomainname"}, Action: eperm, Reason: "the slot's name is the launcher's to give"},
		{Calls: []string{"personality"}, Action: eperm, When: oneOf(0, 0, addrNoRandomize, low), Then: Allow,
			Reason: "Linux, without address randomization too (gcc's precompiled headers, gdb), and the query; the other personalities bring back old, little tested behaviour, executable data and a mapped page zero among it"},
	}
}
