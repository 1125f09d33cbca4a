package seccomp

import "golang.org/x/sys/unix"

// noCall is the number a tracer sets to skip a call; the kernel answers ENOSYS to it.
const noCall = 0xffffffff

// arch is what a filter must know of an architecture.
type arch struct {
	audit uint32 // AUDIT_ARCH_*, seccomp_data's arch
	x32   uint32 // numbers from here on belong to a second convention under the same audit value; 0: none
	calls []Call
}

// findArch returns the architecture of a name in Go's spelling.
func findArch(name string) (arch, error) {
	calls, err := Calls(name)
	if err != nil {
		return arch{}, err
	}
	if name == "arm64" {
		return arch{audit: unix.AUDIT_ARCH_AARCH64, calls: calls}, nil
	}
	return arch{audit: unix.AUDIT_ARCH_X86_64, x32: 0x40000000, calls: calls}, nil
}

// span is a range of numbers, both ends included.
type span struct{ first, last uint32 }

// gap is the shortest run of unnamed numbers that the linked filter answers as a range and not one by one.
const gap = 4

// spans returns the ranges of a's numbers that have no name and are worth a range test, up to the last before x32.
// single returns the other numbers without a name.
func (a arch) unnamed() (spans []span, single []uint32) {
	next := uint32(0)
	for _, c := range a.calls {
		switch {
		case c.Number >= next+gap:
			spans = append(spans, span{next, c.Number - 1})
		default:
			for ; next < c.Number; next++ {
				single = append(single, next)
			}
		}
		next = c.Number + 1
	}
	last := uint32(noCall)
	if a.x32 > 0 {
		last = a.x32 - 1
	}
	return append(spans, span{next, last}), single
}
