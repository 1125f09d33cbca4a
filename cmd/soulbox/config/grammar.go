package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/soulbox/soulbox/sandbox"
)

// keysTable is the table with a table for each API key in it.
const keysTable = "keys"

// grammar knows the keys that a file can have.
type grammar struct {
	settings    map[string]Setting[Config]
	keySettings map[string]Setting[sandbox.KeyPolicy]
	known       [][]string // all keys, "*" for the name of an API key
}

func newGrammar() *grammar {
	g := &grammar{settings: map[string]Setting[Config]{}, keySettings: map[string]Setting[sandbox.KeyPolicy]{}}
	for _, s := range Settings() {
		g.settings[s.Key] = s
		g.known = append(g.known, strings.Split(s.Key, "."))
	}
	for _, s := range KeySettings() {
		g.keySettings[s.Key] = s
		g.known = append(g.known, append([]string{keysTable, "*"}, strings.Split(s.Key, ".")...))
	}
	return g
}

// pathKind is what a path can be.
type pathKind int

const (
	isUnknown pathKind = iota
	isTable
	isValue
)

func (g *grammar) kind(path []string) pathKind {
	kind := isUnknown
	for _, k := range g.known {
		if len(path) > len(k) || !fits(path, k[:len(path)]) {
			continue
		}
		if len(path) == len(k) {
			return isValue
		}
		kind = isTable
	}
	return kind
}

func fits(path, known []string) bool {
	return slices.EqualFunc(path, known, func(p, k string) bool { return p == k || k == "*" })
}

// suggest names the known key nearest to path, "" when none is near.
func (g *grammar) suggest(path []string) string {
	asked := joinKey(path)
	best, distance := "", max(3, len(asked)/3+1)
	for _, k := range g.known {
		k = slices.Clone(k)
		if len(k) > 1 && k[1] == "*" {
			k[1] = "NAME"
			if len(path) > 1 && path[0] == keysTable {
				k[1] = path[1]
			}
		}
		// The tables that lead to a key are candidates too, and a key by its last part alone: it may stand in the wrong table.
		for n := 1; n <= len(k); n++ {
			name := joinKey(k[:n])
			if d := editDistance(asked, name); d < distance {
				best, distance = name, d
			}
		}
		if name := joinKey(k); path[len(path)-1] == k[len(k)-1] && distance > 1 {
			best, distance = name, 1
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %s?", best)
}

// nearest returns the word of a list that is nearest to word, "" when none is near.
func nearest(word string, list []string) string {
	best, distance := "", max(2, len(word)/3+1)
	for _, w := range list {
		if d := editDistance(word, w); d < distance {
			best, distance = w, d
		}
	}
	return best
}

// editDistance counts the characters to insert, remove or replace to make b of a. Long texts are cut: they are no typos.
func editDistance(a, b string) int {
	const long = 128
	x, y := []rune(a[:min(len(a), long)]), []rune(b[:min(len(b), long)])
	row := make([]int, len(y)+1)
	for j := range row {
		row[j] = j
	}
	for i := range x {
		diagonal := row[0]
		row[0] = i + 1
		for j := range y {
			change := diagonal
			if x[i] != y[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(y)]
}
