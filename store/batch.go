package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// Batch is a set of changes to rows of any tables of one store that happen together or not at all. Fill it with
// [Table.PutTo] and [Table.DeleteTo], in order. It serves one Commit and one goroutine.
type Batch struct {
	s   *Store
	ops []op
	err error // the first mistake made while filling
}

// op is one change of one row.
type op struct {
	what    string // for errors: "put executions default/i0123"
	row     []byte // database key
	owner   []byte // encoded Key
	remove  bool
	keep    bool // entries that the row has already stay as they are: another row may own them by now
	payload []byte
	entries []entry
	check   func(old []byte, found bool) error // on the payload that is there; may be nil
}

// NewBatch returns an empty batch.
func (s *Store) NewBatch() *Batch { return &Batch{s: s} }

func (b *Batch) add(o op, err error) {
	if err == nil && len(o.payload) > b.s.maxValue {
		err = fmt.Errorf("%d bytes, at most %d: %w", len(o.payload), b.s.maxValue, ErrTooLarge)
	}
	if err != nil && b.err == nil {
		b.err = fmt.Errorf("%s: %w", o.what, err)
	}
	b.ops = append(b.ops, o)
}

// Commit makes the changes and returns when they are on disk. ctx ends only the wait for other writers of the same
// rows; once the write has begun it is seen through.
func (b *Batch) Commit(ctx context.Context) (err error) {
	if b.err != nil {
		return b.err
	}
	if err := b.s.enter(); err != nil {
		return err
	}
	defer b.s.users.Done()

	rows := make([]string, len(b.ops))
	for i, o := range b.ops {
		rows[i] = string(o.row)
	}
	unlock, err := b.s.locks.acquire(ctx, rows)
	if err != nil {
		return fmt.Errorf("wait for rows: %w", err)
	}
	defer unlock()
	// Rows come before entries for everybody, so the two rounds cannot deadlock.
	shared, err := b.sharedEntries()
	if err != nil {
		return err
	}
	unlockEntries, err := b.s.locks.acquire(ctx, shared)
	if err != nil {
		return fmt.Errorf("wait for index entries: %w", err)
	}
	defer unlockEntries()

	wb := b.s.db.NewIndexedBatch()
	defer func() { err = errors.Join(err, wb.Close()) }()
	for _, o := range b.ops {
		if err := o.apply(wb); err != nil {
			return fmt.Errorf("%s: %w", o.what, err)
		}
	}
	if err := wb.Commit(pebble.Sync); err != nil {
		return fmt.Errorf("commit to %s: %w", b.s.dir, err)
	}
	return nil
}

// sharedEntries lists the entries that rows can take from each other: those the batch removes and those it writes.
func (b *Batch) sharedEntries() ([]string, error) {
	var keys []string
	for _, o := range b.ops {
		old, _, _, err := readRow(b.s.db, o.row)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", o.what, err)
		}
		for _, e := range append(old, o.entries...) {
			if e.mode != Many {
				keys = append(keys, string(e.key))
			}
		}
	}
	return keys, nil
}

// apply adds o to wb, reading through wb so that it sees the changes before it.
func (o *op) apply(wb *pebble.Batch) error {
	old, payload, found, err := readRow(wb, o.row)
	if err != nil {
		return err
	}
	if o.check != nil {
		if err := o.check(payload, found); err != nil {
			return err
		}
	}
	kept := map[string]bool{}
	if o.keep {
		kept = common(old, o.entries)
	}
	for _, e := range old {
		if kept[string(e.key)] {
			continue
		}
		if err := o.unlink(wb, e); err != nil {
			return err
		}
	}
	if o.remove {
		return wb.Delete(o.row, nil)
	}
	for _, e := range o.entries {
		if kept[string(e.key)] {
			continue
		}
		if e.mode == Unique {
			if owner, err := entryOwner(wb, e.key); err != nil {
				return err
			} else if owner != nil && !bytes.Equal(owner, o.owner) {
				return fmt.Errorf("its index entry belongs to another row: %w", ErrExists)
			}
		}
		if err := wb.Set(e.key, e.value, nil); err != nil {
			return err
		}
	}
	return wb.Set(o.row, encodeRow(o.entries, o.payload), nil)
}

// common returns the keys of the entries that are in both lists.
func common(a, b []entry) map[string]bool {
	in, both := map[string]bool{}, map[string]bool{}
	for _, e := range a {
		in[string(e.key)] = true
	}
	for _, e := range b {
		both[string(e.key)] = in[string(e.key)]
	}
	return both
}

// unlink removes an entry of the old row unless another row has taken it over.
func (o *op) unlink(wb *pebble.Batch, e entry) error {
	if e.mode != Many {
		owner, err := entryOwner(wb, e.key)
		if err != nil || !bytes.Equal(owner, o.owner) {
			return err
		}
	}
	return wb.Delete(e.key, nil)
}

// entryOwner returns the encoded key of the row that the entry leads to, nil when there is no such entry.
func entryOwner(r pebble.Reader, key []byte) ([]byte, error) {
	v, found, err := read(r, key)
	if err != nil || !found {
		return nil, err
	}
	owner, _, err := splitEntry(v)
	return owner, err
}

func readRow(r pebble.Reader, key []byte) (entries []entry, payload []byte, found bool, err error) {
	v, found, err := read(r, key)
	if err != nil || !found {
		return nil, nil, false, err
	}
	entries, payload, err = splitRow(v)
	return entries, payload, true, err
}

// read returns a copy of key's value.
func read(r pebble.Reader, key []byte) (value []byte, found bool, err error) {
	v, closer, err := r.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	} else if err != nil {
		return nil, false, err
	}
	value = slices.Clone(v)
	return value, true, closer.Close()
}
