package main

import (
	"fmt"
	"os"
	"strings"
)

// The lines around the list of allowed skips.
const (
	listBegin = "<!-- allowed skips -->"
	listEnd   = "<!-- end of allowed skips -->"
)

// allowed is the set of tests that may be skipped: "part package TestName".
type allowed map[string]bool

func (a allowed) has(part string, t test) bool { return a[part+" "+t.String()] }

func readAllowed(file string) (allowed, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the list of allowed skips: %w", err)
	}
	a, err := parseAllowed(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return a, nil
}

// parseAllowed finds the list in a text. A list that is not there is an error: without it every skip would look new.
func parseAllowed(text string) (allowed, error) {
	_, rest, ok := strings.Cut(text, listBegin)
	list, _, closed := strings.Cut(rest, listEnd)
	if !ok || !closed {
		return nil, fmt.Errorf("no list between %q and %q", listBegin, listEnd)
	}
	a := allowed{}
	for line := range strings.Lines(list) {
		item, ok := strings.CutPrefix(strings.TrimSpace(line), "- `")
		if !ok {
			continue
		}
		name, why, ok := strings.Cut(item, "`")
		if !ok || len(strings.Fields(name)) != 3 || strings.Trim(why, ": .") == "" {
			return nil, fmt.Errorf("%q is not - `part package TestName`: why", strings.TrimSpace(line))
		}
		a[strings.Join(strings.Fields(name), " ")] = true
	}
	return a, nil
}
