//go:build cgo && libseccomp

package seccomp

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	libseccomp "github.com/seccomp/libseccomp-golang"
	"golang.org/x/sys/unix"
)

// binaryTree is libseccomp's optimization that finds a call by bisection (version 2.5).
const binaryTree = 2

// Compile returns p as an array of struct sock_filter for an architecture in Go's spelling, which must be the one this
// program runs on: libseccomp knows the newest numbers of its own architecture only. Same profile, same bytes.
func Compile(p Profile, arch string) ([]byte, error) {
	if arch != runtime.GOARCH {
		return nil, fmt.Errorf("compile profile %s for %s on %s: %w", p.Name, arch, runtime.GOARCH, errors.ErrUnsupported)
	}
	a, err := findArch(arch)
	if err != nil {
		return nil, err
	}
	if err := p.Validate(); err != nil {
		return nil, err
	}
	narrow, wide, err := p.split(a)
	if err != nil {
		return nil, err
	}
	narrowFilter, err := narrow.compile(p.BadArch)
	if err != nil {
		return nil, fmt.Errorf("compile profile %s: %w", p.Name, err)
	}
	wideFilter, err := wide.compile(p.BadArch)
	if err != nil {
		return nil, fmt.Errorf("compile profile %s: %w", p.Name, err)
	}
	filter, err := p.link(a, narrow, narrowFilter, wideFilter)
	if err != nil {
		return nil, err
	}
	if err := p.verify(arch, filter); err != nil {
		return nil, err
	}
	return filter, nil
}

// LibraryVersion returns the version of libseccomp that is linked in.
func LibraryVersion() string {
	major, minor, micro := libseccomp.GetLibraryVersion()
	return fmt.Sprintf("%d.%d.%d", major, minor, micro)
}

// compile returns the filter of one part.
func (p part) compile(badArch Action) ([]byte, error) {
	f, err := libseccomp.NewFilter(scmpAction(p.otherwise))
	if err != nil {
		return nil, fmt.Errorf("make filter: %w", err)
	}
	defer f.Release()
	if err := f.SetBadArchAction(scmpAction(badArch)); err != nil {
		return nil, fmt.Errorf("set action for foreign calls: %w", err)
	}
	if err := f.SetOptimize(binaryTree); err != nil {
		return nil, fmt.Errorf("ask for a binary tree: %w", err)
	}
	for _, c := range p.calls {
		if err := c.add(f); err != nil {
			return nil, fmt.Errorf("add rule of call %d: %w", c.number, err)
		}
	}
	return export(f)
}

// add adds the rules of c. Numbers go in as they are: libseccomp translates names for other architectures only.
func (c partCall) add(f *libseccomp.ScmpFilter) error {
	call, action := libseccomp.ScmpSyscall(c.number), scmpAction(c.action)
	if len(c.when) == 0 {
		return f.AddRuleExact(call, action)
	}
	for _, m := range c.when {
		var conditions []libseccomp.ScmpCondition
		for _, cond := range m {
			made, err := libseccomp.MakeCondition(cond.Arg, libseccomp.CompareMaskedEqual, cond.Mask, cond.Value)
			if err != nil {
				return fmt.Errorf("make condition on argument %d: %w", cond.Arg, err)
			}
			conditions = append(conditions, made)
		}
		if err := f.AddRuleConditionalExact(call, action, conditions); err != nil {
			return err
		}
	}
	return nil
}

// scmpAction returns a in libseccomp's terms.
func scmpAction(a Action) libseccomp.ScmpAction {
	e, refused := a.Errno()
	switch {
	case a == Allow:
		return libseccomp.ActAllow
	case refused:
		return libseccomp.ActErrno.SetReturnCode(int16(e))
	}
	return libseccomp.ActKillProcess
}

// export returns f's instructions; libseccomp before 2.6 writes them to files only.
func export(f *libseccomp.ScmpFilter) (_ []byte, err error) {
	const name = "seccomp-filter"
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make memory file for the filter: %w", err)
	}
	file := os.NewFile(uintptr(fd), name)
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := f.ExportBPF(file); err != nil {
		return nil, fmt.Errorf("export filter: %w", err)
	}
	filter, err := os.ReadFile(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return nil, fmt.Errorf("read exported filter: %w", err)
	}
	return filter, nil
}
