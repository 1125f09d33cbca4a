package seccomp

import (
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// Agent returns the profile of PID 1 of a sandbox and of the launchers it starts. Programs inherit it beneath their own
// filter, so it allows all that [Program] allows.
func Agent() Profile {
	return Profile{
		Name:    "agent",
		Rules:   slices.Concat(ordinary(), refused(), absent(), agentOnly()),
		Default: Errno(syscall.ENOSYS),
		BadArch: KillProcess,
	}
}

// agentOnly lists the rules in which Agent and Program differ.
func agentOnly() []Rule {
	eperm := Errno(syscall.EPERM)
	return []Rule{
		{Calls: []string{"clone"}, Action: eperm, When: without(0, unix.CLONE_NEWUSER), Then: Allow,
			Reason: "a launcher is born in the namespaces of its slot; none is a user namespace, where proc could not be mounted"},
		{Calls: []string{"unshare"}, Action: eperm, When: without(0, unix.CLONE_NEWUSER), Then: Allow,
			Reason: "the launcher leaves its cgroup namespace after it has joined its cgroups"},
		{Calls: []string{"setns"}, Action: eperm, Reason: "nothing is entered: what must be in a slot is born there"},
		{Calls: []string{"mount", "umount2"}, Action: Allow, Reason: "the launcher makes a slot's mounts"},
		{Calls: []string{"pivot_root"}, Action: eperm, Reason: "the root is the container's, for slots too"},
		{Calls: []string{"sethostname", "setdomainname"}, Action: Allow, Reason: "the launcher names the slot and takes the host's domain name away"},
		{Calls: []string{"personality"}, Action: eperm, When: oneOf(0, 0, addrNoRandomize, low), Then: Allow,
			Reason: "as for programs, which inherit this filter"},
	}
}
