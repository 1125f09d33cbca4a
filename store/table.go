package store

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2"
)

// Codec turns values into bytes and back.
type Codec[T any] struct {
	Encode func(T) ([]byte, error)
	Decode func([]byte) (T, error) // must not keep the bytes
	Size   func(T) int             // optional: bytes of a value in memory, where they can be many more than encoded
}

// JSON returns the codec of encoding/json.
func JSON[T any]() Codec[T] {
	return Codec[T]{
		Encode: func(v T) ([]byte, error) { return json.Marshal(v) },
		Decode: func(b []byte) (v T, err error) {
			err = json.Unmarshal(b, &v)
			return v, err
		},
	}
}

// Table holds the rows of one type. Its methods are safe for concurrent use.
type Table[T any] struct {
	s       *Store
	name    string
	codec   Codec[T]
	order   []string // of the indexes, as declared, so that a row always has the same bytes
	indexes map[string]Index[T]
}

// NewTable returns the table called name, which must be unique in the store, not empty and without zero bytes.
func NewTable[T any](s *Store, name string, codec Codec[T], indexes ...Index[T]) (*Table[T], error) {
	t := &Table[T]{s: s, name: name, codec: codec, indexes: map[string]Index[T]{}}
	for _, x := range indexes {
		if _, twice := t.indexes[x.Name]; twice || x.Name == "" || x.Entry == nil {
			return nil, fmt.Errorf("index %q of table %q needs a name of its own and an entry function", x.Name, name)
		}
		t.indexes[x.Name] = x
		t.order = append(t.order, x.Name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if name == "" || strings.Contains(name, "\x00") || s.tables[name] {
		return nil, fmt.Errorf("table name %q is taken or malformed", name)
	}
	s.tables[name] = true
	return t, nil
}

func (t *Table[T]) rowPrefix() []byte { return append([]byte(t.name), 0, kindRow) }

func (t *Table[T]) op(verb string, k Key) op {
	return op{
		what:  fmt.Sprintf("%s %s %s/%s", verb, t.name, k.Tenant, k.ID),
		row:   k.appendTo(t.rowPrefix()),
		owner: k.appendTo(nil),
	}
}

// PutTo adds to b: store v under k, replacing what is there. With check, the whole batch fails with check's error unless
// it returns nil; it gets the row that is there, or nil.
func (t *Table[T]) PutTo(b *Batch, k Key, v T, check func(old *T) error) {
	o := t.op("put", k)
	if check != nil {
		o.check = func(payload []byte, found bool) error {
			if !found {
				return check(nil)
			}
			old, err := t.codec.Decode(payload)
			if err != nil {
				return fmt.Errorf("decode: %w", err)
			}
			return check(&old)
		}
	}
	o.entries = t.entries(k, v)
	var err error
	if o.payload, err = t.codec.Encode(v); err != nil {
		err = fmt.Errorf("encode: %w", err)
	} else {
		err = k.check()
	}
	b.add(o, err)
}

// entries returns the index entries that a row asks for.
func (t *Table[T]) entries(k Key, v T) (list []entry) {
	for _, name := range t.order {
		x := t.indexes[name]
		if e, in := x.Entry(k, v); in {
			list = append(list, encodeEntry(t.name, name, x.Mode, x.Global, k, e))
		}
	}
	return list
}

// DeleteTo adds to b: remove the row k, or fail with [ErrNotFound].
func (t *Table[T]) DeleteTo(b *Batch, k Key) {
	o := t.op("delete", k)
	o.remove = true
	o.check = func(_ []byte, found bool) error {
		if !found {
			return ErrNotFound
		}
		return nil
	}
	b.add(o, k.check())
}

// Put stores v under k, replacing what is there.
func (t *Table[T]) Put(ctx context.Context, k Key, v T) error { return t.PutIf(ctx, k, v, nil) }

// Create stores v under k, or fails with [ErrExists].
func (t *Table[T]) Create(ctx context.Context, k Key, v T) error {
	return t.PutIf(ctx, k, v, func(old *T) error {
		if old != nil {
			return ErrExists
		}
		return nil
	})
}

// PutIf stores v under k unless check, given the row that is there or nil, returns an error. No other write of the row
// comes between.
func (t *Table[T]) PutIf(ctx context.Context, k Key, v T, check func(old *T) error) error {
	b := t.s.NewBatch()
	t.PutTo(b, k, v, check)
	return b.Commit(ctx)
}

// Delete removes the row k, or fails with [ErrNotFound].
func (t *Table[T]) Delete(ctx context.Context, k Key) error {
	b := t.s.NewBatch()
	t.DeleteTo(b, k)
	return b.Commit(ctx)
}

// Get returns the row k, or fails with [ErrNotFound].
func (t *Table[T]) Get(ctx context.Context, k Key) (v T, err error) {
	if err := t.s.begin(ctx); err != nil {
		return v, err
	}
	defer t.s.users.Done()
	v, _, err = t.get(t.s.db, k)
	return v, err
}

// get returns the row k and its size in bytes, encoded or in memory, whichever is more.
func (t *Table[T]) get(r pebble.Reader, k Key) (v T, size int, err error) {
	_, payload, found, err := readRow(r, k.appendTo(t.rowPrefix()))
	if err == nil && !found {
		err = ErrNotFound
	}
	if err == nil {
		v, err = t.codec.Decode(payload)
	}
	if err != nil {
		return v, 0, fmt.Errorf("get %s %s/%s: %w", t.name, k.Tenant, k.ID, err)
	}
	size = len(payload)
	if t.codec.Size != nil {
		size = max(size, t.codec.Size(v))
	}
	return v, size, nil
}

// Lookup returns the row that the entry with these parts leads to in a [Last] or [Unique] index, or fails with
// [ErrNotFound]. A global index ignores tenant.
func (t *Table[T]) Lookup(ctx context.Context, index, tenant string, parts ...[]byte) (k Key, v T, err error) {
	x, ok := t.indexes[index]
	if !ok || x.Mode == Many {
		return k, v, fmt.Errorf("look up in %s: %q is no index with single entries", t.name, index)
	}
	if err := t.s.begin(ctx); err != nil {
		return k, v, err
	}
	defer t.s.users.Done()
	snap := t.s.db.NewSnapshot()
	defer snap.Close()
	e := encodeEntry(t.name, index, x.Mode, x.Global, Key{Tenant: tenant}, Entry{Parts: parts})
	owner, err := entryOwner(snap, e.key)
	if err == nil && owner == nil {
		err = ErrNotFound
	}
	if err == nil {
		k, err = parseKey(owner)
	}
	if err != nil {
		return k, v, fmt.Errorf("look up in %s by %s: %w", t.name, index, err)
	}
	v, _, err = t.get(snap, k)
	return k, v, err
}

// begin is enter for reads, which have nothing to wait for and so look at ctx once.
func (s *Store) begin(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return s.enter()
}
