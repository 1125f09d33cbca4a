//go:build cgo && libseccomp

package main

import (
	"fmt"
	"runtime"

	"github.com/soulbox/soulbox/seccomp"
)

// compile returns the BPF of a profile for this machine.
func compile(profile string) ([]byte, error) {
	p, ok := seccomp.ByName(profile)
	if !ok {
		return nil, fmt.Errorf("no seccomp profile %q", profile)
	}
	return seccomp.Compile(p, runtime.GOARCH)
}
