package images

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Ids of the accounts that a generated /etc/passwd names.
const (
	UserID   = 1000  // programs
	NobodyID = 65534 // whatever is not mapped
)

// HostOptions configure BuildHost. The zero value takes this machine's own files and names no language.
type HostOptions struct {
	Root      string   // the tree to take /usr and /etc from; default "/"
	UID, GID  int      // owner of what is made, best one that no sandbox maps; default: whoever makes it
	Languages []string // names of the languages that get a mountpoint in [LangDir]

	// Session makes the lower layer of root file systems that sandboxes write to, in place of one that all share: with
	// directories open to all, a home for the user, and what logins and setuid programs look for.
	Session bool
}

// RootFS is a tree that sandboxes see as /, read-only. It is immutable and safe for concurrent use.
type RootFS struct {
	Dir    string        // holds the skeleton: mountpoints, links and generated files
	Mounts []specs.Mount // what belongs on top of it, in order

	source string // the tree that Mounts come from
	whole  bool   // all of the tree is there, not only what is mounted
	search string // where programs are looked up; empty: SearchPath
}

// hostDirs are the directories of the skeleton and their modes: mountpoints, and what programs expect to find. What a
// slot keeps private (/work, /tmp, /dev/shm) is mounted there later, and so are the channel and SoulBox's programs. None
// is open to all: the tree is shared, and read-only mounts are no protection from a sandbox's own root.
func hostDirs(languages []string) []string {
	dirs := []string{
		"usr", "etc", "proc", "sys", "dev", "tmp", "run", "work", "var", "var/tmp", "home", "root", "mnt", "srv",
		SoulDir[1:], SoulBinDir[1:], "opt", "opt/soulbox", ToolsDir[1:], LangDir[1:],
	}
	for _, l := range languages {
		dirs = append(dirs, path.Join(LangDir, l)[1:])
	}
	return dirs
}

// topLinks are the names at the top that are links into /usr on a host with a merged /usr, and directories of their own
// on others.
func topLinks() []string {
	return []string{"bin", "sbin", "lib", "lib32", "lib64", "libx32"}
}

// BuildHost makes a root file system from the machine's own /usr, which is mounted, and of its /etc, of which a list of
// harmless files is copied and the rest is generated. dir must be empty or absent and is the caller's to remove, after
// an error too. Nothing else of the host gets into the tree.
func BuildHost(ctx context.Context, dir string, o HostOptions) (_ *RootFS, err error) {
	if o.Root == "" {
		o.Root = "/"
	}
	if err := emptyDir(dir); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open root file system: %w", err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	rfs := &RootFS{Dir: dir, source: o.Root}
	if err := rfs.top(root, o); err != nil {
		return nil, fmt.Errorf("make root file system in %s: %w", dir, err)
	}
	if err := copyEtc(ctx, filepath.Join(o.Root, "etc"), root); err != nil {
		return nil, fmt.Errorf("copy host's etc into %s: %w", dir, err)
	}
	write := writeEtc
	if o.Session {
		write = writeSession
	}
	if err := write(root); err != nil {
		return nil, fmt.Errorf("generate etc in %s: %w", dir, err)
	}
	if err := own(ctx, root, o.UID, o.GID); err != nil {
		return nil, fmt.Errorf("hand root file system in %s to its owner: %w", dir, err)
	}
	return rfs, nil
}

// emptyDir makes sure that dir is there, empty and open to all.
func emptyDir(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make root file system: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("make root file system: %w", err)
	}
	if len(entries) > 0 {
		return fmt.Errorf("make root file system: %s is not empty", dir)
	}
	return nil
}

// top makes directories and links at the top and decides what is mounted.
func (r *RootFS) top(root *os.Root, o HostOptions) error {
	for _, d := range hostDirs(o.Languages) {
		if err := mkdir(root, d); err != nil {
			return err
		}
	}
	r.Mounts = append(r.Mounts, bindReadOnly(filepath.Join(o.Root, "usr"), "/usr"))
	for _, name := range topLinks() {
		source := filepath.Join(o.Root, name)
		info, err := os.Lstat(source)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return fmt.Errorf("look at host's directory: %w", err)
		case info.IsDir():
			if err := mkdir(root, name); err != nil {
				return err
			}
			r.Mounts = append(r.Mounts, bindReadOnly(source, "/"+name))
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(source)
			if err != nil {
				return fmt.Errorf("read host's link: %w", err)
			}
			if clean := path.Join("/", target); !strings.HasPrefix(clean, "/usr/") {
				continue
			}
			if err := root.Symlink(target, name); err != nil {
				return fmt.Errorf("make link: %w", err)
			}
		}
	}
	return nil
}

// bindReadOnly is a bind mount of a directory of the host, with what is mounted below.
func bindReadOnly(source, destination string) specs.Mount {
	return specs.Mount{
		Type: "bind", Source: source, Destination: destination,
		Options: []string{"rbind", "ro", "nosuid", "nodev"},
	}
}

// mkdir makes one directory that everybody can read, whatever the umask.
func mkdir(root *os.Root, name string) error {
	if err := root.Mkdir(name, 0o755); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	if err := root.Chmod(name, 0o755); err != nil {
		return fmt.Errorf("open directory to all: %w", err)
	}
	return nil
}

// own gives all of root to an owner. Links are changed, not followed.
func own(ctx context.Context, root *os.Root, uid, gid int) error {
	if uid == 0 && gid == 0 {
		return nil // whoever made it is root there
	}
	return fs.WalkDir(root.FS(), ".", func(name string, _ fs.DirEntry, err error) error {
		if err := errors.Join(err, context.Cause(ctx)); err != nil {
			return fmt.Errorf("walk root file system: %w", err)
		}
		if err := root.Lchown(name, uid, gid); err != nil {
			return fmt.Errorf("change owner: %w", err)
		}
		return nil
	})
}

// Lookup finds a program, or any file, as a sandbox with this root file system sees it: by absolute path, or by name in
// [SearchPath]. Only what lies in mounted directories is found.
func (r *RootFS) Lookup(name string) (string, bool) {
	if path.IsAbs(name) {
		_, ok := r.resolve(name)
		return name, ok
	}
	if name == "" || strings.Contains(name, "/") {
		return "", false
	}
	for _, dir := range strings.Split(cmp.Or(r.search, SearchPath), ":") {
		if !path.IsAbs(dir) {
			continue
		}
		if info, ok := r.resolve(path.Join(dir, name)); ok && info.Mode().IsRegular() && info.Mode()&0o001 != 0 {
			return path.Join(dir, name), true
		}
	}
	return "", false
}

// resolve follows name as if the source tree were /, and finds what lies in a mounted directory in the end.
func (r *RootFS) resolve(name string) (fs.FileInfo, bool) {
	const maxLinks = 40
	done, rest := "/", strings.Split(path.Clean(name)[1:], "/")
	for links := 0; len(rest) > 0; {
		next := path.Join(done, rest[0])
		target, err := os.Readlink(filepath.Join(r.source, next))
		if err != nil { // no link, or nothing at all: the last look decides
			done, rest = next, rest[1:]
			continue
		}
		if links++; links > maxLinks {
			return nil, false
		}
		if !path.IsAbs(target) {
			target = path.Join(done, target)
		}
		done, rest = "/", append(strings.Split(path.Clean(target)[1:], "/"), rest[1:]...)
	}
	top, _, _ := strings.Cut(done[1:], "/")
	if !r.whole && top != "usr" && !slices.Contains(topLinks(), top) {
		return nil, false
	}
	info, err := os.Lstat(filepath.Join(r.source, done))
	return info, err == nil
}
