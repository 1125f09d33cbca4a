package images

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"text/template"

	"github.com/pelletier/go-toml/v2"
)

// Places inside a sandbox that commands refer to.
const (
	WorkDir    = "/work"             // the program's directory, HOME and cwd
	ToolsDir   = "/opt/soulbox/bin"  // tools that programs may use
	LangDir    = "/opt/soulbox/lang" // one directory for each language's prepared files
	SearchPath = "/usr/local/go/bin:/usr/local/bin:/usr/bin:/bin"
)

// Recipe is one language: how its programs are compiled and run. It is read-only and safe for concurrent use.
type Recipe struct {
	Name       string // "cpp"
	Title      string // "C++"
	Aliases    []string
	Extensions []string // with the dot; the first is the usual one
	Entrypoint string   // default file name
	Packages   []string // Debian packages that hold Needs
	Needs      []string // programs that must exist inside, by name in [SearchPath] or by absolute path
	Limits     Limits   // defaults of the run step
	Compile    Limits   // defaults of the compile step; zero when there is none
	Prepare    Limits   // bounds of the prepare step; zero when there is none
	Notes      []string // what users should know, in Markdown
	Samples    []Sample

	Interactive []string // the command of its interactive interpreter; empty: it has none

	replaces     bool     // takes the place of the embedded recipe of its name
	interpreters []string // program names in a #! line
	shared       []string // extensions that other languages have as well
	marks        []mark
	entry        []*regexp.Regexp
	pkg          *regexp.Regexp
	sources      sourceRule
	exclude      []string // globs on base names that are never sources
	env          []variable
	version      []string
	versionRE    *regexp.Regexp
	prepare      *step
	compile      *step
	run          *step
	outOfMemory  []signature
}

// Compiled tells whether programs of r have a compile step.
func (r *Recipe) Compiled() bool { return r.compile != nil }

// sourceRule says which of a program's files are sources, to be named to the compiler.
type sourceRule string

const (
	sourcesEntrypoint sourceRule = "entrypoint" // the entrypoint finds the others itself
	sourcesDirectory  sourceRule = "directory"  // all in the entrypoint's directory
	sourcesTree       sourceRule = "tree"       // all
)

// recipeFile is a recipe as it is written.
type recipeFile struct {
	Name               string            `toml:"name"`
	Replaces           bool              `toml:"replaces"`
	Title              string            `toml:"title"`
	Aliases            []string          `toml:"aliases"`
	Extensions         []string          `toml:"extensions"`
	SharedExtensions   []string          `toml:"shared_extensions"`
	Interpreters       []string          `toml:"interpreters"`
	Entrypoint         string            `toml:"entrypoint"`
	EntrypointPatterns []string          `toml:"entrypoint_patterns"`
	PackagePattern     string            `toml:"package_pattern"`
	Sources            sourceRule        `toml:"sources"`
	SourcesExclude     []string          `toml:"sources_exclude"`
	Packages           []string          `toml:"packages"`
	Needs              []string          `toml:"needs"`
	Env                map[string]string `toml:"env"`
	Version            versionFile       `toml:"version"`
	Prepare            *prepareFile      `toml:"prepare"`
	Compile            *stepFile         `toml:"compile"`
	Run                *stepFile         `toml:"run"`
	Interactive        []string          `toml:"interactive"`
	OutOfMemory        []signatureFile   `toml:"out_of_memory"`
	Notes              []string          `toml:"notes"`
	Detect             []markFile        `toml:"detect"`
	Samples            []Sample          `toml:"samples"`
}

type versionFile struct {
	Args    []string `toml:"args"`
	Pattern string   `toml:"pattern"` // its first group is the version
}

type prepareFile struct {
	Script string            `toml:"script"` // for sh -e; a template
	Env    map[string]string `toml:"env"`
	Limits limitsFile        `toml:"limits"`
}

type stepFile struct {
	Args   []string          `toml:"args"`
	Env    map[string]string `toml:"env"` // beside and above the recipe's
	Limits limitsFile        `toml:"limits"`
}

// parseRecipe reads and checks one recipe. All that is wrong with it is reported at once.
func parseRecipe(data []byte) (*Recipe, error) {
	var f recipeFile
	dec := toml.NewDecoder(bytes.NewReader(data)).DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		return nil, decodeError(err)
	}
	c := compiler{file: &f}
	r := c.recipe()
	return r, errors.Join(c.errs...)
}

// decodeError says in which lines of the file the decoder met what it does not know or understand.
func decodeError(err error) error {
	if strict, ok := errors.AsType[*toml.StrictMissingError](err); ok {
		var errs []error
		for _, e := range strict.Errors {
			row, _ := e.Position()
			errs = append(errs, fmt.Errorf("line %d: unknown key %s", row, strings.Join(e.Key(), ".")))
		}
		return errors.Join(errs...)
	}
	if e, ok := errors.AsType[*toml.DecodeError](err); ok {
		row, column := e.Position()
		return fmt.Errorf("line %d, column %d: %w", row, column, err)
	}
	return fmt.Errorf("decode recipe: %w", err)
}

// compiler turns a recipe's file into a Recipe and collects what is wrong with it.
type compiler struct {
	file *recipeFile
	errs []error
}

func (c *compiler) failf(format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf(format, args...))
}

