package assets

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"

	"github.com/klauspost/compress/zstd"
)

// The names of the embedded programs, for [Open].
const (
	Helper    = "helper"    // what needs cgo: libcontainer and libseccomp
	Agent     = "agent"     // PID 1 of a sandbox
	Launcher  = "launcher"  // PID 1 of a slot
	Transpile = "transpile" // TypeScript to JavaScript, runs inside slots
	Ready     = "ready"     // prints "ready\n" and exits 0
)

// MaxSize bounds what one program may unpack to, in bytes: the embedded files are ours, but a broken one must not
// take the host's memory.
const MaxSize = 256 << 20

// ErrNotBuilt is in the error of [Open] where soulbox was compiled without its embedded programs. It is also
// [fs.ErrNotExist].
var ErrNotBuilt error = notBuilt{}

type notBuilt struct{}

func (notBuilt) Error() string {
	return "this soulbox was built without its embedded programs; build it with `make build`"
}

func (notBuilt) Is(target error) bool { return target == fs.ErrNotExist }

//go:embed all:bin
var bin embed.FS

// Open returns the program of that name, unpacked. The caller owns the bytes.
func Open(name string) ([]byte, error) { return open(bin, name) }

// Digest returns a SHA-256 in hexadecimal over the programs that [Names] lists: equal digests mean equal programs.
func Digest() (string, error) { return digest(bin) }

// Names lists the programs that can be opened, in the order of their use.
func Names() []string { return []string{Helper, Agent, Launcher, Transpile, Ready} }

func file(name string) string { return "bin/" + name + ".zst" }

func open(files fs.FS, name string) ([]byte, error) {
	packed, err := fs.ReadFile(files, file(name))
	if errors.Is(err, fs.ErrNotExist) {
		err = ErrNotBuilt
	}
	if err != nil {
		return nil, fmt.Errorf("open embedded program %q: %w", name, err)
	}
	// One goroutine: a program is unpacked once per start, and the decoder must not leave workers behind.
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(MaxSize))
	if err != nil {
		return nil, fmt.Errorf("make a zstd decoder: %w", err)
	}
	defer d.Close()
	program, err := d.DecodeAll(packed, nil)
	if err != nil {
		return nil, fmt.Errorf("unpack embedded program %q: %w", name, err)
	}
	return program, nil
}

func digest(files fs.FS) (string, error) {
	h := sha256.New()
	for _, name := range Names() {
		packed, err := fs.ReadFile(files, file(name))
		if errors.Is(err, fs.ErrNotExist) {
			err = ErrNotBuilt
		}
		if err != nil {
			return "", fmt.Errorf("read embedded program %q: %w", name, err)
		}
		// The length first, so that no two sets of programs give the same bytes. A hash never returns an error.
		fmt.Fprintf(h, "%s %d\n", name, len(packed))
		h.Write(packed)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
