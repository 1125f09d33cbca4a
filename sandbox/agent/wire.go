package agent

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The messages between agent and launcher, as launcher.c declares them: packed structs in the host's byte order.
const (
	msgPrepare = 1
	msgRun     = 2
	msgKill    = 3
	msgSignal  = 4

	msgTree      = 16 // the work directory and /proc, as two descriptors
	msgReady     = 17
	msgStarted   = 18
	msgExited    = 19
	msgTotal     = 20 // all is dead and counted
	msgFailed    = 21
	msgSignalled = 22

	flagSession   = 1 // of PREPARE
	flagTerminal  = 1 // of RUN
	flagGroup     = 1 // of SIGNAL: the whole process group
	flagEverybody = 2 // of SIGNAL: every process in the slot

	maxFilter  = 4096 // instructions, the kernel's own bound
	maxGroups  = 64
	maxLimits  = 64
	maxHides   = 64
	maxPath    = 4095
	maxStrings = 2 << 20 // bytes of directory, arguments and environment
	maxArgs    = 1 << 16 // arguments and environment entries
	labelSize  = 64

	plentyBytes  = 1 << 30 // of a slot's tmpfs, as long as only the agent writes to it
	plentyInodes = 1 << 20
	reportSize   = 128
)

// report is what a launcher says.
type report struct {
	kind, seq    uint32
	errno        unix.Errno
	pid          int32
	status       unix.WaitStatus
	user, system time.Duration
	maxRSS       int64 // bytes
	treeUser     time.Duration
	treeSystem   time.Duration
	reaped       int32 // processes that were left when the slot was killed
	label        string
	at           time.Time // when it arrived
}

// wireReport is the report's layout.
type wireReport struct {
	Kind, Seq            uint32
	Errno, PID, Status   int32
	Reaped               int32
	User, System, RSS    int64
	TreeUser, TreeSystem int64
	Label                [labelSize]byte
}

func parseReport(b []byte) (report, error) {
	if len(b) != reportSize {
		return report{}, fmt.Errorf("read report of launcher: %d bytes instead of %d", len(b), reportSize)
	}
	var w wireReport
	if _, err := binary.Decode(b, binary.NativeEndian, &w); err != nil {
		return report{}, fmt.Errorf("read report of launcher: %w", err)
	}
	if w.Kind < msgTree || w.Kind > msgSignalled || w.Errno < 0 || w.User < 0 || w.System < 0 || w.RSS < 0 || w.TreeUser < 0 || w.TreeSystem < 0 {
		return report{}, fmt.Errorf("read report of launcher: kind %d or a number is out of range", w.Kind)
	}
	label, _, _ := bytes.Cut(w.Label[:], []byte{0})
	return report{
		kind: w.Kind, seq: w.Seq, errno: unix.Errno(w.Errno), pid: w.PID, status: unix.WaitStatus(w.Status), reaped: max(w.Reaped, 0),
		user: micros(w.User), system: micros(w.System), maxRSS: w.RSS << 10,
		treeUser: micros(w.TreeUser), treeSystem: micros(w.TreeSystem), label: strings.ToValidUTF8(string(label), "?"),
	}, nil
}

// micros saturates: a launcher's numbers never wrap around.
func micros(n int64) time.Duration {
	return time.Duration(min(n, int64(1<<62)/int64(time.Microsecond))) * time.Microsecond
}

// err returns what a failed launcher says about it.
func (r report) err() error { return fmt.Errorf("launcher: %s: %w", r.label, r.errno) }

// prepareMessage describes a slot to its launcher.
type prepareMessage struct {
	uid, gid, launcherID uint32
	cgroups              int
	filter               []byte
	hostname             string
	hides                []string
	size, inodes         uint64 // of its tmpfs until a run sets them; 0: plenty
	session              bool
	keep                 uint64 // capabilities that stay in the bounding set
}

func (m prepareMessage) validate() error {
	switch {
	case m.uid == 0 || m.gid == 0 || m.launcherID == 0:
		return errors.New("ids must not be 0")
	case m.launcherID == m.uid || m.launcherID == m.gid:
		return errors.New("the launcher needs an id of its own")
	case len(m.filter)%8 != 0 || len(m.filter)/8 > maxFilter:
		return fmt.Errorf("filter of %d bytes is not at most %d instructions of 8", len(m.filter), maxFilter)
	case m.hostname == "" || len(m.hostname) > 64 || strings.Contains(m.hostname, "\x00"):
		return fmt.Errorf("host name %q must have 1 to 64 bytes", m.hostname)
	case len(m.hides) > maxHides:
		return fmt.Errorf("%d paths to hide are more than %d", len(m.hides), maxHides)
	}
	for _, p := range m.hides {
		if !strings.HasPrefix(p, "/") || len(p) > 256 || strings.Contains(p, "\x00") {
			return fmt.Errorf("path to hide %q must be absolute and at most 256 bytes", p)
		}
	}
	return nil
}

