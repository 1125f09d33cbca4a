package wide

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestAllot(t *testing.T) {
	for _, tt := range []struct {
		subids string
		passwd string
		want   uint64 // 0: none is free
	}{
		{"", "", 100000},
		{"a:100000:65536\n", "", 165536},
		{"a:100000:65536\nb:300000:65536\n", "", 165536},
		{"a:100000:65536\nb:200000:65536\n", "", 265536},
		{"", "root:x:0:0::/:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n", 100000},
		{"", "far:x:120000:120000::/:/bin/sh\n", 120001}, // an id of somebody is nobody's subordinate id
		{"", "far:x:165536:1::/:/bin/sh\n", 100000},
		{"", "broken\nx:y:z:\nmore:x:-1:\n:::\n", 100000},
		// What systemd gives to containers, and root's own range, are passed over, and there is no end of ids before that.
		{"a:100000:400000\n", "", 1_879_048_192},
		{"a:100000:400000\nb:1879048192:20900000\n", "", 0},
		{"a:100000:4294867295\n", "", 0},
		{"a:1:4294967295\n", "", 0},
	} {
		taken, err := parseSpans(strings.NewReader(tt.subids))
		if err != nil {
			t.Fatal(err)
		}
		ids, err := parseIDs(strings.NewReader(tt.passwd))
		if err != nil {
			t.Fatal(err)
		}
		got, err := allot(append(taken, ids...))
		if got != tt.want || (err != nil) != (tt.want == 0) || err != nil && !errors.Is(err, errNoFreeIDs) {
			t.Errorf("allot beside %q and %q = %d, %v, want %d", tt.subids, tt.passwd, got, err, tt.want)
		}
	}
}

// FuzzAllot: whatever the files hold, what is allotted is in none of their ranges, not reserved, and within the id space.
func FuzzAllot(f *testing.F) {
	f.Add("alice:100000:65536\nbob:165536:65536\n", "alice:x:1000:1000:::\nfar:x:131072:1:::\n")
	f.Add("a:100000:4294867295\n", "")
	f.Add("a:524288:1\nb:1879048192:65536\n", "x:x:4294967295:\n")
	f.Fuzz(func(t *testing.T, subids, passwd string) {
		taken, err := parseSpans(strings.NewReader(subids))
		if err != nil {
			return
		}
		ids, err := parseIDs(strings.NewReader(passwd))
		if err != nil {
			return
		}
		all := append(taken, ids...)
		before := slices.Clone(all)
		first, err := allot(all)
		if !slices.Equal(all, before) {
			t.Errorf("allot changed its argument")
		}
		if err != nil {
			return
		}
		if first < 100_000 || first+RootCount > 1<<32-1 {
			t.Errorf("allot beside %q and %q = %d, outside of what may be used", subids, passwd, first)
		}
		for _, s := range append(all, reserved[:]...) {
			if s.first < first+RootCount && first < s.first+s.count {
				t.Errorf("allot beside %q and %q = %d, which is in %+v", subids, passwd, first, s)
			}
		}
	})
}
