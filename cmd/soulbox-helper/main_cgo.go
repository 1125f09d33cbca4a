//go:build cgo && libseccomp

package main

import (
	"fmt"
	"os"

	"github.com/opencontainers/runc/libcontainer"
	// The C code that enters namespaces before Go's runtime starts is linked in by this import.
	_ "github.com/opencontainers/runc/libcontainer/nsenter"

	"github.com/soulbox/soulbox/sandbox/runc/helper"
	"github.com/soulbox/soulbox/seccomp"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "init" {
		libcontainer.Init() // never returns
	}
	if err := helper.Serve(helper.NewServer(compile, seccomp.LibraryVersion())); err != nil {
		fmt.Fprintln(os.Stderr, "soulbox-helper:", err)
		os.Exit(1)
	}
}
