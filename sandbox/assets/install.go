package assets

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// Runsc is gVisor's runtime. It is too large to be unpacked at each start, so it is no program for [Open]: [Install] puts it
// on disk once.
const Runsc = "runsc"

// Has tells whether [Install] has a program of that name to install.
func Has(name string) bool {
	_, err := installedDigest(bin, name)
	return err == nil
}

// Install returns the path of a program below dir, named by its digest. It unpacks it there when it is not there yet, or
// is not what it should be. Whoever finds the file finds all of it: several processes may install at once.
func Install(name, dir string) (string, error) { return install(bin, name, dir) }

func install(files fs.FS, name, dir string) (_ string, err error) {
	want, err := installedDigest(files, name)
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, name+"-"+want)
	switch have, err := fileDigest(path); {
	case err == nil && have == want:
		return path, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make directory for %s: %w", name, err)
	}
	f, err := os.CreateTemp(dir, "."+name+"-*")
	if err != nil {
		return "", fmt.Errorf("install %s: %w", name, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	have, err := unpack(files, name, f)
	if err == nil && have != want {
		err = fmt.Errorf("embedded program %q has the digest %s instead of %s", name, have, want)
	}
	// On disk before it has its name: after a loss of power the name must not stand for less.
	if err = errors.Join(err, f.Chmod(0o755), f.Sync(), f.Close()); err != nil {
		return "", fmt.Errorf("install %s: %w", name, err)
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return "", fmt.Errorf("install %s: %w", name, err)
	}
	return path, nil
}

// installedDigest is the SHA-256 of a program, unpacked, as it was packed.
func installedDigest(files fs.FS, name string) (string, error) {
	sum, err := fs.ReadFile(files, "bin/"+name+".sha256")
	if errors.Is(err, fs.ErrNotExist) {
		err = ErrNotBuilt
	}
	if err != nil {
		return "", fmt.Errorf("read digest of embedded program %q: %w", name, err)
	}
	return strings.TrimSpace(string(sum)), nil
}

// unpack writes a program to w and returns its digest.
func unpack(files fs.FS, name string, w io.Writer) (string, error) {
	packed, err := files.Open(file(name))
	if errors.Is(err, fs.ErrNotExist) {
		err = ErrNotBuilt
	}
	if err != nil {
		return "", fmt.Errorf("open embedded program %q: %w", name, err)
	}
	defer packed.Close()
	d, err := zstd.NewReader(packed, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(MaxSize))
	if err != nil {
		return "", fmt.Errorf("make a zstd decoder: %w", err)
	}
	defer d.Close()
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(w, h), d); err != nil {
		return "", fmt.Errorf("unpack embedded program %q: %w", name, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// fileDigest is the SHA-256 of a file.
func fileDigest(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("look for an installed program: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("read an installed program: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
