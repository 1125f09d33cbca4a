package seccomp

import (
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// Session returns the profile of programs in a sandbox that lives on. Setuid programs are honoured there, and their root
// reaches no more of the kernel than [Program] lets anybody: the two differ in how they refuse one thing.
func Session() Profile {
	p := Program()
	p.Name = "session"
	p.Rules = slices.Clone(p.Rules)
	for i, r := range p.Rules {
		if slices.Equal(r.Calls, []string{"socket"}) {
			p.Rules[i].Except = []Match{{{0, low, unix.AF_NETLINK}, {2, low, unix.NETLINK_AUDIT}}}
			p.Rules[i].Answer = Errno(syscall.EPROTONOSUPPORT)
			p.Rules[i].Reason += "; auditing is refused as by a kernel without it: sudo and PAM take another answer for a failure"
		}
	}
	return p
}
