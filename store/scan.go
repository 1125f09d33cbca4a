package store

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// Query selects rows for [Table.Scan] and [Table.Each].
type Query struct {
	Tenant     string                 // whose rows; required but for AllTenants and global indexes
	AllTenants bool                   // rows of every tenant, in order of their tenants
	Index      string                 // the order, and what is in it; default: by the rows' ids
	Prefix     [][]byte               // only entries that start with these parts; not together with AllTenants
	Keep       func(note []byte) bool // selects entries of an index by their notes; default: all
	Scope      string                 // describes Keep: a cursor made under another scope is refused
	Limit      int                    // rows of a page; default 100
	MaxBytes   int                    // bytes, of the rows or as Codec.Size says, after which a page ends early, with one row at least; default 32 MiB
	Cursor     string                 // Page.Next of the page before; empty: from the start
}

// Row is a row and its key.
type Row[T any] struct {
	Key   Key
	Value T
}

// Page is a part of a listing.
type Page[T any] struct {
	Rows []Row[T]
	Next string // cursor of the next page; empty at the end
}

// Scan returns one page of what q selects. A cursor names a place in the order, not a count: rows that come and go
// between two pages neither repeat nor hide others.
func (t *Table[T]) Scan(ctx context.Context, q Query) (Page[T], error) {
	if q.Limit <= 0 {
		q.Limit = 100
	}
	if q.MaxBytes <= 0 {
		q.MaxBytes = 32 << 20
	}
	var page Page[T]
	var last []byte // place of the last row
	bytes := 0
	err := t.walk(ctx, q, func(w *walker, place []byte, k Key, _ []byte) (bool, error) {
		if len(page.Rows) == q.Limit || bytes >= q.MaxBytes && len(page.Rows) > 0 {
			page.Next = encodeCursor(w.tag, last)
			return false, nil
		}
		v, size, err := t.get(w.snap, k)
		if err != nil {
			return false, err
		}
		page.Rows = append(page.Rows, Row[T]{k, v})
		last = append(last[:0], place...)
		bytes += size
		return true, nil
	})
	if err != nil {
		return Page[T]{}, fmt.Errorf("scan %s: %w", t.name, err)
	}
	return page, nil
}

// Each calls fn with every row that q selects, as the store was at the call, until fn returns an error. Limit and
// MaxBytes are ignored. fn may write to the store.
func (t *Table[T]) Each(ctx context.Context, q Query, fn func(Row[T]) error) error {
	err := t.walk(ctx, q, func(w *walker, _ []byte, k Key, _ []byte) (bool, error) {
		v, _, err := t.get(w.snap, k)
		if err != nil {
			return false, err
		}
		return true, fn(Row[T]{k, v})
	})
	if err != nil {
		return fmt.Errorf("scan %s: %w", t.name, err)
	}
	return nil
}

// Entries calls fn with the key and the note of every entry of an index that q selects, as the store was at the call, in
// their order, until fn returns false or an error. No row is read; Limit and MaxBytes are ignored. The note is fn's only
// until it returns. fn may write to the store.
func (t *Table[T]) Entries(ctx context.Context, q Query, fn func(k Key, note []byte) (bool, error)) error {
	if q.Index == "" {
		return fmt.Errorf("scan entries of %s: no index", t.name)
	}
	err := t.walk(ctx, q, func(_ *walker, _ []byte, k Key, note []byte) (bool, error) { return fn(k, note) })
	if err != nil {
		return fmt.Errorf("scan entries of %s: %w", t.name, err)
	}
	return nil
}

// walker is a walk over a range of keys in a snapshot.
type walker struct {
	snap   *pebble.Snapshot
	prefix []byte // of all keys walked; what follows it is a row's place
	tag    []byte // ties cursors to the prefix and the scope
	index  bool
	keep   func([]byte) bool
}

