package store

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// The errors that callers can tell apart.
var (
	ErrNotFound = errors.New("no such row")
	ErrExists   = errors.New("row exists")
	ErrClosed   = errors.New("store is closed")
	ErrCursor   = errors.New("cursor is not one of this listing")
	ErrTooLarge = errors.New("value is too large")
	ErrLocked   = errors.New("store is in use by another process")
	ErrSchema   = errors.New("store has another schema version")
)

// Options configure [Open]. The zero value is usable.
type Options struct {
	FS       vfs.FS       // default: the host's file system
	Logger   *slog.Logger // default: discard; what Pebble says of its routine goes to level debug
	Schema   uint32       // version of the caller's tables; default 1
	MaxValue int          // bytes of one encoded row; default 256 MiB
}

func (o Options) withDefaults() Options {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Schema = cmp.Or(o.Schema, 1)
	o.MaxValue = cmp.Or(o.MaxValue, 256<<20)
	return o
}

// Store is an open database. Its methods are safe for concurrent use.
type Store struct {
	dir      string
	db       *pebble.DB
	maxValue int
	syncs    *syncFS
	locks    locks

	users sync.WaitGroup // operations under way

	mu     sync.Mutex
	tables map[string]bool // names taken by NewTable
	closed bool
}

// schemaKey holds the schema version. It sorts before every table's keys, whose names are not empty.
const schemaKey = "\x00schema"

// Open opens the store in dir, making it with mode 0700 if it is absent. One process at a time can hold it
// ([ErrLocked]); a store written under another schema version is refused ([ErrSchema]). The caller closes the Store.
func Open(dir string, o Options) (_ *Store, err error) {
	o = o.withDefaults()
	if err := makeDir(o.FS, dir); err != nil {
		return nil, err
	}
	lock, err := pebble.LockDirectory(dir, o.FS)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w: %w", filepath.Join(dir, "LOCK"), ErrLocked, err)
	}
	opts := pebbleOptions(o)
	syncs := &syncFS{FS: o.FS}
	opts.FS, opts.Lock = syncs, lock
	db, err := pebble.Open(dir, opts)
	// Pebble takes a reference of its own, so that ours ends here in either case.
	if lerr := lock.Close(); err == nil && lerr != nil {
		err = errors.Join(fmt.Errorf("release lock of %s: %w", dir, lerr), db.Close())
	}
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", dir, err)
	}
	s := &Store{dir: dir, db: db, maxValue: o.MaxValue, syncs: syncs, tables: map[string]bool{}}
	if err := s.checkSchema(o.Schema); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// makeDir makes dir and syncs the parent of every directory it made: a store whose directory vanishes in a crash has
// forgotten what it acknowledged. dir's own parent is synced in any case, it may be a crash that made dir be there.
func makeDir(fs vfs.FS, dir string) error {
	parents := []string{fs.PathDir(dir)}
	for p := parents[0]; p != fs.PathDir(p); p = fs.PathDir(p) {
		if _, err := fs.Stat(p); err == nil {
			break
		}
		parents = append(parents, fs.PathDir(p))
	}
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make store directory %s: %w", dir, err)
	}
	for _, p := range parents {
		f, err := fs.OpenDir(p)
		if err != nil {
			return fmt.Errorf("open %s to sync %s: %w", p, dir, err)
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return fmt.Errorf("sync %s above %s: %w", p, dir, err)
		}
	}
	return nil
}

// pebbleOptions are chosen for a lean daemon: 4 MiB memtables (at most two before writes wait) and an 8 MiB block
// cache, about 20 MiB in all. A batch above half a memtable bypasses it, so large values cost their own size only while
// they are written. Blocks are compressed with Snappy, Pebble's default and pure Go, which is cheap on the small records
// that are the rule.
func pebbleOptions(o Options) *pebble.Options {
	opts := &pebble.Options{
		FS:                          o.FS,
		Logger:                      quietLogger{o.Logger},
		FormatMajorVersion:          pebble.FormatWALSyncChunks, // pinned: a newer library must not move the disk format
		CacheSize:                   8 << 20,
		MemTableSize:                4 << 20,
		MemTableStopWritesThreshold: 2,
		MaxOpenFiles:                256,
		EventListener: &pebble.EventListener{
			BackgroundError: func(err error) { o.Logger.Error("store background work failed", "err", err) },
		},
	}
	return opts
}

// checkSchema records version in a new store and compares it in an old one.
func (s *Store) checkSchema(version uint32) error {
	v, closer, err := s.db.Get([]byte(schemaKey))
	if errors.Is(err, pebble.ErrNotFound) {
		if err := s.db.Set([]byte(schemaKey), binary.BigEndian.AppendUint32(nil, version), pebble.Sync); err != nil {
			return fmt.Errorf("record schema version of %s: %w", s.dir, err)
		}
		return nil
	} else if err != nil {
		return fmt.Errorf("read schema version of %s: %w", s.dir, err)
	}
	defer closer.Close()
	if len(v) != 4 {
		return fmt.Errorf("schema version of %s is damaged: %w", s.dir, ErrSchema)
	}
	switch have := binary.BigEndian.Uint32(v); {
	case have > version:
		return fmt.Errorf("%w: %s has %d, this program knows up to %d: run a newer one", ErrSchema, s.dir, have, version)
	case have < version:
		return fmt.Errorf("%w: %s has %d, this program needs %d and cannot upgrade it", ErrSchema, s.dir, have, version)
	}
	return nil
}

// enter counts the caller as a user of the store until it calls s.users.Done.
func (s *Store) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fmt.Errorf("use store %s: %w", s.dir, ErrClosed)
	}
	s.users.Add(1)
	return nil
}

// Close refuses new operations, waits for those under way and releases the directory. Closing twice is safe.
func (s *Store) Close() error {
	s.mu.Lock()
	was := s.closed
	s.closed = true
	s.mu.Unlock()
	if was {
		return nil
	}
	s.users.Wait()
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("close store %s: %w", s.dir, err)
	}
	return nil
}

// Checkpoint writes a copy of the store as it is now into dir, which must not exist, on the same file system. The copy
// opens like any store. Files that never change again are hard links, so that it costs little.
func (s *Store) Checkpoint(dir string) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.users.Done()
	if err := s.db.Checkpoint(dir, pebble.WithFlushedWAL()); err != nil {
		return fmt.Errorf("checkpoint store %s into %s: %w", s.dir, dir, err)
	}
	return nil
}