func (c *compiler) recipe() *Recipe {
	f := c.file
	r := &Recipe{
		Name: f.Name, Title: f.Title, Aliases: f.Aliases, Extensions: f.Extensions, Entrypoint: f.Entrypoint,
		Packages: f.Packages, Needs: f.Needs, Notes: f.Notes, Samples: f.Samples, Interactive: f.Interactive,
		replaces: f.Replaces, interpreters: f.Interpreters, shared: f.SharedExtensions, sources: f.Sources, exclude: f.SourcesExclude,
		version: f.Version.Args, versionRE: c.regexp("version.pattern", f.Version.Pattern),
	}
	c.describe()
	for _, p := range f.EntrypointPatterns {
		r.entry = append(r.entry, c.regexp("entrypoint_patterns", p))
	}
	if f.PackagePattern != "" {
		r.pkg = c.regexp("package_pattern", f.PackagePattern)
	}
	r.env = c.env("env", f.Env)
	if f.Prepare != nil {
		r.Prepare = c.limits("prepare", f.Prepare.Limits)
		r.prepare = &step{args: c.args("prepare", []string{"/usr/bin/sh", "-ec", f.Prepare.Script}), env: c.env("prepare.env", f.Prepare.Env)}
	}
	if f.Compile != nil {
		r.Compile = c.limits("compile", f.Compile.Limits)
		r.compile = &step{args: c.args("compile.args", f.Compile.Args), env: c.env("compile.env", f.Compile.Env)}
	}
	if f.Run == nil {
		c.failf("run is missing")
		return r
	}
	r.Limits = c.limits("run", f.Run.Limits)
	r.run = &step{args: c.args("run.args", f.Run.Args), env: c.env("run.env", f.Run.Env)}
	for _, m := range f.Detect {
		r.marks = append(r.marks, c.mark(m))
	}
	for _, s := range f.OutOfMemory {
		r.outOfMemory = append(r.outOfMemory, c.signature(s))
	}
	return r
}

// describe checks the fields that are taken over as they are.
func (c *compiler) describe() {
	f := c.file
	for _, s := range []struct{ key, value string }{{"name", f.Name}, {"title", f.Title}, {"entrypoint", f.Entrypoint}} {
		if s.value == "" {
			c.failf("%s is empty", s.key)
		}
	}
	for _, name := range append([]string{f.Name}, f.Aliases...) {
		if !plainName().MatchString(name) { // of directories, and in URLs
			c.failf("name %q is not of a-z, 0-9, +, #, - and . with a letter or digit first, at most 64", name)
		}
		if strings.EqualFold(name, Auto) {
			c.failf("name %q stands for a language that is to be detected", name)
		}
	}
	if _, err := cleanFile(f.Entrypoint); err != nil && f.Entrypoint != "" {
		c.failf("entrypoint: %w", err)
	}
	for _, l := range []struct {
		key    string
		values []string
	}{{"packages", f.Packages}, {"needs", f.Needs}, {"version.args", f.Version.Args}, {"extensions", f.Extensions}} {
		if len(l.values) == 0 || slices.Contains(l.values, "") {
			c.failf("%s is empty or holds an empty string", l.key)
		}
	}
	for _, ext := range slices.Concat(f.Extensions, f.SharedExtensions) {
		if path.Ext(ext) != ext {
			c.failf("extension %q is not a dot and a word", ext)
		}
	}
	if !slices.Contains([]sourceRule{sourcesEntrypoint, sourcesDirectory, sourcesTree}, f.Sources) {
		c.failf("sources is %q, want entrypoint, directory or tree", f.Sources)
	}
	if slices.Contains(f.Interactive, "") {
		c.failf("interactive holds an empty string")
	}
	for _, glob := range f.SourcesExclude {
		if _, err := path.Match(glob, ""); err != nil {
			c.failf("sources_exclude %q: %w", glob, err)
		}
	}
	c.samples()
}

// plainName matches names of recipes. They are looked up in lower case.
func plainName() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9][a-z0-9+#.-]{0,63}$`) }

func (c *compiler) regexp(key, pattern string) *regexp.Regexp {
	re, err := regexp.Compile(pattern)
	if err != nil {
		c.failf("compile %s: %w", key, err)
		return nil
	}
	if re.NumSubexp() < 1 {
		c.failf("%s %q has no group", key, pattern)
	}
	return re
}

func (c *compiler) args(key string, args []string) []*template.Template {
	var out []*template.Template
	if len(args) == 0 {
		c.failf("%s is empty", key)
	}
	for _, a := range args {
		out = append(out, c.template(key, a))
	}
	return out
}

func (c *compiler) env(key string, env map[string]string) []variable {
	var out []variable
	for name, value := range env {
		out = append(out, variable{name: name, value: c.template(key+"."+name, value)})
	}
	slices.SortFunc(out, compareVariables)
	return out
}

// template parses text and tries it, so that a misspelt field is found when recipes are loaded.
func (c *compiler) template(key, text string) *template.Template {
	t, err := template.New(key).Option("missingkey=error").Parse(text)
	if err == nil {
		_, err = render(t, templateData{})
	}
	if err != nil {
		c.failf("parse %s: %w", key, err)
	}
	return t
}

func (c *compiler) limits(key string, f limitsFile) Limits {
	l := f.limits()
	if err := l.complete(); err != nil {
		c.failf("%s.limits: %w", key, err)
	}
	return l
}
