package images

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
)

// Bounds of what is copied of the host's /etc.
const (
	maxEtcFile  = 8 << 20  // bytes of one file
	maxEtcBytes = 64 << 20 // bytes in all
	maxEtcFiles = 20000
)

// etcPatterns are what a root file system needs of the host's /etc, as globs below it. Directories are copied whole.
func etcPatterns() []string {
	return []string{
		"alternatives",                                           // /usr/bin/java and its like are links there
		"ld.so.cache", "ld.so.conf", "ld.so.conf.d", "ld-musl-*", // the dynamic loader
		"java*", // security policy: files of the JDK are links there
		"php/*/cli", "php/*/mods-available", "php.ini", "php.d",
		"python3*", "ruby*", "gemrc",
		"ssl/certs", "ssl/openssl.cnf", "ca-certificates", "ca-certificates.conf", "crypto-policies",
		"pki/tls/certs", "pki/tls/openssl.cnf", "pki/ca-trust/extracted", "pki/java",
		"localtime", "timezone", "mime.types", "magic", "magic.mime",
		"gai.conf", "protocols", "services", "rpc", "host.conf",
		"os-release", "debian_version", "lsb-release", "locale.alias",
	}
}

// etcCopier copies harmless files of the host's /etc.
type etcCopier struct {
	ctx   context.Context
	src   *os.Root // the host's /etc
	dst   *os.Root // the new root file system
	files int
	bytes int64
}

// copyEtc copies what [etcPatterns] name: directories, links that stay inside, and regular files that everybody can
// read and that hold no private key. Everything else is left out in silence, it is not needed.
func copyEtc(ctx context.Context, etc string, dst *os.Root) (err error) {
	src, err := os.OpenRoot(etc)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open host's etc: %w", err)
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	c := etcCopier{ctx: ctx, src: src, dst: dst}
	for _, pattern := range etcPatterns() {
		names, err := filepath.Glob(filepath.Join(escapeGlob(etc), pattern))
		if err != nil {
			return fmt.Errorf("list %s: %w", pattern, err)
		}
		for _, name := range names {
			rel, err := filepath.Rel(etc, name)
			if err != nil {
				return fmt.Errorf("list %s: %w", pattern, err)
			}
			if err := c.copyTop(rel); err != nil {
				return err
			}
		}
	}
	return nil
}

// escapeGlob quotes what filepath.Match gives a meaning to.
func escapeGlob(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(s)
}

// copyTop copies name once the directories above it are made, provided that everybody may go through them.
func (c *etcCopier) copyTop(name string) error {
	for i, r := range name {
		if r != '/' {
			continue
		}
		info, err := c.src.Lstat(name[:i])
		if err != nil || !info.IsDir() || info.Mode()&0o001 == 0 {
			return nil //nolint:nilerr // what cannot be read is left out
		}
		if err := mkdir(c.dst, path.Join("etc", name[:i])); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return c.copy(name)
}

// copy copies name, a path below /etc, by what it is.
func (c *etcCopier) copy(name string) error {
	if err := context.Cause(c.ctx); err != nil {
		return fmt.Errorf("copy %s: %w", name, err)
	}
	if _, err := c.dst.Lstat(path.Join("etc", name)); err == nil && !strings.Contains(name, "/") {
		return nil // named by two patterns
	}
	if c.files++; c.files > maxEtcFiles {
		return fmt.Errorf("copy %s: more than %d files", name, maxEtcFiles)
	}
	info, err := c.src.Lstat(name)
	if err != nil {
		return ignoreGone(fmt.Errorf("look at %s: %w", name, err))
	}
	switch {
	case path.Base(name) == "private" || path.Ext(name) == ".key":
		return nil
	case info.IsDir():
		return c.copyDir(name, info)
	case info.Mode()&fs.ModeSymlink != 0:
		return c.copyLink(name)
	case info.Mode().IsRegular():
		return c.copyFile(name)
	}
	return nil // sockets, pipes, devices
}

func (c *etcCopier) copyDir(name string, info fs.FileInfo) error {
	if info.Mode()&0o005 != 0o005 {
		return nil
	}
	if err := mkdir(c.dst, path.Join("etc", name)); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	dir, err := c.src.Open(name)
	if err != nil {
		return ignoreGone(fmt.Errorf("open %s: %w", name, err))
	}
	names, err := dir.Readdirnames(-1)
	if err := errors.Join(err, dir.Close()); err != nil {
		return fmt.Errorf("list %s: %w", name, err)
	}
	for _, n := range names {
		if err := c.copy(path.Join(name, n)); err != nil {
			return err
		}
	}
	return nil
}

// copyLink copies a link whose target lies, by its text, in /usr or in a part of /etc that is copied as well: another
// one would be dangling, and tell where the host keeps its things.
func (c *etcCopier) copyLink(name string) error {
	target, err := c.src.Readlink(name)
	if err != nil {
		return ignoreGone(fmt.Errorf("read link %s: %w", name, err))
	}
	if !keepsInside(name, target) {
		return nil
	}
	if err := c.dst.Symlink(target, path.Join("etc", name)); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make link %s: %w", name, err)
	}
	return nil
}