func (m prepareMessage) encode(seq uint32) []byte {
	var b []byte
	var flags uint32
	if m.session {
		flags = flagSession
	}
	for _, n := range []uint32{msgPrepare, seq, m.uid, m.gid, m.launcherID, uint32(m.cgroups), uint32(len(m.filter) / 8), uint32(len(m.hides)),
		flags, uint32(m.keep), uint32(m.keep >> 32), 0} {
		b = binary.NativeEndian.AppendUint32(b, n)
	}
	for _, n := range []uint64{cmp.Or(m.size, plentyBytes), cmp.Or(m.inodes, plentyInodes)} {
		b = binary.NativeEndian.AppendUint64(b, n)
	}
	b = append(b, m.filter...)
	for _, s := range append([]string{m.hostname}, m.hides...) {
		b = append(append(b, s...), 0)
	}
	return b
}

// rlimit is one resource limit.
type rlimit struct {
	resource   uint32
	soft, hard uint64
}

// runMessage describes a program to the launcher.
type runMessage struct {
	size, inodes uint64 // final size of the tmpfs
	uid, gid     uint32
	groups       []uint32
	terminal     bool // stdio is a terminal, and becomes the program's own
	rlimits      []rlimit
	argv, env    []string
	dir          string
}

func (m runMessage) validate() error {
	total := 0
	for _, list := range [][]string{m.argv, m.env, {m.dir}} {
		for _, s := range list {
			if total += len(s) + 1; strings.Contains(s, "\x00") {
				return errors.New("directory, arguments and environment must not contain NUL")
			}
		}
	}
	switch {
	case len(m.argv) == 0 || m.argv[0] == "":
		return errors.New("no command")
	case !strings.HasPrefix(m.dir, "/") || len(m.dir) > maxPath:
		return fmt.Errorf("working directory %q must be absolute", m.dir)
	case total > maxStrings || len(m.argv)+len(m.env) > maxArgs:
		return fmt.Errorf("arguments and environment (%d bytes, %d entries) exceed %d bytes or %d entries",
			total, len(m.argv)+len(m.env), maxStrings, maxArgs)
	case len(m.rlimits) > maxLimits:
		return fmt.Errorf("%d rlimits are more than %d", len(m.rlimits), maxLimits)
	case len(m.groups) > maxGroups:
		return fmt.Errorf("%d groups are more than %d", len(m.groups), maxGroups)
	}
	return nil
}

// payload is what the memfd of a run holds.
func (m runMessage) payload() []byte {
	var b []byte
	for _, r := range m.rlimits {
		b = binary.NativeEndian.AppendUint64(b, uint64(r.resource))
		b = binary.NativeEndian.AppendUint64(b, r.soft)
		b = binary.NativeEndian.AppendUint64(b, r.hard)
	}
	for i := range (len(m.groups) + 1) / 2 * 2 { // an even number, so that what follows is aligned
		var g uint32
		if i < len(m.groups) {
			g = m.groups[i]
		}
		b = binary.NativeEndian.AppendUint32(b, g)
	}
	// Written out, so that the pages the launcher puts its pointers into are charged to the agent.
	b = append(b, make([]byte, 8*(len(m.argv)+len(m.env)+2))...)
	b = append(append(b, m.dir...), 0)
	for _, list := range [][]string{m.argv, m.env} {
		for _, s := range list {
			b = append(append(b, s...), 0)
		}
	}
	return b
}

func (m runMessage) encode(seq uint32, payload int) []byte {
	b := binary.NativeEndian.AppendUint32(nil, msgRun)
	b = binary.NativeEndian.AppendUint32(b, seq)
	b = binary.NativeEndian.AppendUint64(b, m.size)
	b = binary.NativeEndian.AppendUint64(b, m.inodes)
	var flags uint32
	if m.terminal {
		flags = flagTerminal
	}
	for _, n := range []uint32{uint32(len(m.rlimits)), uint32(len(m.argv)), uint32(len(m.env)), uint32(payload), m.uid, m.gid, uint32(len(m.groups)), flags} {
		b = binary.NativeEndian.AppendUint32(b, n)
	}
	return b
}

// signalMessage asks for a signal to the process pid that RUN started, or to those that flags say.
func signalMessage(seq uint32, pid int32, signal unix.Signal, flags uint32) []byte {
	b := binary.NativeEndian.AppendUint32(nil, msgSignal)
	for _, n := range []uint32{seq, uint32(pid), uint32(signal), flags} {
		b = binary.NativeEndian.AppendUint32(b, n)
	}
	return b
}

func killMessage() []byte {
	b := binary.NativeEndian.AppendUint32(nil, msgKill)
	return binary.NativeEndian.AppendUint32(b, 0)
}
