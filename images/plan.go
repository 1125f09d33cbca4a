package images

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/template"
)

// maxPath is the longest path of a program's file, in bytes.
const maxPath = 4095

// ErrPlan marks what is wrong with a program's files, entrypoint or environment; its text is safe to show.
var ErrPlan = errors.New("cannot plan")

// PlanInput is what a plan depends on.
type PlanInput struct {
	Code       []byte            // content of the entrypoint, when at hand; recipes find Java's class in it
	Entrypoint string            // slash-separated path below the work directory; empty: the recipe's
	Files      []string          // paths of the program's files below the work directory; empty: only the entrypoint
	Args       []string          // the program's own arguments
	Env        map[string]string // above the recipe's
	Programs   map[string]string // what [Status] found: absolute paths inside by name
	ImageEnv   map[string]string // what an image sets: below all others, but for its PATH, which stands for the usual one

	CompileMemory int64 // limit of the compile step in bytes; 0: the recipe's default
	Memory        int64 // limit of the run step in bytes; 0: the recipe's default
}

// Command is one program to start inside a sandbox.
type Command struct {
	Args []string
	Env  []string // "NAME=value", sorted by name
	Dir  string
}

// Plan is how one program is compiled and run.
type Plan struct {
	Entrypoint string   // where the code belongs, relative to the work directory
	Compile    *Command // nil when there is nothing to compile
	Run        *Command // finds in the work directory what Compile left there
}

// step is a command before its templates are filled in.
type step struct {
	args []*template.Template
	env  []variable
}

// variable is an environment variable with a template as its value.
type variable struct {
	name  string
	value *template.Template
}

func compareVariables(a, b variable) int { return cmp.Compare(a.name, b.name) }

// templateData is what templates of a recipe can use.
//
// An element of args is rendered and then cut at NUL bytes; what is empty is dropped. So an element {{.Sources}} makes
// one argument for each source, and an element inside {{if}} can vanish.
type templateData struct {
	Entrypoint string // path of the file to run, never starting with a character that marks an option
	Sources    string // the files to name to a compiler, entrypoint first, separated by NUL
	Dir        string // directory of the entrypoint; "." at the top
	Stem       string // path of the entrypoint without its extension
	Module     string // dotted name of the class or module in the entrypoint
	Prepared   string // directory of the prepared files, read-only but for the prepare step
	Tools      string // directory of SoulBox's own tools
	Memory     int64  // the step's limit in bytes

	files []string
}

// MemoryMiB is the step's memory limit in MiB.
func (d templateData) MemoryMiB() int64 { return d.Memory >> 20 }

// Share is percent of the memory limit in MiB, but at least floor.
func (d templateData) Share(percent, floor int64) int64 {
	return max(d.Memory/100*percent>>20, floor)
}

// Has tells whether the program has the file name.
func (d templateData) Has(name string) bool { return slices.Contains(d.files, name) }

// Plan decides how a program is compiled and run. It is a pure function; the errors it returns wrap [ErrPlan].
func (r *Recipe) Plan(in PlanInput) (Plan, error) {
	files, err := cleanFiles(in.Files)
	if err != nil {
		return Plan{}, err
	}
	entry, err := r.entrypoint(in, files)
	if err != nil {
		return Plan{}, err
	}
	if len(files) == 0 {
		files = []string{entry}
	}
	if err := checkStrings(in); err != nil {
		return Plan{}, err
	}
	data := templateData{
		Entrypoint: argument(entry),
		Sources:    strings.Join(r.sourcesOf(entry, files), "\x00"),
		Dir:        path.Dir(entry),
		Stem:       argument(stem(entry)),
		Module:     r.module(entry, in.Code),
		Prepared:   r.PreparedDir(),
		Tools:      ToolsDir,
		files:      files,
	}
	p := Plan{Entrypoint: entry}
	if r.compile != nil {
		data.Memory = cmp.Or(in.CompileMemory, r.Compile.Memory)
		if p.Compile, err = r.command(r.compile, data, in.ImageEnv, nil, in.Programs); err != nil {
			return Plan{}, err
		}
	}
	data.Memory = cmp.Or(in.Memory, r.Limits.Memory)
	if p.Run, err = r.command(r.run, data, in.ImageEnv, in.Env, in.Programs); err != nil {
		return Plan{}, err
	}
	p.Run.Args = append(p.Run.Args, in.Args...)
	return p, nil
}

// command fills in s. Variables of env win over the step's, the step's over the recipe's, the recipe's over the base, and
// the base, PATH excepted, over the image's.
func (r *Recipe) command(s *step, data templateData, image, env map[string]string, programs map[string]string) (*Command, error) {
	c := &Command{Dir: WorkDir}
	for _, t := range s.args {
		text, err := render(t, data)
		if err != nil {
			return nil, fmt.Errorf("plan %s: %w", r.Name, err)
		}
		for arg := range strings.SplitSeq(text, "\x00") {
			if arg != "" {
				c.Args = append(c.Args, arg)
			}
		}
	}
	if len(c.Args) == 0 {
		return nil, fmt.Errorf("plan %s: the command is empty", r.Name)
	}
	c.Args[0] = cmp.Or(programs[c.Args[0]], c.Args[0])
	all := map[string]string{}
	maps.Copy(all, image)
	maps.Copy(all, map[string]string{"HOME": WorkDir, "LANG": "C.UTF-8", "PATH": cmp.Or(image["PATH"], SearchPath), "TZ": "UTC", "USER": "user"})
	for _, v := range slices.Concat(r.env, s.env) {
		text, err := render(v.value, data)
		if err != nil {
			return nil, fmt.Errorf("plan %s: %w", r.Name, err)
		}
		all[v.name] = text
	}
	maps.Copy(all, env)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		c.Env = append(c.Env, name+"="+all[name])
	}
	return c, nil
}

