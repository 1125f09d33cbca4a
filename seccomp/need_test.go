package seccomp

import (
	"errors"
	"os"
	"testing"
)

// need skips t in a build or on a host that lacks a feature. With SOULBOX_CI set it fails instead.
func need(t testing.TB, err error) {
	t.Helper()
	if errors.Is(err, errors.ErrUnsupported) && os.Getenv("SOULBOX_CI") == "" {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
}
