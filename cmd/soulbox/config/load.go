package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"

	"github.com/soulbox/soulbox/sandbox"
)

// Input is what a configuration is put together from.
type Input struct {
	Path     string                               // of the file; empty: none is read
	Explicit bool                                 // somebody named the file: that it is absent is a problem
	Flag     func(name string) (string, bool)     // a flag's text, and whether it was given; nil: none
	Env      func(variable string) (string, bool) // an environment variable; an empty one counts as unset; nil: none
	Defaults map[string]string                    // by key, for settings whose default depends on the user

	// Languages returns the names of the languages that there are with a configuration, whose texts are all right; an
	// error is about languages_dir. Nil: all names are good.
	Languages func(*Effective) ([]string, error)
	Runtimes  []string // that exist; nil: all names are good
}

// Source is where a value comes from.
type Source struct {
	Kind SourceKind `json:"kind"`
	Name string     `json:"name,omitempty"` // of the flag, with its dashes, or the variable; the file's path
	Line int        `json:"line,omitempty"`
}

// SourceKind is a kind of [Source].
type SourceKind string

// The kinds of sources, in order of precedence, the weakest first.
const (
	FromDefault SourceKind = "default"
	FromFile    SourceKind = "file"
	FromEnv     SourceKind = "env"
	FromFlag    SourceKind = "flag"
)

func (s Source) String() string {
	switch s.Kind {
	case FromFile:
		return fmt.Sprintf("file %s:%d", s.Name, s.Line)
	case FromDefault:
		return "default"
	}
	return string(s.Kind) + " " + s.Name
}

// Effective is a configuration with the source of each value.
type Effective struct {
	Config
	Path    string            // of the file that was read; empty: none
	Sources map[string]Source // by key; of settings of API keys only where they are set
}

// loader is one [Load].
type loader struct {
	in       Input
	out      *Effective
	problems Problems
}

// Load puts a configuration together. Its error is of type [Problems].
func Load(in Input) (*Effective, error) {
	l := &loader{in: in, out: &Effective{Sources: map[string]Source{}}}
	l.out.Policy.Keys = map[string]sandbox.KeyPolicy{}
	l.file()
	for _, s := range Settings() {
		l.settle(&s)
	}
	l.check()
	if len(l.problems) > 0 {
		return nil, l.problems
	}
	return l.out, nil
}

// settle sets one setting from where it comes first.
func (l *loader) settle(s *Setting[Config]) {
	if text, ok := l.in.flag(s.Flag); ok {
		l.set(s, text, Source{Kind: FromFlag, Name: "--" + s.Flag})
		return
	}
	if text, ok := l.in.env(s.Env()); ok {
		l.set(s, text, Source{Kind: FromEnv, Name: s.Env()})
		return
	}
	if _, done := l.out.Sources[s.Key]; done { // the file said it, rightly or not
		return
	}
	text := s.Default
	if own, ok := l.in.Defaults[s.Key]; ok {
		text = own
	}
	l.out.Sources[s.Key] = Source{Kind: FromDefault}
	if text == "" {
		return
	}
	l.set(s, text, Source{Kind: FromDefault})
}

func (l *loader) set(s *Setting[Config], text string, from Source) {
	l.out.Sources[s.Key] = from
	var err error
	if text == "" && s.Default != "" {
		err = errValue("must not be empty")
	} else {
		err = s.Value.set(&l.out.Config, text)
	}
	if err != nil {
		l.problem(s.Key, err.Error())
	}
}

// problem reports what is wrong with the value of a key where that came from.
func (l *loader) problem(key, msg string) {
	from := l.out.Sources[key]
	p := Problem{Name: from.Name, Msg: msg}
	switch from.Kind {
	case FromFile:
		p = Problem{Path: from.Name, Line: from.Line, Name: key, Msg: msg}
	case FromDefault:
		p.Name = key
	}
	l.problems = append(l.problems, p)
}

