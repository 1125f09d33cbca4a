//go:build !cgo || !libseccomp

package seccomp

import (
	"errors"
	"fmt"
)

// Compile reports that this build cannot compile filters: it lacks cgo or the tag libseccomp.
func Compile(p Profile, arch string) ([]byte, error) {
	return nil, fmt.Errorf("compile profile %s for %s: built without libseccomp: %w", p.Name, arch, errors.ErrUnsupported)
}

// LibraryVersion returns an empty string: no libseccomp is linked in.
func LibraryVersion() string { return "" }
