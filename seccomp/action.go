package seccomp

import (
	"fmt"
	"syscall"
)

// Action is what the kernel does with a system call: the value a filter returns, as in linux/seccomp.h.
type Action uint32

// The actions beside [Errno].
const (
	KillProcess Action = 0x80000000 // ends the whole process with SIGSYS
	KillThread  Action = 0x00000000 // what a filter that reads past its data answers; no profile uses it
	Allow       Action = 0x7fff0000
)

// errnoAction is the kernel's SECCOMP_RET_ERRNO; the low 16 bits hold the number.
const errnoAction Action = 0x00050000

// Errno refuses a call with an error.
func Errno(e syscall.Errno) Action { return errnoAction | Action(e&0xffff) }

// Errno returns the error that a refuses a call with, and whether it does that.
func (a Action) Errno() (syscall.Errno, bool) {
	return syscall.Errno(a & 0xffff), a&0xffff0000 == errnoAction
}

// String returns the action in the spelling of goldens: "allow", "kill process", "EPERM".
func (a Action) String() string {
	e, ok := a.Errno()
	switch {
	case a == Allow:
		return "allow"
	case a == KillProcess:
		return "kill process"
	case a == KillThread:
		return "kill thread"
	case ok && e == syscall.EPERM:
		return "EPERM"
	case ok && e == syscall.ENOSYS:
		return "ENOSYS"
	case ok:
		return fmt.Sprintf("errno %d", uint32(e))
	}
	return fmt.Sprintf("%#08x", uint32(a))
}
