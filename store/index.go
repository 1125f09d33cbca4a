package store

import (
	"encoding/binary"
	"slices"
)

// Mode says how many rows an entry of an [Index] can lead to.
type Mode int

// The modes of an index.
const (
	Many   Mode = iota // any number; the entry is ordered by its parts, then by the row's key
	Last               // one: the row that was put last with this entry
	Unique             // one: a row with an entry of another row is refused with ErrExists
)

// Index is a way to find rows of a table. The parts of its entries must not change their meaning while the name stays.
type Index[T any] struct {
	Name   string
	Mode   Mode
	Global bool // the entries of all tenants lie together; otherwise they start with the tenant
	// Entry returns the row's entry, or false when the row is not in the index. It must be a pure function.
	Entry func(Key, T) (Entry, bool)
}

// Entry is one row's place in an [Index].
type Entry struct {
	Parts [][]byte // compared one after the other as bytes
	Note  []byte   // kept with the entry, for Query.Keep to select by without reading the row
}

// entry is an encoded Entry.
type entry struct {
	key   []byte // whole database key
	value []byte // length of the owner's key, the owner's key, note
	mode  Mode
}

func indexPrefix(table, index string) []byte {
	b := append([]byte(table), 0, kindIndex)
	return appendPart(b, []byte(index))
}

func encodeEntry(table, index string, mode Mode, global bool, k Key, e Entry) entry {
	key := indexPrefix(table, index)
	if !global {
		key = appendPart(key, []byte(k.Tenant))
	}
	for _, p := range e.Parts {
		key = appendPart(key, p)
	}
	owner := k.appendTo(nil)
	if mode == Many {
		key = append(key, owner...)
	}
	value := append(binary.AppendUvarint(nil, uint64(len(owner))), owner...)
	return entry{key: key, value: append(value, e.Note...), mode: mode}
}

// splitEntry parses the value of an index entry.
func splitEntry(v []byte) (owner, note []byte, err error) {
	n, used := binary.Uvarint(v)
	if used <= 0 || n > uint64(len(v)-used) {
		return nil, nil, errPart
	}
	v = v[used:]
	return v[:n], v[n:], nil
}

// A row's value is the list of its index entries, then the encoded value. With the list at hand a row's old entries
// can be removed without decoding it, and whatever the index's function has become since.
func encodeRow(entries []entry, payload []byte) []byte {
	b := binary.AppendUvarint(nil, uint64(len(entries)))
	for _, e := range entries {
		b = append(b, byte(e.mode))
		b = binary.AppendUvarint(b, uint64(len(e.key)))
		b = append(b, e.key...)
	}
	b = slices.Grow(b, len(payload))
	return append(b, payload...)
}

// splitRow parses a row's value. What it returns points into v.
func splitRow(v []byte) (entries []entry, payload []byte, err error) {
	count, used := binary.Uvarint(v)
	if used <= 0 {
		return nil, nil, errPart
	}
	v = v[used:]
	for range count {
		if len(v) == 0 {
			return nil, nil, errPart
		}
		mode := Mode(v[0])
		n, used := binary.Uvarint(v[1:])
		if used <= 0 || n > uint64(len(v)-1-used) {
			return nil, nil, errPart
		}
		v = v[1+used:]
		entries = append(entries, entry{key: v[:n:n], mode: mode})
		v = v[n:]
	}
	return entries, v, nil
}
