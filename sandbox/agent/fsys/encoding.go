package fsys

import (
	"slices"
	"strconv"
	"strings"
)

const (
	gzipEncoding = "gzip"
	identity     = "identity"
)

// pickEncoding returns the encoding that an Accept-Encoding header prefers of those there are; ok is false when it
// refuses all. With plain only identity is there.
func pickEncoding(header string, plain bool) (encoding string, ok bool) {
	type choice struct {
		name string
		q    float64
	}
	var choices []choice
	quality := map[string]float64{}
	for item := range strings.SplitSeq(header, ",") {
		name, params, _ := strings.Cut(item, ";")
		c := choice{name: strings.ToLower(strings.TrimSpace(name)), q: 1}
		if c.name == "" {
			continue
		}
		if v, found := strings.CutPrefix(strings.ReplaceAll(strings.ToLower(params), " ", ""), "q="); found {
			if q, err := strconv.ParseFloat(v, 64); err == nil && q >= 0 && q <= 1 {
				c.q = q
			}
		}
		choices = append(choices, c)
		quality[c.name] = c.q
	}
	// identity needs no mention; it is refused by name, or by "*".
	refused := func(name string) bool {
		q, named := quality[name]
		if !named {
			q, named = quality["*"]
		}
		return named && q == 0
	}
	slices.SortStableFunc(choices, func(a, b choice) int {
		switch {
		case a.q > b.q:
			return -1
		case a.q < b.q:
			return 1
		}
		return 0
	})
	for _, c := range choices {
		if c.q == 0 || plain {
			break
		}
		switch {
		case c.name == gzipEncoding, c.name == "*" && refused(identity) && !refused(gzipEncoding):
			return gzipEncoding, true
		case c.name == identity, c.name == "*" && !refused(identity):
			return identity, true
		}
	}
	return identity, !refused(identity)
}
