package store

import (
	"bytes"
	"encoding/base64"
	"testing"
)

// FuzzCursor: a cursor is refused, or is the one that its place makes; none of another listing is taken.
func FuzzCursor(f *testing.F) {
	tag := []byte("12345678")
	f.Add(encodeCursor(tag, []byte("place")))
	f.Add(encodeCursor([]byte("87654321"), []byte("place")))
	f.Add("")
	f.Add(base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte("x"), 20)))
	f.Fuzz(func(t *testing.T, cursor string) {
		place, err := decodeCursor(tag, cursor)
		if err == nil && encodeCursor(tag, place) != cursor {
			t.Errorf("decodeCursor(%q) = %q, whose cursor is %q", cursor, place, encodeCursor(tag, place))
		}
		if _, err := decodeCursor([]byte("another "), cursor); err == nil {
			t.Errorf("%q is taken for a cursor of another listing", cursor)
		}
	})
}
