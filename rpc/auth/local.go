package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

const (
	localKeyFile = "cli.key"
	localKeyNew  = "cli.key.new" // what a crash can leave of a key being written
	localLabel   = "command line on this machine"
)

// ErrNoLocalKey is what [ReadLocalKey] answers when there is no file.
var ErrNoLocalKey = errors.New("no API key of this machine")

// EnsureLocalKey sees to it that the file cli.key in dir, readable by its owner only, holds a good key of
// DefaultTenant, and makes one at the first start. A file whose key is unknown, as after a revocation or a new store,
// is replaced; one that others can read, or that is damaged, is an error. One process at a time may call it for dir.
func EnsureLocalKey(ctx context.Context, dir string, keys *Keys) error {
	s, err := ReadLocalKey(dir)
	if err == nil {
		_, err = keys.Check(ctx, s)
	}
	if err == nil || !errors.Is(err, ErrNoLocalKey) && !errors.Is(err, ErrKeyNotFound) {
		return err
	}
	// The file comes first: a crash in between leaves a file with an unknown key, which the next start replaces,
	// and not a key that nobody has.
	s = generate()
	if err := writeLocalKey(dir, s); err != nil {
		return fmt.Errorf("write %s in %s: %w", localKeyFile, dir, err)
	}
	_, err = keys.add(ctx, DefaultTenant, localLabel, s)
	return err
}

func writeLocalKey(dir string, s Secret) (err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	if err := root.Remove(localKeyNew); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := root.OpenFile(localKeyNew, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, s.Reveal()+"\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := root.Rename(localKeyNew, localKeyFile); err != nil {
		return err
	}
	d, err := root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// ReadLocalKey returns the key that a daemon with the state directory dir left for the command line, or [ErrNoLocalKey].
func ReadLocalKey(dir string) (_ Secret, err error) {
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return Secret{}, fmt.Errorf("%w in %s", ErrNoLocalKey, dir)
	} else if err != nil {
		return Secret{}, fmt.Errorf("open state directory: %w", err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	info, err := root.Lstat(localKeyFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Secret{}, fmt.Errorf("%w in %s", ErrNoLocalKey, dir)
	case err != nil:
		return Secret{}, fmt.Errorf("read API key of this machine: %w", err)
	case !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0:
		return Secret{}, fmt.Errorf("%s/%s is %s: it must be a file that only its owner can read; remove it and restart the daemon",
			dir, localKeyFile, info.Mode())
	}
	b, err := root.ReadFile(localKeyFile)
	if err != nil {
		return Secret{}, fmt.Errorf("read API key of this machine: %w", err)
	}
	key := strings.TrimSuffix(string(b), "\n")
	if !wellFormed(key) {
		return Secret{}, fmt.Errorf("%s/%s holds no API key: remove it and restart the daemon", dir, localKeyFile)
	}
	return Secret{key}, nil
}

// wellFormed tells whether s looks like a key that generate makes.
func wellFormed(s string) bool {
	digits, ok := strings.CutPrefix(s, secretPrefix)
	return ok && len(digits) == 2*secretBytes && strings.Trim(digits, "0123456789abcdef") == ""
}