// walk calls fn with the place, the key and, of an index, the note of every row that q selects, until fn returns false.
func (t *Table[T]) walk(ctx context.Context, q Query, fn func(w *walker, place []byte, k Key, note []byte) (bool, error)) (err error) {
	prefix, err := t.prefix(q)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(append(appendPart(nil, []byte(q.Scope)), prefix...))
	w := &walker{prefix: prefix, tag: sum[:8], index: q.Index != "", keep: q.Keep}
	lower := prefix
	if q.Cursor != "" {
		place, err := decodeCursor(w.tag, q.Cursor)
		if err != nil {
			return err
		}
		lower = append(append(append([]byte(nil), prefix...), place...), 0) // the first key after it
	}
	if err := t.s.begin(ctx); err != nil {
		return err
	}
	defer t.s.users.Done()
	w.snap = t.s.db.NewSnapshot()
	defer func() { err = errors.Join(err, w.snap.Close()) }()
	it, err := w.snap.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: lower, UpperBound: prefixEnd(prefix)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		k, note, selected, err := w.owner(it)
		if err != nil {
			return err
		}
		if !selected {
			continue
		}
		if more, err := fn(w, it.Key()[len(prefix):], k, note); err != nil || !more {
			return err
		}
	}
	return it.Error()
}

// owner returns the key of the row at or behind it's place, an entry's note, and whether the query keeps it.
func (w *walker) owner(it *pebble.Iterator) (k Key, note []byte, selected bool, err error) {
	if !w.index {
		// Only the tenant and the id follow the table's own prefix, and the walk's prefix may hold the tenant.
		k, err = rowKey(it.Key())
		return k, nil, true, err
	}
	v, err := it.ValueAndErr()
	if err != nil {
		return Key{}, nil, false, err
	}
	owner, note, err := splitEntry(v)
	if err != nil {
		return Key{}, nil, false, err
	}
	if w.keep != nil && !w.keep(note) {
		return Key{}, nil, false, nil
	}
	k, err = parseKey(owner)
	return k, note, true, err
}

// rowKey parses the database key of a row.
func rowKey(b []byte) (Key, error) {
	for i, c := range b {
		if c == 0 && i+2 <= len(b) {
			return parseKey(b[i+2:])
		}
	}
	return Key{}, errPart
}

// prefix returns what all keys that q selects from start with.
func (t *Table[T]) prefix(q Query) ([]byte, error) {
	p, global := t.rowPrefix(), false
	if q.Index != "" {
		x, ok := t.indexes[q.Index]
		if !ok {
			return nil, fmt.Errorf("no index %q", q.Index)
		}
		p, global = indexPrefix(t.name, q.Index), x.Global
	} else if q.Keep != nil || len(q.Prefix) > 0 {
		return nil, errors.New("prefix and notes are of indexes")
	}
	switch {
	case q.AllTenants && (q.Tenant != "" || len(q.Prefix) > 0):
		return nil, errors.New("all tenants, and a tenant or prefix")
	case !q.AllTenants && !global && q.Tenant == "":
		return nil, errors.New("no tenant")
	case !q.AllTenants && !global:
		p = appendPart(p, []byte(q.Tenant))
	}
	for _, part := range q.Prefix {
		p = appendPart(p, part)
	}
	return p, nil
}

// A cursor is 8 bytes of hash that tie it to its listing, 8 bytes of checksum, and the place of the last row. It is
// no secret and no permission: a forged one is still confined to the listing's own range.
func encodeCursor(tag, place []byte) string {
	return base64.RawURLEncoding.EncodeToString(append(cursorHead(tag, place), place...))
}

func cursorHead(tag, place []byte) []byte {
	sum := sha256.Sum256(append(append([]byte(nil), tag...), place...))
	return append(append([]byte(nil), tag...), sum[:8]...)
}

func decodeCursor(tag []byte, cursor string) ([]byte, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || len(b) < 16 || string(cursorHead(tag, b[16:])) != string(b[:16]) {
		return nil, ErrCursor
	}
	return b[16:], nil
}
