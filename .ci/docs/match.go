package main

import (
	"regexp"
	"strings"
)

// shape is text that differs from run to run: what a document has of it stands for all that looks alike.
type shape struct{ documented, alike string }

// shapes are tried in this order.
func shapes() []shape {
	return []shape{
		{`(?:…|\.\.\.)`, `.*`},
		{`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)?`, `\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)?`},
		{`\bi[a-z0-9]{20}\b`, `i[a-z0-9]{20}`},
		{`\b[0-9a-f]{12}\b`, `[0-9a-f]{12}`},
		{`\b\d+(?:\.\d+)?(?:µs|ms|s)\b`, `(?:\d+m)?\d+(?:\.\d+)?(?:µs|ms|s)`},
		{`\b\d+(?:\.\d+)? (?:KiB|MiB|GiB)\b`, `\d+(?:\.\d+)? (?:KiB|MiB|GiB)`},
		{`\b\d+\.\d+\b`, `\d+(?:\.\d+)?`},
		{` {2,}`, ` {2,}`},
	}
}

// pattern makes the regular expression of documented output.
func pattern(want []string) *regexp.Regexp {
	all := shapes()
	documented := make([]string, 0, len(all))
	for _, s := range all {
		documented = append(documented, "("+s.documented+")")
	}
	known := regexp.MustCompile(strings.Join(documented, "|"))
	var b strings.Builder
	b.WriteString(`\A`)
	for _, line := range want {
		line = strings.TrimRight(line, " \t")
		if t := strings.TrimSpace(line); t == "…" || t == "..." {
			b.WriteString(`(?:.*\n)*`)
			continue
		}
		at := 0
		for _, m := range known.FindAllStringSubmatchIndex(line, -1) {
			b.WriteString(regexp.QuoteMeta(line[at:m[0]]))
			for i, s := range all {
				if m[2*i+2] >= 0 {
					b.WriteString(s.alike)
				}
			}
			at = m[1]
		}
		b.WriteString(regexp.QuoteMeta(line[at:]) + `[ \t]*\n`)
	}
	b.WriteString(`\z`)
	return regexp.MustCompile(b.String())
}

// matches reports whether something printed is as documented.
func matches(want []string, got string) bool {
	got = strings.TrimRight(strings.ReplaceAll(got, "\r\n", "\n"), "\n")
	if got != "" {
		got += "\n"
	}
	for len(want) > 0 && strings.TrimSpace(want[len(want)-1]) == "" {
		want = want[:len(want)-1]
	}
	return pattern(want).MatchString(got)
}
