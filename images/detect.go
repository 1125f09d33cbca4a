package images

import (
	"bytes"
	"cmp"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Auto is what callers ask for instead of a language that is to be detected. No recipe has this name.
const Auto = "auto"

// Bounds of what [Catalog.Detect] takes for certain.
const (
	detectHead  = 8 << 10 // bytes of a program that are looked at
	surely      = 3       // the least weight that decides
	timesSecond = 2       // how many times the weight of the second most likely language it must be
)

// Detection is what a program's name and text say about its language.
type Detection struct {
	Recipe     *Recipe  // nil when it is not clear
	Candidates []string // names of the languages that it can be, most likely first; empty when nothing points anywhere
}

// mark is a pattern in the text of programs that speaks for a language or, with a weight below 0, against it.
type mark struct {
	pattern *regexp.Regexp
	weight  int
}

type markFile struct {
	Pattern string `toml:"pattern"`
	Weight  int    `toml:"weight"`
}

func (c *compiler) mark(f markFile) mark {
	re, err := regexp.Compile(f.Pattern)
	if err != nil {
		c.failf("detect: compile pattern: %w", err)
	}
	if f.Pattern == "" || f.Weight == 0 {
		c.failf("detect: want a pattern and a weight other than 0")
	}
	return mark{pattern: re, weight: f.Weight}
}

// Detect finds a program's language by the extension of its file's name, else by its #! line, else by its text. It is a
// pure function. Where languages share an extension, such as .h, the text decides among them.
func (c *Catalog) Detect(filename string, content []byte) Detection {
	ext := strings.ToLower(path.Ext(filename))
	if r, ok := c.byExt[ext]; ok {
		return sure(r)
	}
	head := content[:min(len(content), detectHead)]
	if bytes.IndexByte(head, 0) >= 0 {
		return Detection{} // no text
	}
	head = bytes.TrimPrefix(head, []byte("\ufeff"))
	head = bytes.ReplaceAll(head, []byte("\r\n"), []byte("\n"))
	if program := interpreter(head); program != "" {
		for _, r := range c.all {
			if slices.Contains(r.interpreters, program) {
				return sure(r)
			}
		}
	}
	among := c.all
	if shared := c.sharing(ext); len(shared) > 0 {
		among = shared
	}
	d := weigh(among, head)
	if d.Recipe == nil && len(d.Candidates) == 0 && len(among) < len(c.all) {
		for _, r := range among {
			d.Candidates = append(d.Candidates, r.Name)
		}
	}
	return d
}

func sure(r *Recipe) Detection { return Detection{Recipe: r, Candidates: []string{r.Name}} }

// sharing returns the recipes that say of an extension that it can be theirs.
func (c *Catalog) sharing(ext string) []*Recipe {
	return slices.DeleteFunc(slices.Clone(c.all), func(r *Recipe) bool { return !slices.Contains(r.shared, ext) })
}

// weigh decides by the text alone.
func weigh(among []*Recipe, text []byte) Detection {
	type weighed struct {
		recipe *Recipe
		weight int
	}
	var all []weighed
	for _, r := range among {
		if w := r.weight(text); w > 0 {
			all = append(all, weighed{r, w})
		}
	}
	slices.SortStableFunc(all, func(a, b weighed) int { return cmp.Compare(b.weight, a.weight) })
	var d Detection
	for _, w := range all {
		d.Candidates = append(d.Candidates, w.recipe.Name)
	}
	if len(all) > 0 && all[0].weight >= surely && (len(all) == 1 || all[0].weight >= timesSecond*all[1].weight) {
		d.Recipe = all[0].recipe
	}
	return d
}

// weight adds up what speaks for r and against it. A mark counts once, however often it is there.
func (r *Recipe) weight(text []byte) int {
	sum := 0
	for _, m := range r.marks {
		if m.pattern.Match(text) {
			sum += m.weight
		}
	}
	return sum
}

// interpreter returns the base name of the program in a #! line without its version: "python" of
// "#!/usr/bin/env -S python3.11 -u".
func interpreter(content []byte) string {
	line, ok := bytes.CutPrefix(content, []byte("#!"))
	if !ok {
		return ""
	}
	line, _, _ = bytes.Cut(line[:min(len(line), 1024)], []byte("\n"))
	fields := strings.Fields(string(line))
	if len(fields) > 0 && path.Base(fields[0]) == "env" {
		fields[0] = ""
		if len(fields) > 1 { // -S may stand right before the program
			fields[1] = strings.TrimPrefix(fields[1], "-S")
		}
		fields = slices.DeleteFunc(fields, func(f string) bool {
			return f == "" || strings.HasPrefix(f, "-") || strings.Contains(f, "=")
		})
	}
	if len(fields) == 0 {
		return ""
	}
	return strings.TrimRight(path.Base(fields[0]), "0123456789.")
}
