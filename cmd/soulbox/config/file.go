package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// maxFile bounds a configuration file in bytes.
const maxFile = 1 << 20

// item is a key with its value, or a table's name, in the order of the file.
type item struct {
	path  []string
	line  int
	table bool
	array bool // [[table]]
	value any  // of a key
}

func (i *item) name() string { return joinKey(i.path) }

// readFile returns the items of a TOML file, or what is wrong with its grammar.
func readFile(r io.Reader) ([]item, *Problem) {
	data, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, &Problem{Msg: err.Error()}
	}
	if len(data) > maxFile {
		return nil, &Problem{Msg: fmt.Sprintf("is larger than %d bytes", maxFile)}
	}
	// The decoder knows the whole grammar, the parser below it knows lines.
	var values map[string]any
	if err := toml.Unmarshal(data, &values); err != nil {
		p := &Problem{Msg: strings.TrimPrefix(err.Error(), "toml: ")}
		if at, ok := errors.AsType[*toml.DecodeError](err); ok {
			p.Line, _ = at.Position()
		}
		return nil, p
	}
	items, err := itemsOf(data)
	if err != nil {
		return nil, &Problem{Msg: err.Error()}
	}
	for i := range items {
		if it := &items[i]; !it.table {
			it.value = lookup(values, it.path)
		}
	}
	return items, nil
}

// itemsOf lists what data, whose grammar is right, says, without values.
func itemsOf(data []byte) ([]item, error) {
	var p unstable.Parser
	p.Reset(data)
	var items []item
	lines := lineCounter{data: data, line: 1}
	var add func(prefix []string, kv *unstable.Node)
	add = func(prefix []string, kv *unstable.Node) {
		path, offset := keyOf(kv, prefix)
		it := item{path: path, line: lines.at(offset), table: kv.Value().Kind == unstable.InlineTable}
		items = append(items, it)
		if !it.table {
			return
		}
		for c := kv.Value().Children(); c.Next(); {
			if c.Node().Kind == unstable.KeyValue {
				add(path, c.Node())
			}
		}
	}
	var table []string
	for p.NextExpression() {
		e := p.Expression()
		switch e.Kind {
		case unstable.Table, unstable.ArrayTable:
			path, offset := keyOf(e, nil)
			table = path
			items = append(items, item{path: path, line: lines.at(offset), table: true, array: e.Kind == unstable.ArrayTable})
		case unstable.KeyValue:
			add(table, e)
		}
	}
	return items, p.Error()
}

// keyOf returns the key of a table or a value below prefix, and where its last part stands.
func keyOf(n *unstable.Node, prefix []string) (path []string, offset uint32) {
	path = slices.Clone(prefix)
	for k := n.Key(); k.Next(); {
		path, offset = append(path, string(k.Node().Data)), k.Node().Raw.Offset
	}
	return path, offset
}

// lineCounter finds the lines of offsets that never go back.
type lineCounter struct {
	data   []byte
	offset int
	line   int
}

func (l *lineCounter) at(offset uint32) int {
	if next := int(offset); next > l.offset {
		l.line += bytes.Count(l.data[l.offset:next], []byte("\n"))
		l.offset = next
	}
	return l.line
}

// lookup returns the value at path, nil where there is none, as in a list of tables.
func lookup(values any, path []string) any {
	for _, part := range path {
		m, ok := values.(map[string]any)
		if !ok {
			return nil
		}
		values = m[part]
	}
	return values
}

// textOf returns a file's value as a flag takes it. Values must have the type that their kind has in TOML.
func textOf(kind Kind, v any) (string, error) {
	switch v := v.(type) {
	case bool:
		if kind == Bool {
			return strconv.FormatBool(v), nil
		}
	case int64:
		if kind == Count || kind == Size {
			return strconv.FormatInt(v, 10), nil
		}
	case string:
		if kind == Size || kind == Duration || kind == Text || kind == Choice {
			return v, nil
		}
	case []any:
		if kind == List {
			return listText(v)
		}
	}
	want := map[Kind]string{Bool: "true or false", Count: "a whole number", Size: `a size such as "64MiB", or a number of bytes`,
		Duration: `a duration in quotes, such as "10s"`, List: `a list such as ["python", "go"]`}
	if w, ok := want[kind]; ok {
		return "", errValue("must be " + w)
	}
	return "", errValue("must be a text in quotes")
}

func listText(list []any) (string, error) {
	words := make([]string, len(list))
	for i, v := range list {
		w, ok := v.(string)
		if !ok || w == "" || strings.Contains(w, ",") {
			return "", errValue("must be a list of names in quotes")
		}
		words[i] = w
	}
	if len(words) == 0 {
		return "", errValue("is empty, which would allow nothing; without the key all are allowed")
	}
	return strings.Join(words, ","), nil
}

// joinKey writes a key as the file would.
func joinKey(path []string) string {
	parts := make([]string, len(path))
	for i, p := range path {
		parts[i] = quoteKey(p)
	}
	return strings.Join(parts, ".")
}

func quoteKey(part string) string {
	bare := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-'
	}
	if part != "" && !strings.ContainsFunc(part, func(r rune) bool { return !bare(r) }) {
		return part
	}
	return quote(part)
}

// quote writes a text as TOML does: JSON's escapes are a part of TOML's.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