// keepsInside tells whether a link of /etc leads to /usr or to what [etcPatterns] names.
func keepsInside(name, target string) bool {
	if !path.IsAbs(target) {
		target = path.Join("/etc", path.Dir(name), target)
	}
	target = path.Clean(target)
	if strings.HasPrefix(target, "/usr/") {
		return true
	}
	rest, ok := strings.CutPrefix(target, "/etc/")
	if !ok {
		return false
	}
	parts := strings.Split(rest, "/")
	for _, pattern := range etcPatterns() {
		n := strings.Count(pattern, "/") + 1
		if len(parts) < n {
			continue
		}
		if ok, _ := path.Match(pattern, strings.Join(parts[:n], "/")); ok { // the patterns are well formed
			return true
		}
	}
	return false
}

func (c *etcCopier) copyFile(name string) (err error) {
	// What is at name now may be no regular file any more: open it without waiting, and look again.
	f, err := c.src.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrPermission) {
		return nil
	}
	if err != nil {
		return ignoreGone(fmt.Errorf("open %s: %w", name, err))
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("look at %s: %w", name, err)
	}
	if !info.Mode().IsRegular() || info.Mode()&0o004 == 0 || info.Size() > maxEtcFile {
		return nil
	}
	data, err := io.ReadAll(io.LimitReader(f, maxEtcFile))
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	if bytes.Contains(data, []byte("PRIVATE KEY-----")) {
		return nil
	}
	if c.bytes += int64(len(data)); c.bytes > maxEtcBytes {
		return fmt.Errorf("copy %s: more than %d bytes", name, maxEtcBytes)
	}
	return writeFile(c.dst, path.Join("etc", name), data, 0o644|info.Mode()&0o111)
}

// ignoreGone drops the error of a file that vanished while its directory was read.
func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// writeFile makes a file that was not there.
func writeFile(root *os.Root, name string, data []byte, mode fs.FileMode) error {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return fmt.Errorf("create file: %w", err)
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Chmod(mode), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// writeEtc writes the files of /etc that name users and hosts: the host's own are nobody's business inside.
func writeEtc(root *os.Root) error {
	for _, f := range []struct{ name, data string }{
		{"passwd", "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/work:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"},
		{"group", "root:x:0:\nuser:x:1000:\nnogroup:x:65534:\n"},
		{"hosts", "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"},
		{"hostname", "localhost\n"},
		{"resolv.conf", ""},
		{"nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\nnetworks: files\nprotocols: files\nservices: files\n"},
	} {
		if err := writeFile(root, path.Join("etc", f.name), []byte(f.data), 0o644); err != nil {
			return err
		}
	}
	if err := root.Symlink("../proc/self/mounts", "etc/mtab"); err != nil {
		return fmt.Errorf("make link: %w", err)
	}
	return nil
}
