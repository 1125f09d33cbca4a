package config

import (
	"strings"
)

// Setting is one entry of a table: a setting of a C.
type Setting[C any] struct {
	Key     string // in the file, dotted: "policy.max.memory"
	Flag    string // without dashes, from which the environment variable's name follows; empty: only in the file
	Value   Value[C]
	Default string // as a flag takes it; empty: unset
	Unset   string // what it means to be unset, or what the default depends on
	Help    string // for flags and documents: a phrase, without a final stop
	Live    bool   // a reload changes it; others need a restart
}

// Env returns the name of the setting's environment variable, "" for one that is only in the file.
func (s *Setting[C]) Env() string {
	if s.Flag == "" {
		return ""
	}
	return "SOULBOX_" + strings.ToUpper(strings.ReplaceAll(s.Flag, "-", "_"))
}

// Text returns the setting's value in c as a flag takes it, "" when it is unset.
func (s *Setting[C]) Text(c *C) string { return s.Value.get(c) }

// table returns the key without its last part, and that part.
func (s *Setting[C]) table() (table, name string) {
	i := strings.LastIndexByte(s.Key, '.')
	return s.Key[:max(i, 0)], s.Key[i+1:]
}
