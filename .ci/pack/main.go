// Command pack compresses programs into the directory that soulbox embeds.
//
//	pack [-sum] -o DIR NAME=FILE...
//
// Each FILE becomes DIR/NAME.zst. The same bytes in give the same bytes out, and a file that already unpacks to the
// right bytes is not touched, so that nothing is compiled again for it. With -sum DIR/NAME.sha256 has the digest of the
// bytes that come out.
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"
)

func main() {
	dir := flag.String("o", "", "the `directory` to write to")
	sum := flag.Bool("sum", false, "write digests too")
	flag.Parse()
	if *dir == "" || flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "usage: pack [-sum] -o DIR NAME=FILE...")
		os.Exit(2)
	}
	for _, arg := range flag.Args() {
		name, file, ok := strings.Cut(arg, "=")
		if !ok {
			fmt.Fprintf(os.Stderr, "pack: %q is not NAME=FILE\n", arg)
			os.Exit(2)
		}
		err := pack(filepath.Join(*dir, name+".zst"), file)
		if err == nil && *sum {
			err = digest(filepath.Join(*dir, name+".sha256"), file)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "pack:", err)
			os.Exit(1)
		}
	}
}

// pack compresses the file named from into the file named to.
func pack(to, from string) error {
	program, err := os.ReadFile(from)
	if err != nil {
		return fmt.Errorf("read program: %w", err)
	}
	same, err := unpacksTo(to, program)
	if err != nil || same {
		return err
	}
	// One goroutine: how the input is cut into blocks must not depend on the machine.
	e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedBetterCompression))
	if err != nil {
		return fmt.Errorf("make a zstd encoder: %w", err)
	}
	packed := e.EncodeAll(program, nil)
	if err := e.Close(); err != nil {
		return fmt.Errorf("compress %s: %w", from, err)
	}
	if err := replace(to, filepath.Dir(from), packed); err != nil {
		return err
	}
	fmt.Printf("%s: %d bytes, %d packed\n", to, len(program), len(packed))
	return nil
}

// digest writes the SHA-256 of the file named from, in hexadecimal, into the file named to, unless it stands there.
func digest(to, from string) error {
	program, err := os.ReadFile(from)
	if err != nil {
		return fmt.Errorf("read program: %w", err)
	}
	sum := sha256.Sum256(program)
	want := []byte(hex.EncodeToString(sum[:]) + "\n")
	if have, err := os.ReadFile(to); err == nil && bytes.Equal(have, want) {
		return nil
	}
	return replace(to, filepath.Dir(from), want)
}

// unpacksTo tells whether the file is there and holds want. A file that does not unpack is only old.
func unpacksTo(file string, want []byte) (bool, error) {
	packed, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read what was packed before: %w", err)
	}
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return false, fmt.Errorf("make a zstd decoder: %w", err)
	}
	defer d.Close()
	have, err := d.DecodeAll(packed, nil)
	return err == nil && bytes.Equal(have, want), nil
}

// replace writes a file whole or not at all: a build that is interrupted must not leave half a program to embed. The
// new file grows in scratch, on the same file system: in the embedded directory a compiler could pick it up.
func replace(file, scratch string, content []byte) (err error) {
	f, err := os.CreateTemp(scratch, ".pack-*")
	if err != nil {
		return fmt.Errorf("make a temporary file: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(content)
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", f.Name(), err)
	}
	if err := os.Rename(f.Name(), file); err != nil {
		return fmt.Errorf("put %s in place: %w", file, err)
	}
	return nil
}
