package config

import (
	"fmt"
	"maps"
	"slices"

	"github.com/soulbox/soulbox/sandbox"
)

// check reports settings that are right by themselves and wrong together, or name what does not exist.
func (l *loader) check() {
	p := &l.out.Policy
	var languages []string
	if l.in.Languages != nil {
		var err error
		if languages, err = l.in.Languages(l.out); err != nil {
			l.problem("languages_dir", "is wrong: "+err.Error())
		}
	}
	l.checkNames("policy.languages", "language", p.Languages, languages)
	l.checkNames("policy.runtimes", "runtime", p.Runtimes, l.in.Runtimes)
	var under []string
	for _, u := range p.Under {
		under = append(under, u.Runtime)
	}
	l.checkNames("policy.image_runtimes", "runtime", under, l.in.Runtimes)
	for _, name := range slices.Sorted(maps.Keys(p.Keys)) {
		l.checkNames(joinKey([]string{keysTable, name, "languages"}), "language", p.Keys[name].Languages, languages)
	}
	// Comparing what is refused already would say it twice.
	if len(l.problems) > 0 {
		return
	}
	_, above := p.Default.Resolve(sandbox.Limits{}, p.Max)
	settings := map[string]Setting[Config]{}
	for _, s := range Settings() {
		settings[s.Key] = s
	}
	for _, name := range above {
		usual, most := settings["policy.default."+limitKey(name)], settings["policy.max."+limitKey(name)]
		l.problem(usual.Key, fmt.Sprintf("%q is above %s, which is %s", usual.Text(&l.out.Config), most.Key, most.Text(&l.out.Config)))
	}
}

func (l *loader) checkNames(key, what string, names, known []string) {
	if known == nil {
		return
	}
	for _, name := range names {
		if slices.Contains(known, name) {
			continue
		}
		msg := fmt.Sprintf("has %q, which is no %s", name, what)
		if near := nearest(name, known); near != "" {
			msg += fmt.Sprintf("; did you mean %q?", near)
		}
		l.problem(key, msg)
	}
}
