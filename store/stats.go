package store

import (
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Stats are a store's counts since it was opened.
type Stats struct {
	Syncs int64 // of the write-ahead log: with group commit, at most one for each acknowledged write
	Size  int64 // bytes on disk, the write-ahead log included
}

// Stats returns the counts of this moment, zeros once the store is closed.
func (s *Store) Stats() Stats {
	if s.enter() != nil {
		return Stats{}
	}
	defer s.users.Done()
	return Stats{Syncs: s.syncs.n.Load(), Size: int64(s.db.Metrics().DiskSpaceUsage())}
}

// syncFS counts the syncs of write-ahead logs, which Pebble itself counts for Prometheus only.
type syncFS struct {
	vfs.FS
	n atomic.Int64
}

// Create implements [vfs.FS].
func (fs *syncFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.Create(name, c)
	return fs.wrap(name, f), err
}

// ReuseForWrite implements [vfs.FS].
func (fs *syncFS) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.ReuseForWrite(from, to, c)
	return fs.wrap(to, f), err
}

// Unwrap returns the file system below.
func (fs *syncFS) Unwrap() vfs.FS { return fs.FS }

func (fs *syncFS) wrap(name string, f vfs.File) vfs.File {
	if f == nil || !strings.HasSuffix(name, ".log") {
		return f
	}
	return &syncFile{f, &fs.n}
}

type syncFile struct {
	vfs.File
	n *atomic.Int64
}

// Sync implements [vfs.File].
func (f *syncFile) Sync() error {
	f.n.Add(1)
	return f.File.Sync()
}

// SyncData implements [vfs.File].
func (f *syncFile) SyncData() error {
	f.n.Add(1)
	return f.File.SyncData()
}

// SyncTo implements [vfs.File].
func (f *syncFile) SyncTo(length int64) (full bool, err error) {
	f.n.Add(1)
	return f.File.SyncTo(length)
}
