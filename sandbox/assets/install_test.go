package assets

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

func TestInstall(t *testing.T) {
	program := bytes.Repeat([]byte("sentry\x00"), 100_000)
	sum := sha256.Sum256(program)
	digest := hex.EncodeToString(sum[:])
	files := fstest.MapFS{"bin/runsc.zst": pack(t, program), "bin/runsc.sha256": {Data: []byte(digest + "\n")}}
	dir := filepath.Join(t.TempDir(), "new")
	first, err := install(files, Runsc, dir)
	if err != nil {
		t.Fatal(err)
	}
	check := func(when string) os.FileInfo {
		t.Helper()
		got, err := os.ReadFile(first)
		if err != nil || !bytes.Equal(got, program) {
			t.Fatalf("%s: %s has %d bytes, %v, want the program", when, first, len(got), err)
		}
		info, err := os.Stat(first)
		if err != nil || info.Mode().Perm() != 0o755 {
			t.Fatalf("%s: stat = %v, %v, want mode 0755", when, info, err)
		}
		return info
	}
	before := check("first")
	if !strings.Contains(filepath.Base(first), digest) {
		t.Errorf("install = %s, want a name with the digest %s", first, digest)
	}
	if again, err := install(files, Runsc, dir); err != nil || again != first {
		t.Errorf("install again = %q, %v, want %q", again, err, first)
	}
	if !os.SameFile(before, check("again")) {
		t.Error("install replaced a program that was right")
	}
	if err := os.WriteFile(first, program[:1000], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := install(files, Runsc, dir); err != nil {
		t.Fatal(err)
	}
	check("after it was cut off")
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("%v (%v) lie in the directory, want one file", entries, err)
	}
}

func TestInstallFails(t *testing.T) {
	program := pack(t, []byte("program"))
	for name, files := range map[string]fstest.MapFS{
		"another digest": {"bin/runsc.zst": program, "bin/runsc.sha256": {Data: []byte("00\n")}},
		"no zstd":        {"bin/runsc.zst": {Data: []byte("no zstd")}, "bin/runsc.sha256": {Data: []byte("00\n")}},
		"cut off":        {"bin/runsc.zst": {Data: program.Data[:8]}, "bin/runsc.sha256": {Data: []byte("00\n")}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if path, err := install(files, Runsc, dir); err == nil || errors.Is(err, ErrNotBuilt) {
				t.Errorf("install = %q, %v, want another error than %v", path, err, ErrNotBuilt)
			}
			if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
				t.Errorf("%v (%v) lie in the directory, want nothing", entries, err)
			}
		})
	}
	for _, files := range []fstest.MapFS{{}, {"bin/runsc.sha256": {Data: []byte("00\n")}}} {
		if _, err := install(files, Runsc, t.TempDir()); !errors.Is(err, ErrNotBuilt) {
			t.Errorf("install of what is not embedded: %v, want %v", err, ErrNotBuilt)
		}
	}
}
