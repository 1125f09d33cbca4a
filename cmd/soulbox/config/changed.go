package config

import (
	"maps"
	"slices"
)

// Changed compares two configurations: the keys of settings that differ and that a reload changes, and of those that
// need a restart. An entry for an API key is one key.
func Changed(was, is *Effective) (live, restart []string) {
	for _, s := range Settings() {
		switch {
		case s.Text(&was.Config) == s.Text(&is.Config):
		case s.Live:
			live = append(live, s.Key)
		default:
			restart = append(restart, s.Key)
		}
	}
	names := maps.Clone(was.Policy.Keys)
	maps.Copy(names, is.Policy.Keys)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		a, had := was.Policy.Keys[name]
		b, has := is.Policy.Keys[name]
		same := had == has
		for _, s := range KeySettings() {
			same = same && s.Text(&a) == s.Text(&b)
		}
		if !same {
			live = append(live, joinKey([]string{keysTable, name}))
		}
	}
	return live, restart
}

// Merge returns next with the settings that need a restart as they were.
func Merge(was, next *Effective) *Effective {
	merged := *next
	merged.Sources = maps.Clone(next.Sources)
	for _, s := range Settings() {
		if s.Live {
			continue
		}
		merged.Sources[s.Key] = was.Sources[s.Key]
		s.Value.copy(&merged.Config, &was.Config)
	}
	return &merged
}
