package fsys

import (
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// Identity is a user of the slot, with the rights that operations run with. Ids are the sandbox's.
type Identity struct {
	UID    uint32
	GID    uint32
	Groups []uint32 // supplementary
	Name   string
	Home   string
}

// slotRoot is the user who may do everything to files, for reading the tables of users and for RootThenOwn.
func slotRoot() Identity { return Identity{Name: "root", Home: "/root"} }

// fileCaps are the capabilities that root keeps: those about files. The agent's others (CAP_SYS_PTRACE opens
// /proc/PID/environ) would give the slot's root more than it has itself.
const fileCaps = 1<<unix.CAP_CHOWN | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_FOWNER | 1<<unix.CAP_FSETID

// maxGroups bounds the supplementary groups of one user.
const maxGroups = 1024

// Run calls f on an operating system thread that has the identity's file system ids and groups, and of the agent's
// capabilities none, or for uid 0 those about files. Goroutines that f starts do not have them. The real and effective
// ids stay the agent's, so no program can signal or trace the thread.
func (id Identity) Run(f func() error) error {
	type outcome struct {
		err      error
		panicked any
	}
	done := make(chan outcome, 1)
	go func() {
		var o outcome
		defer func() { done <- o }()
		// Without an unlock the runtime ends the thread with the goroutine: what could not be switched back is thrown
		// away. Threads are born from a clean one while their parent is locked.
		runtime.LockOSThread()
		before, err := threadRights()
		if err != nil {
			o.err = err
			return
		}
		if o.err = id.assume(before); o.err == nil {
			func() {
				defer func() { o.panicked = recover() }()
				o.err = f()
			}()
		}
		if before.restore() == nil {
			runtime.UnlockOSThread()
		}
	}()
	o := <-done
	if o.panicked != nil {
		panic(o.panicked)
	}
	return o.err
}

// assume takes the identity on. When it fails, the thread can be anything in between.
func (id Identity) assume(before rights) error {
	groups := make([]int, 0, len(id.Groups))
	for _, g := range id.Groups {
		groups = append(groups, int(g))
	}
	want := rights{groups: groups, uid: int(id.UID), gid: int(id.GID), caps: before.caps}
	keep := uint32(0)
	if id.UID == 0 {
		keep = fileCaps
	}
	want.caps[0].Effective &= keep
	want.caps[1].Effective = 0
	if err := want.set(); err != nil {
		return fmt.Errorf("take on the rights of user %d: %w", id.UID, err)
	}
	return nil
}

// rights are what a thread may do to files.
type rights struct {
	groups   []int
	uid, gid int // of the file system
	caps     [2]unix.CapUserData
}

// threadRights returns the calling thread's rights.
func threadRights() (rights, error) {
	var r rights
	var err error
	if r.groups, err = unix.Getgroups(); err != nil {
		return r, fmt.Errorf("get groups of thread: %w", err)
	}
	if err := unix.Capget(capHeader(), &r.caps[0]); err != nil {
		return r, fmt.Errorf("get capabilities of thread: %w", err)
	}
	r.uid, r.gid = fsuid(), fsgid()
	return r, nil
}

// restore gives the thread the rights back that it had.
func (r rights) restore() error {
	// First what is needed for the rest; a change of fsuid then changes capabilities again.
	return errors.Join(unix.Capset(capHeader(), &r.caps[0]), r.set())
}

// set gives the calling thread these rights, and no other thread: package unix makes the bare system calls.
func (r rights) set() error {
	if err := unix.Setgroups(r.groups); err != nil {
		return fmt.Errorf("set groups: %w", err)
	}
	if err := setGroup(r.gid); err != nil {
		return fmt.Errorf("set group: %w", err)
	}
	if err := setUser(r.uid); err != nil {
		return fmt.Errorf("set user: %w", err)
	}
	if fsuid() != r.uid || fsgid() != r.gid { // the calls themselves do not tell
		return errors.New("the kernel did not take the ids; are they mapped?")
	}
	if err := unix.Capset(capHeader(), &r.caps[0]); err != nil {
		return fmt.Errorf("set capabilities: %w", err)
	}
	return nil
}

func capHeader() *unix.CapUserHeader {
	return &unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
}

// Kernels without file system ids, such as gVisor's, go by the effective ones. These are the calling thread's alone too;
// the real and saved ones, by which others may signal it, stay as they are.

func setUser(id int) error  { return setID(unix.Setfsuid(id), unix.SYS_SETRESUID, id) }
func setGroup(id int) error { return setID(unix.Setfsgid(id), unix.SYS_SETRESGID, id) }

// setID returns what came of the first attempt, or of the second where there are no file system ids.
func setID(first error, setres uintptr, id int) error {
	if !errors.Is(first, unix.ENOSYS) {
		return first
	}
	const same = ^uintptr(0)
	if _, _, errno := unix.RawSyscall(setres, same, uintptr(id), same); errno != 0 {
		return errno
	}
	return nil
}

// An id that cannot be set makes the calls answer the present one.
func fsuid() int {
	id, err := unix.SetfsuidRetUid(-1)
	if err != nil {
		return unix.Geteuid()
	}
	return id
}

func fsgid() int {
	id, err := unix.SetfsgidRetGid(-1)
	if err != nil {
		return unix.Getegid()
	}
	return id
}
