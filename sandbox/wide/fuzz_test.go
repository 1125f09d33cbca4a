package wide

import (
	"strings"
	"testing"
)

// FuzzSpans: whatever /etc/subuid holds, the span that is used lies within the id space, and what is free is.
func FuzzSpans(f *testing.F) {
	f.Add("alice:100000:65536\nbob:165536:65536\n", "bob")
	f.Add("1000:100000:65536\n", "alice")
	f.Add("alice:4294967295:65536\n", "alice")
	f.Add("alice:0:65536\n", "alice")
	f.Add("# comment\nalice:x:1\nalice:1:\n::\n", "")
	f.Fuzz(func(t *testing.T, text, name string) {
		spans, err := parseSpans(strings.NewReader(text))
		if err != nil {
			return
		}
		best := largest(spans, name, 1000)
		if best.count > 0 && (best.first == 0 || best.first+best.count > 1<<32-1 || best.owner != name && best.owner != "1000") {
			t.Errorf("largest of %q for %q = %+v", text, name, best)
		}
		first := free(spans)
		for _, s := range spans {
			if s.first < first+RootCount && first < s.first+s.count {
				t.Errorf("free beside %q = %d, which is in %+v", text, first, s)
			}
		}
	})
}
