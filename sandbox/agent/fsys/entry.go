package fsys

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/soulbox/soulbox/sandbox/agent/agentpb"
)

const (
	metadataPrefix = "user.e2b." // of the extended attributes that hold an upload's metadata
	maxAttrs       = 64 << 10    // bytes of attribute names and of one value, the kernel's own bounds
	maxMetadata    = 8 << 10     // bytes of one entry's metadata that are shown
)

// describe returns what lies at name, a single element, in dir. Its path is said to be shown.
func (a *actor) describe(dir *os.File, name, shown string) (*agentpb.EntryInfo, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT); err != nil {
		return nil, err
	}
	runtime.KeepAlive(dir)
	e := &agentpb.EntryInfo{
		Name: valid(path.Base(shown)), Path: valid(shown), Size: st.Size,
		Type: fileType(&st), Mode: st.Mode & 0o777, Permissions: goMode(st.Mode).String(),
		Owner: nameOf(a.names.users, st.Uid), Group: nameOf(a.names.groups, st.Gid),
		ModifiedTime: &timestamppb.Timestamp{Seconds: st.Mtim.Sec, Nanos: int32(st.Mtim.Nsec)},
	}
	switch {
	case isType(&st, unix.S_IFLNK):
		target, to := a.follow(shown)
		target = valid(target)
		e.SymlinkTarget = &target
		e.Type, e.Mode = fileType(&to), to.Mode&0o777
	case isType(&st, unix.S_IFREG), isType(&st, unix.S_IFDIR): // others have no user attributes
		e.Metadata = readMetadata(fdPath(dir) + "/" + name)
	}
	return e, nil
}

// follow returns where the link p leads in the end, and what is there. A link that leads nowhere leads to itself, to
// nothing.
func (a *actor) follow(p string) (string, unix.Stat_t) {
	real, exists, err := a.root.realPath(p)
	if err != nil || !exists {
		return p, unix.Stat_t{}
	}
	f, err := a.root.Open(real, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return p, unix.Stat_t{}
	}
	defer f.Close()
	st, err := stat(f)
	if err != nil {
		return p, unix.Stat_t{}
	}
	return real, st
}

func fileType(st *unix.Stat_t) agentpb.FileType {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return agentpb.FileType_FILE_TYPE_FILE
	case unix.S_IFDIR:
		return agentpb.FileType_FILE_TYPE_DIRECTORY
	case unix.S_IFLNK:
		return agentpb.FileType_FILE_TYPE_SYMLINK
	}
	return agentpb.FileType_FILE_TYPE_UNSPECIFIED
}

// goMode is a mode of the kernel's as package fs has it.
func goMode(m uint32) fs.FileMode {
	mode := fs.FileMode(m & 0o777)
	switch m & unix.S_IFMT {
	case unix.S_IFDIR:
		mode |= fs.ModeDir
	case unix.S_IFLNK:
		mode |= fs.ModeSymlink
	case unix.S_IFIFO:
		mode |= fs.ModeNamedPipe
	case unix.S_IFSOCK:
		mode |= fs.ModeSocket
	case unix.S_IFBLK:
		mode |= fs.ModeDevice
	case unix.S_IFCHR:
		mode |= fs.ModeDevice | fs.ModeCharDevice
	}
	if m&unix.S_ISUID != 0 {
		mode |= fs.ModeSetuid
	}
	if m&unix.S_ISGID != 0 {
		mode |= fs.ModeSetgid
	}
	if m&unix.S_ISVTX != 0 {
		mode |= fs.ModeSticky
	}
	return mode
}

// readMetadata returns an upload's metadata, without following a link in p's last place. What the caller may not read,
// and what is past the bounds, is left out.
func readMetadata(p string) map[string]string {
	n, err := unix.Llistxattr(p, nil)
	if err != nil || n <= 0 || n > maxAttrs {
		return nil
	}
	list := make([]byte, n)
	if n, err = unix.Llistxattr(p, list); err != nil {
		return nil // it grew meanwhile, or went
	}
	var metadata map[string]string
	left := maxMetadata
	for name := range bytes.SplitSeq(list[:n], []byte{0}) {
		key, ok := strings.CutPrefix(string(name), metadataPrefix)
		if !ok {
			continue
		}
		value := make([]byte, 256)
		n, err := unix.Lgetxattr(p, string(name), value)
		if errors.Is(err, unix.ERANGE) {
			value = make([]byte, left+1)
			n, err = unix.Lgetxattr(p, string(name), value)
		}
		if err != nil || len(key)+n > left {
			continue
		}
		left -= len(key) + n
		if metadata == nil {
			metadata = map[string]string{}
		}
		metadata[valid(key)] = valid(string(value[:n]))
	}
	return metadata
}
