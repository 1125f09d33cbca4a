package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"
)

// How much [Table.Reindex] writes at once.
const (
	reindexRows  = 256
	reindexBytes = 4 << 20
)

// errChanged ends a batch of Reindex: whoever has written the row since has given it its entries.
var errChanged = errors.New("the row has changed")

// Reindex gives rows the entries of indexes that were declared after they were written, and returns how many it changed.
// Once it has come to its end it is done at once, until the names of the indexes change. One that a crash cuts off starts
// again. Rows may be written meanwhile. Which of two rows was put last, a new [Last] index cannot know.
func (t *Table[T]) Reindex(ctx context.Context) (changed int, err error) {
	if err := t.s.begin(ctx); err != nil {
		return 0, err
	}
	defer t.s.users.Done()
	names := slices.Clone(t.order)
	slices.Sort(names)
	marker, want := append([]byte(t.name), 0, kindMeta), []byte(strings.Join(names, "\x00"))
	have, found, err := read(t.s.db, marker)
	if err != nil {
		return 0, fmt.Errorf("reindex %s: %w", t.name, err)
	}
	if found && bytes.Equal(have, want) {
		return 0, nil
	}
	if changed, err = t.reindex(ctx); err != nil {
		return changed, fmt.Errorf("reindex %s: %w", t.name, err)
	}
	if err := t.s.db.Set(marker, want, pebble.Sync); err != nil {
		return changed, fmt.Errorf("reindex %s: record its end: %w", t.name, err)
	}
	return changed, nil
}

func (t *Table[T]) reindex(ctx context.Context) (changed int, err error) {
	var pending []op
	size := 0
	flush := func() error {
		n, err := t.rewrite(ctx, pending)
		changed, pending, size = changed+n, nil, 0
		return err
	}
	err = t.walk(ctx, Query{AllTenants: true}, func(w *walker, _ []byte, k Key, _ []byte) (bool, error) {
		o, stale, err := t.stale(w.snap, k)
		if err != nil || !stale {
			return err == nil, err
		}
		pending, size = append(pending, o), size+len(o.payload)
		if len(pending) < reindexRows && size < reindexBytes {
			return true, nil
		}
		return true, flush()
	})
	if err == nil {
		err = flush()
	}
	return changed, err
}

// stale returns what gives a row its entries, and whether that changes anything.
func (t *Table[T]) stale(r pebble.Reader, k Key) (o op, stale bool, err error) {
	o = t.op("reindex", k)
	old, payload, _, err := readRow(r, o.row)
	if err != nil {
		return o, false, fmt.Errorf("read row %s/%s: %w", k.Tenant, k.ID, err)
	}
	v, err := t.codec.Decode(payload)
	if err != nil {
		return o, false, fmt.Errorf("decode row %s/%s: %w", k.Tenant, k.ID, err)
	}
	o.keep, o.payload, o.entries = true, payload, t.entries(k, v)
	o.check = func(now []byte, found bool) error {
		if !found || !bytes.Equal(now, payload) {
			return errChanged
		}
		return nil
	}
	same := slices.EqualFunc(old, o.entries, func(a, b entry) bool { return a.mode == b.mode && bytes.Equal(a.key, b.key) })
	return o, !same, nil
}

// rewrite makes the changes at once or, where a row has changed since it was read, one by one.
func (t *Table[T]) rewrite(ctx context.Context, ops []op) (changed int, err error) {
	if len(ops) == 0 {
		return 0, nil
	}
	err = (&Batch{s: t.s, ops: ops}).Commit(ctx)
	switch {
	case err == nil:
		return len(ops), nil
	case !errors.Is(err, errChanged):
		return 0, err
	}
	for _, o := range ops {
		err := (&Batch{s: t.s, ops: []op{o}}).Commit(ctx)
		if err != nil && !errors.Is(err, errChanged) {
			return changed, err
		}
		if err == nil {
			changed++
		}
	}
	return changed, nil
}
