package sandbox

import (
	"strings"
	"testing"
)

func TestNewID(t *testing.T) {
	const n = 20000
	seen := make(map[ID]bool, n)
	count := make(map[rune]int)
	for range n {
		id := NewID()
		if !id.Valid() {
			t.Fatalf("NewID() = %q, not valid", id)
		}
		if seen[id] {
			t.Fatalf("NewID() = %q twice", id)
		}
		seen[id] = true
		for _, r := range id[1:] {
			count[r]++
		}
	}
	// 400,000 characters over 36: 11,111 each with a standard deviation of 104. A generator that takes bytes modulo
	// 36 without drawing again gives the first four 14 % more.
	for _, r := range idAlphabet {
		if c := count[r]; c < 10400 || c > 11900 {
			t.Errorf("%q came %d times of %d, want about 11111", r, c, n*20)
		}
	}
}

func TestParseID(t *testing.T) {
	good := "i" + strings.Repeat("z", 19) + "0"
	for _, tc := range []struct {
		in string
		ok bool
	}{
		{good, true},
		{"", false},
		{"i", false},
		{good[:20], false},
		{good + "a", false},
		{"j" + good[1:], false},
		{"I" + good[1:], false},
		{"i" + strings.Repeat("Z", 20), false},
		{"i" + strings.Repeat("a", 19) + "-", false},
		{"iaaaaaaaaaa-aaaaaaaaa", false}, // an illegal character in the middle
		{"i" + strings.Repeat("a", 19) + "\x00", false},
		{"i../../../../../../..", false},
		{"i" + strings.Repeat("ä", 10), false},
	} {
		id, err := ParseID(tc.in)
		if got := err == nil; got != tc.ok || (tc.ok && string(id) != tc.in) {
			t.Errorf("ParseID(%q) = %q, %v; want ok %t", tc.in, id, err, tc.ok)
		}
		if err != nil && KindOf(err) != KindNotFound {
			t.Errorf("ParseID(%q): kind %d, want KindNotFound", tc.in, KindOf(err))
		}
	}
}