func (in *Input) flag(name string) (string, bool) {
	if in.Flag == nil || name == "" {
		return "", false
	}
	return in.Flag(name)
}

func (in *Input) env(name string) (string, bool) {
	if in.Env == nil || name == "" {
		return "", false
	}
	text, ok := in.Env(name)
	return text, ok && text != ""
}

// file reads the file, if there is one.
func (l *loader) file() {
	if l.in.Path == "" {
		return
	}
	f, err := os.Open(l.in.Path)
	if errors.Is(err, fs.ErrNotExist) && !l.in.Explicit {
		return
	}
	if err != nil {
		if pe, ok := errors.AsType[*fs.PathError](err); ok {
			err = pe.Err
		}
		l.problems = append(l.problems, Problem{Path: l.in.Path, Msg: "cannot be read: " + err.Error()})
		return
	}
	defer f.Close()
	items, bad := readFile(f)
	if bad != nil {
		bad.Path = l.in.Path
		l.problems = append(l.problems, *bad)
		return
	}
	l.out.Path = l.in.Path
	l.apply(items)
}

// secretName matches an API key where its id or name belongs.
var secretName = regexp.MustCompile(`^e2b_[0-9a-fA-F]{8,}$`)

// maxProblems bounds what is said of one file: beyond, it is no configuration.
const maxProblems = 100

// apply sets what a file says.
func (l *loader) apply(items []item) {
	g := newGrammar()
	var skip []string // the table last reported: what lies in it is not reported again
	for _, it := range items {
		if len(l.problems) >= maxProblems {
			l.problems = append(l.problems, Problem{Path: l.in.Path, Line: it.line, Msg: "the rest is not looked at"})
			return
		}
		if skip != nil && len(it.path) >= len(skip) && slices.Equal(it.path[:len(skip)], skip) {
			continue
		}
		report := func(msg string) {
			l.problems = append(l.problems, Problem{Path: l.in.Path, Line: it.line, Name: it.name(), Msg: msg})
			skip = it.path
		}
		if len(it.path) > 1 && it.path[0] == keysTable && secretName.MatchString(it.path[1]) {
			hidden := it.path[:2]
			it.path = []string{keysTable, "e2b_…"}
			report("is an API key itself: name it by its id or its name, and revoke it, as others may have read it here")
			skip = hidden
			continue
		}
		l.applyItem(g, it, report)
	}
}

func (l *loader) applyItem(g *grammar, it item, report func(string)) {
	key, name := it.path, ""
	if len(key) > 2 && key[0] == keysTable {
		name = key[1]
	}
	switch g.kind(it.path) {
	case isUnknown:
		report("is no setting" + g.suggest(it.path))
		return
	case isTable:
		if !it.table {
			report("is a table, not a value")
		} else if it.array {
			report("is one table, not a list: write it in single brackets")
		} else if _, known := l.out.Policy.Keys[key[len(key)-1]]; !known && len(key) == 2 && key[0] == keysTable {
			l.out.Policy.Keys[key[1]] = sandbox.KeyPolicy{}
		}
		return
	}
	if it.table {
		report("is a value, not a table")
		return
	}
	l.out.Sources[it.name()] = Source{Kind: FromFile, Name: l.in.Path, Line: it.line}
	if name != "" {
		s := g.keySettings[joinKey(key[2:])]
		k := l.out.Policy.Keys[name]
		if err := setFromFile(&s, &k, it.value); err != nil {
			report(err.Error())
		}
		l.out.Policy.Keys[name] = k
		return
	}
	s := g.settings[it.name()]
	// What is wrong here is wrong even where a flag overrides it.
	if err := setFromFile(&s, &l.out.Config, it.value); err != nil {
		report(err.Error())
	}
}

func setFromFile[C any](s *Setting[C], c *C, v any) error {
	text, err := textOf(s.Value.Kind, v)
	if err != nil {
		return err
	}
	if text == "" && s.Value.Kind != Text {
		return errValue("must not be empty")
	}
	return s.Value.set(c, text)
}
