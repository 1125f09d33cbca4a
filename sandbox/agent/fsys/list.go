package fsys

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"

	"connectrpc.com/connect"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/soulbox/soulbox/sandbox/agent/agentpb"
)

const (
	maxEntries   = 1 << 15 // in one listing
	maxListing   = 8 << 20 // bytes of one listing, as protobuf has them
	readdirBatch = 512     // names read from a directory at once
)

// listing is a ListDir on its way.
type listing struct {
	*actor
	ctx     context.Context
	base    *os.File
	shown   string // the path that was asked for
	depth   uint32
	entries []*agentpb.EntryInfo
	count   int // of entries, those included that are still to be put in their place
	bytes   int
}

// list is ListDir: the entries below p in lexical order, each directory before what it holds.
func (a *actor) list(ctx context.Context, p string, depth uint32) ([]*agentpb.EntryInfo, error) {
	at, err := a.root.Open(p, unix.O_PATH)
	if err != nil {
		return nil, a.missingDir(p, err)
	}
	defer at.Close()
	if err := requireDir(at, p); err != nil {
		return nil, err
	}
	l := &listing{actor: a, ctx: ctx, base: at, shown: p, depth: cmp.Or(depth, 1)}
	if err := l.walk(".", 1); err != nil {
		return nil, explain("list", p, err)
	}
	return l.entries, nil
}

func (a *actor) missingDir(p string, err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return &fault{connect.CodeNotFound, fmt.Sprintf("directory not found: %s", p), err}
	}
	return explain("open directory", p, err)
}

// requireDir fails when f is not open on a directory.
func requireDir(f *os.File, p string) error {
	st, err := stat(f)
	if err != nil {
		return explain("look at", p, err)
	}
	if !isType(&st, unix.S_IFDIR) {
		return newFault(connect.CodeInvalidArgument, fmt.Sprintf("path is not a directory: %s", p))
	}
	return nil
}

// walk lists rel, which lies level-1 levels below the base. No descriptor is held while it goes deeper.
func (l *listing) walk(rel string, level uint32) error {
	here, err := l.read(rel)
	if errors.Is(err, unix.ENAMETOOLONG) {
		return errTooDeep
	}
	if level > 1 && passOver(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range here {
		l.entries = append(l.entries, e.info)
		if level < l.depth && e.info.Type == agentpb.FileType_FILE_TYPE_DIRECTORY && e.info.SymlinkTarget == nil {
			if err := l.walk(path.Join(rel, e.name), level+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// passOver tells whether a directory below the one that was asked for is left out: it may not be read, or is no longer
// what it was.
func passOver(err error) bool {
	for _, e := range []error{unix.EACCES, unix.EPERM, unix.ENOENT, unix.ENOTDIR, unix.ELOOP} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// listed is an entry with its name as the kernel has it.
type listed struct {
	name string
	info *agentpb.EntryInfo
}

// read describes what the directory rel holds.
func (l *listing) read(rel string) ([]listed, error) {
	dir, err := openBelow(l.base, rel, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, resolveNoLinks)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	found, err := readNames(l.ctx, dir, maxEntries-l.count)
	if err != nil {
		return nil, err
	}
	l.count += len(found)
	here := make([]listed, 0, len(found))
	for i, name := range found {
		if i%readdirBatch == 0 && l.ctx.Err() != nil {
			return nil, context.Cause(l.ctx)
		}
		e, err := l.describe(dir, name, path.Join(l.shown, rel, name))
		if errors.Is(err, unix.ENOENT) {
			continue // removed meanwhile
		} else if err != nil {
			return nil, err
		}
		if l.bytes += proto.Size(e); l.bytes > maxListing {
			return nil, errTooMany
		}
		here = append(here, listed{name, e})
	}
	return here, nil
}

// readNames returns what dir holds, sorted; more than limit names are errTooMany.
func readNames(ctx context.Context, dir *os.File, limit int) ([]string, error) {
	var all []string
	for {
		batch, err := dir.Readdirnames(readdirBatch)
		all = append(all, batch...)
		switch {
		case len(all) > limit:
			return nil, errTooMany
		case errors.Is(err, io.EOF):
			slices.Sort(all)
			return all, nil
		case err != nil:
			return nil, err
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		}
	}
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
