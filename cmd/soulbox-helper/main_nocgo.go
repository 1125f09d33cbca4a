//go:build !cgo || !libseccomp

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "soulbox-helper: built without cgo and the tag libseccomp; build it with make build")
	os.Exit(1)
}