func render(t *template.Template, data templateData) (string, error) {
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		return "", fmt.Errorf("fill in template %s: %w", t.Name(), err)
	}
	return b.String(), nil
}

// entrypoint decides which file is run: the caller's choice, what the code says, the recipe's name, or the one source.
func (r *Recipe) entrypoint(in PlanInput, files []string) (string, error) {
	if in.Entrypoint != "" {
		entry, err := cleanFile(in.Entrypoint)
		if err != nil {
			return "", err
		}
		if len(files) > 0 && !slices.Contains(files, entry) {
			return "", fmt.Errorf("%w: entrypoint %q is not among the files", ErrPlan, entry)
		}
		return entry, nil
	}
	if len(files) == 0 {
		if name := r.className(in.Code); name != "" {
			return name + r.Extensions[0], nil
		}
		return r.Entrypoint, nil
	}
	if slices.Contains(files, r.Entrypoint) {
		return r.Entrypoint, nil
	}
	sources := slices.DeleteFunc(slices.Clone(files), func(f string) bool { return !r.isSource(f) })
	if len(sources) != 1 {
		return "", fmt.Errorf("%w: name the entrypoint: the files hold no %s and %d other %s sources", ErrPlan, r.Entrypoint, len(sources), r.Title)
	}
	return sources[0], nil
}

// sourcesOf lists the files to name to a compiler, entrypoint first, the others sorted.
func (r *Recipe) sourcesOf(entry string, files []string) []string {
	out := []string{argument(entry)}
	for _, f := range files {
		inDir := r.sources == sourcesTree || r.sources == sourcesDirectory && path.Dir(f) == path.Dir(entry)
		if f != entry && inDir && r.isSource(f) {
			out = append(out, argument(f))
		}
	}
	return out
}

func (r *Recipe) isSource(file string) bool {
	for _, glob := range r.exclude {
		if ok, _ := path.Match(glob, path.Base(file)); ok { // the pattern was checked when the recipe was loaded
			return false
		}
	}
	return slices.Contains(r.Extensions, path.Ext(file))
}

// className finds the name that the code itself gives to its file; "" when it gives none.
func (r *Recipe) className(code []byte) string {
	if len(r.entry) == 0 {
		return ""
	}
	code = blank(code)
	for _, re := range r.entry {
		if m := re.FindSubmatch(code); m != nil {
			return string(m[1])
		}
	}
	return ""
}

// module is the dotted name under which a runtime finds the entrypoint: by the code when it is at hand, else by the path.
func (r *Recipe) module(entry string, code []byte) string {
	if r.pkg == nil {
		return ""
	}
	if len(code) == 0 {
		return strings.ReplaceAll(stem(entry), "/", ".")
	}
	name := cmp.Or(r.className(code), path.Base(stem(entry)))
	if m := r.pkg.FindSubmatch(blank(code)); m != nil {
		return string(m[1]) + "." + name
	}
	return name
}

// blanks matches what is not code in a language of C's family: comments, text blocks, string and character literals.
func blanks() *regexp.Regexp {
	return regexp.MustCompile(`(?s)//[^\n]*|/\*.*?(?:\*/|\z)|""".*?(?:"""|\z)|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'`)
}

// blank replaces what is not code by a space.
func blank(code []byte) []byte { return blanks().ReplaceAll(code, []byte(" ")) }

func stem(file string) string {
	if s := strings.TrimSuffix(file, path.Ext(file)); path.Base(s) != "." && !strings.HasSuffix(s, "/") && s != "" {
		return s
	}
	return file
}

// argument makes a path safe as an argument: compilers take a leading - or + as an option and a leading @ as a list of
// arguments.
func argument(file string) string {
	if strings.ContainsAny(file[:1], "-+@") {
		return "./" + file
	}
	return file
}

func cleanFiles(files []string) ([]string, error) {
	var out []string
	for _, f := range files {
		clean, err := cleanFile(f)
		if err != nil {
			return nil, err
		}
		out = append(out, clean)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// cleanFile checks a path of a program's file and returns its shortest form.
func cleanFile(file string) (string, error) {
	clean := path.Clean(file)
	if file == "" || clean == "." || len(file) > maxPath || !filepath.IsLocal(file) ||
		strings.HasSuffix(file, "/") || strings.ContainsRune(file, 0) {
		return "", fmt.Errorf("%w: %.100q is not the path of a file below the work directory", ErrPlan, file)
	}
	return clean, nil
}

// checkStrings refuses what cannot be passed to a program.
func checkStrings(in PlanInput) error {
	for _, a := range in.Args {
		if strings.ContainsRune(a, 0) {
			return fmt.Errorf("%w: an argument holds a NUL byte", ErrPlan)
		}
	}
	for name, value := range in.Env {
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.ContainsRune(value, 0) {
			return fmt.Errorf("%w: environment variable %.100q: its name is empty or holds '=', or a NUL byte is in it", ErrPlan, name)
		}
	}
	return nil
}
