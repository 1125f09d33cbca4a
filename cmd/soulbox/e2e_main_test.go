package main_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// The tests in e2e_*_test.go drive the built program from outside, as its users do. They need:
//
//	SOULBOX_BIN        the program, as make build makes it
//	SOULBOX_CI         when set, what cannot be tested here fails instead of being skipped
//	SOULBOX_CACHE_DIR  optional: what recipes prepared, kept from run to run
const binVariable = "SOULBOX_BIN"

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

// runTests gives all daemons of this run one cache, which is removed with them.
func runTests(m *testing.M) int {
	if os.Getenv("SOULBOX_CACHE_DIR") != "" || os.Getenv(binVariable) == "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "soulbox-cache-")
	if err == nil {
		err = os.Setenv("SOULBOX_CACHE_DIR", dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "make a cache for the tests:", err)
		return 1
	}
	code := m.Run()
	if err := removeAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, "remove the cache of the tests:", err)
		return 1
	}
	return code
}

// removeAll removes a directory with files of the user's subordinate ids, which only their namespace's root may remove.
func removeAll(dir string) error {
	if os.RemoveAll(dir) == nil {
		return nil
	}
	if out, err := exec.Command("unshare", "--map-root-user", "--map-auto", "rm", "-rf", dir).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// need skips t where something that it needs is missing; where nothing may be missing it fails.
func need(t testing.TB, err error) {
	t.Helper()
	if errors.Is(err, errors.ErrUnsupported) && os.Getenv("SOULBOX_CI") == "" {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
}

// binary returns the program under test.
func binary(t testing.TB) string {
	t.Helper()
	path := os.Getenv(binVariable)
	if path == "" {
		need(t, fmt.Errorf("%s names no program, see make build: %w", binVariable, errors.ErrUnsupported))
	}
	return path
}
