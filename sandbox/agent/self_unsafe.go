package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// protectSelf makes the agent unreadable for all but the sandbox's root and installs dir/agent.bpf, when there is
// one, as a filter for all its threads and all it will start.
func protectSelf(dir string) error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("set the agent non-dumpable: %w", err)
	}
	name := filepath.Join(dir, "agent.bpf")
	raw, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("read the agent's filter: %w", err)
	}
	if len(raw) == 0 || len(raw)%8 != 0 || len(raw)/8 > maxFilter {
		return fmt.Errorf("read the agent's filter %s: %d bytes are not 1 to %d instructions of 8", name, len(raw), maxFilter)
	}
	insns := make([]unix.SockFilter, len(raw)/8)
	copy(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(insns))), len(raw)), raw)
	prog := unix.SockFprog{Len: uint16(len(insns)), Filter: unsafe.SliceData(insns)}
	tid, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(insns)
	if errno != 0 {
		return fmt.Errorf("install the agent's filter: %w", errno)
	}
	if tid != 0 {
		return fmt.Errorf("install the agent's filter: thread %d cannot take it", tid)
	}
	return nil
}
