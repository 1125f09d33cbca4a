package sandboxtest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/soulbox/soulbox/cgroups"
	"github.com/soulbox/soulbox/sandbox"
	"github.com/soulbox/soulbox/sandbox/wide"
)

// session is what Main got from its supervisor; tests of one process share it.
var session = sync.OnceValues(wide.Daemon)

// Main is a package's TestMain: it starts the test executable again in a wide namespace and runs the tests there, as
// root or as a plain user with subordinate ids. The exit status is that of the tests.
func Main(m *testing.M) {
	if len(os.Args) > 0 && os.Args[0] == wide.InnerName {
		os.Exit(wide.Inner(slog.New(slog.NewTextHandler(os.Stderr, nil))))
	}
	s, err := session()
	if err != nil {
		fail(err)
	}
	if s != nil {
		status := m.Run()
		// Prepared files and images belong to subordinate ids: outside, a plain user could not remove them.
		for _, name := range []string{cacheName, imagesName} {
			if err := os.RemoveAll(filepath.Join(s.StateDir, name)); err != nil {
				fail(err)
			}
		}
		os.Exit(status)
	}
	status, err := outside()
	if err != nil {
		fail(err)
	}
	os.Exit(status)
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "sandboxtest:", err)
	os.Exit(1)
}

// outside makes the wide namespace with a state directory of its own, which it removes afterwards.
func outside() (status int, err error) {
	ids, err := wide.Subordinate(os.Getuid())
	if err != nil {
		return 1, err
	}
	path, err := sandbox.LockFile(os.Getuid(), ids.UIDBase)
	if err != nil {
		return 1, err
	}
	lock, err := sandbox.OpenLockFile(path)
	if err != nil {
		return 1, err
	}
	defer lock.Close()
	dir, err := os.MkdirTemp("", "soulbox-test-")
	if err != nil {
		return 1, fmt.Errorf("make state directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.Setenv(treeVariable, fmt.Sprintf("sandboxtest-%d", os.Getpid())); err != nil {
		return 1, fmt.Errorf("name the cgroups: %w", err)
	}
	if err := cgroups.Settle(cgroups.Options{Name: treeName()}); err != nil {
		fmt.Fprintln(os.Stderr, "sandboxtest: cgroups are not settled:", err)
	}
	return wide.Run(context.Background(), wide.Options{Args: os.Args[1:], StateDir: filepath.Join(dir, "state"), Range: ids, Lock: lock})
}

// cacheName is the cache's directory in the state directory, when SOULBOX_CACHE_DIR names no other.
const cacheName = "cache"

// imagesName is the images' directory there.
const imagesName = "images"

// treeVariable tells the inside the name that outside chose.
const treeVariable = "SOULBOX_TEST_TREE"

// treeName is the same inside and outside, and differs between test processes that run at once: an engine reaps
// whatever it finds in its tree.
func treeName() string { return os.Getenv(treeVariable) }
