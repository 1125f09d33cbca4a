package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// Key names a row of a table. Both parts are arbitrary bytes; the tenant is not empty.
type Key struct {
	Tenant string
	ID     string
}

// A database key is the table's name, 0, a kind byte, and parts. A part is its bytes with 0 written as 0 0xff, then
// 0 1: no part is a prefix of another, and keys sort as the tuples of their parts do.
const (
	kindRow   = 'r' // table, tenant, id
	kindMeta  = 'm' // table: the indexes that all its rows are in, see Reindex
	kindIndex = 'i' // table, index, [tenant], parts of the entry, [owner's tenant, owner's id]
)

func appendPart(b, part []byte) []byte {
	for _, c := range part {
		if b = append(b, c); c == 0 {
			b = append(b, 0xff)
		}
	}
	return append(b, 0, 1)
}

var errPart = errors.New("damaged key")

// cutPart splits the first part off b.
func cutPart(b []byte) (part, rest []byte, err error) {
	for i := 0; i < len(b); i++ {
		switch {
		case b[i] != 0:
			part = append(part, b[i])
		case i+1 < len(b) && b[i+1] == 0xff:
			part = append(part, 0)
			i++
		case i+1 < len(b) && b[i+1] == 1:
			return part, b[i+2:], nil
		default:
			return nil, nil, errPart
		}
	}
	return nil, nil, errPart
}

func (k Key) check() error {
	if k.Tenant == "" {
		return fmt.Errorf("key %q has no tenant", k.ID)
	}
	return nil
}

func (k Key) appendTo(b []byte) []byte {
	return appendPart(appendPart(b, []byte(k.Tenant)), []byte(k.ID))
}

func parseKey(b []byte) (Key, error) {
	tenant, rest, err := cutPart(b)
	if err != nil {
		return Key{}, err
	}
	id, rest, err := cutPart(rest)
	if err != nil || len(rest) != 0 {
		return Key{}, errPart
	}
	return Key{string(tenant), string(id)}, nil
}

// prefixEnd returns the first key after all those that start with b. No prefix that this package makes is all 0xff.
func prefixEnd(b []byte) []byte {
	end := append([]byte(nil), b...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}

// OldestFirst is a part of an index entry that sorts earlier times first, see [NewestFirst].
func OldestFirst(t time.Time) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(t.UnixNano())^1<<63)
}

// NewestFirst is a part of an index entry that sorts later times first, to the nanosecond, from 1678 to 2262.
func NewestFirst(t time.Time) []byte {
	return binary.BigEndian.AppendUint64(nil, ^(uint64(t.UnixNano()) ^ 1<<63))
}
