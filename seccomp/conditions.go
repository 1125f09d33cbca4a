package seccomp

import "golang.org/x/sys/unix"

// low is the mask of an argument that the kernel takes as a 32-bit number.
const low = 0xffffffff

// equal holds when the low 32 bits of an argument are v.
func equal(arg uint, v uint64) Cond { return Cond{arg, low, v} }

// oneOf holds when the low 32 bits of an argument are one of values.
func oneOf(arg uint, values ...uint64) []Match {
	var out []Match
	for _, v := range values {
		out = append(out, Match{equal(arg, v)})
	}
	return out
}

// without holds when no bit of mask is set in an argument.
func without(arg uint, mask uint64) []Match { return []Match{{{arg, mask, 0}}} }

// socketKind is the mask of a socket's type without SOCK_CLOEXEC and SOCK_NONBLOCK.
const socketKind = 0xf

// sockets holds for what socket(2) may make: streams and datagrams between processes and over TCP and UDP, and route
// netlink, which getaddrinfo, getifaddrs, the JVM, node and Go ask for the interfaces.
func sockets() []Match {
	kind := func(v uint64) Cond { return Cond{1, socketKind, v} }
	var out []Match
	for _, family := range []uint64{unix.AF_INET, unix.AF_INET6} {
		for _, protocol := range []uint64{0, unix.IPPROTO_TCP} {
			out = append(out, Match{equal(0, family), kind(unix.SOCK_STREAM), equal(2, protocol)})
		}
		for _, protocol := range []uint64{0, unix.IPPROTO_UDP} {
			out = append(out, Match{equal(0, family), kind(unix.SOCK_DGRAM), equal(2, protocol)})
		}
	}
	for _, k := range []uint64{unix.SOCK_STREAM, unix.SOCK_DGRAM, unix.SOCK_SEQPACKET} {
		out = append(out, Match{equal(0, unix.AF_UNIX), kind(k)})
	}
	return append(out, Match{equal(0, unix.AF_NETLINK), equal(2, unix.NETLINK_ROUTE)})
}

// cloneNamespaces are the flags of clone that make namespaces. CLONE_NEWTIME is not one of clone's: its bit belongs to
// the exit signal there.
const cloneNamespaces = unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWNET |
	unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP

// addrNoRandomize is ADDR_NO_RANDOMIZE of linux/personality.h.
const addrNoRandomize = 0x40000
