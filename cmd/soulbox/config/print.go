package config

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// Shown is one value of an [Effective] for people and programs.
type Shown struct {
	Key    string `json:"key"`
	Value  any    `json:"value"` // text, true or false, number, list of texts; null when unset
	Kind   Kind   `json:"kind"`
	Source Source `json:"source"`

	table, name string // of the key, as the file writes them
	literal     string // as the file writes the value; empty: unset
	unset       string
}

// Show lists all settings with their values, those of API keys last. No setting is a secret.
func (e *Effective) Show() []Shown {
	var list []Shown
	for _, s := range Settings() {
		table, name := s.table()
		v := shown(&s, &e.Config, e.Sources[s.Key])
		v.table, v.name = table, name
		list = append(list, v)
	}
	for _, key := range slices.Sorted(maps.Keys(e.Policy.Keys)) {
		k := e.Policy.Keys[key]
		table := joinKey([]string{keysTable, key})
		for _, s := range KeySettings() {
			full := table + "." + s.Key
			from, set := e.Sources[full]
			if !set {
				continue
			}
			v := shown(&s, &k, from)
			v.Key, v.table, v.name = full, table, s.Key // dotted: one table a key
			list = append(list, v)
		}
	}
	return list
}

func shown[C any](s *Setting[C], c *C, from Source) Shown {
	v := Shown{Key: s.Key, Kind: s.Value.Kind, Source: from, unset: s.Unset}
	text := s.Text(c)
	if text == "" && s.Default != "" {
		text = "0" // no maximum, where there is one by default
	}
	switch {
	case text == "" && s.Value.Kind == Text && from.Kind != FromDefault:
		v.Value, v.literal = "", quote("")
	case text == "":
	case s.Value.Kind == Bool:
		v.Value, v.literal = text == "true", text
	case s.Value.Kind == List:
		words := strings.Split(text, ",")
		quoted := make([]string, len(words))
		for i, w := range words {
			quoted[i] = quote(w)
		}
		v.Value, v.literal = words, "["+strings.Join(quoted, ", ")+"]"
	case s.Value.Kind == Count:
		v.Value, v.literal = jsonNumber(text), text
	default:
		v.Value, v.literal = text, quote(text)
	}
	return v
}

// jsonNumber is a number that is written as it is.
type jsonNumber string

// MarshalJSON implements [encoding/json.Marshaler].
func (n jsonNumber) MarshalJSON() ([]byte, error) { return []byte(n), nil }

// WriteTOML writes e as a file that says the same, with the source of each value in a comment.
func (e *Effective) WriteTOML(w io.Writer) error {
	var b strings.Builder
	table := ""
	for _, v := range e.Show() {
		if v.table != table {
			table = v.table
			fmt.Fprintf(&b, "\n[%s]\n", table)
		}
		if v.literal == "" {
			fmt.Fprintf(&b, "# %s is unset: %s # %s\n", v.name, strings.ReplaceAll(v.unset, "`", ""), v.Source)
			continue
		}
		fmt.Fprintf(&b, "%s = %s # %s\n", v.name, v.literal, v.Source)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("print configuration: %w", err)
	}
	return nil
}
