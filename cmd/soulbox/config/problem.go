package config

import (
	"fmt"
	"strings"
)

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	Path string `json:"path,omitempty"` // of the file; empty for flags and the environment
	Line int    `json:"line,omitempty"` // in the file, from 1; 0: the file as a whole
	Name string `json:"name,omitempty"` // the key, flag or variable; empty: the file itself
	Msg  string `json:"message"`        // follows the name
}

func (p Problem) String() string {
	s := strings.TrimSpace(p.Name + " " + p.Msg)
	switch {
	case p.Path == "":
		return s
	case p.Line == 0:
		return p.Path + ": " + s
	}
	return fmt.Sprintf("%s:%d: %s", p.Path, p.Line, s)
}

// Problems are all that is wrong with a configuration; there is at least one.
type Problems []Problem

func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, one := range p {
		lines[i] = one.String()
	}
	return strings.Join(lines, "\n")
}
