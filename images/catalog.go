package images

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
)

//go:embed recipes/*.toml
var recipes embed.FS

// Catalog holds the recipes. It is read-only and safe for concurrent use.
type Catalog struct {
	all    []*Recipe // by name
	byName map[string]*Recipe
	byExt  map[string]*Recipe
}

// Load reads the embedded recipes.
func Load() (*Catalog, error) {
	dir, err := fs.Sub(recipes, "recipes")
	if err != nil {
		return nil, fmt.Errorf("open embedded recipes: %w", err)
	}
	return load(dir)
}

// load reads every *.toml file of dir, and refuses recipes that contradict each other.
func load(dir fs.FS) (*Catalog, error) {
	names, err := fs.Glob(dir, "*.toml")
	if err != nil {
		return nil, fmt.Errorf("list recipes: %w", err)
	}
	c := &Catalog{byName: map[string]*Recipe{}, byExt: map[string]*Recipe{}}
	var errs []error
	for _, name := range names {
		data, err := fs.ReadFile(dir, name)
		if err != nil {
			return nil, fmt.Errorf("read recipe: %w", err)
		}
		r, err := parseRecipe(data)
		if err == nil {
			err = errors.Join(c.add(r), sameName(r, name))
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("load recipe %s: %w", name, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	c.sort()
	return c, nil
}

// sameName reports a recipe that is not named as its file is.
func sameName(r *Recipe, file string) error {
	if r.Name+".toml" != file {
		return fmt.Errorf("it is named %q", r.Name)
	}
	return nil
}

func (c *Catalog) sort() {
	slices.SortFunc(c.all, func(a, b *Recipe) int { return strings.Compare(a.Name, b.Name) })
}

func (c *Catalog) add(r *Recipe) error {
	var errs []error
	for _, name := range append([]string{r.Name}, r.Aliases...) {
		if other, ok := c.byName[name]; ok {
			errs = append(errs, fmt.Errorf("name %q is taken by %s", name, other.Name))
		}
		c.byName[name] = r
	}
	for _, ext := range r.Extensions {
		if other, ok := c.byExt[ext]; ok {
			errs = append(errs, fmt.Errorf("extension %q is taken by %s", ext, other.Name))
		}
		c.byExt[ext] = r
	}
	c.all = append(c.all, r)
	return errors.Join(errs...)
}

// remove makes room for a recipe that replaces r.
func (c *Catalog) remove(r *Recipe) {
	c.all = slices.DeleteFunc(c.all, func(o *Recipe) bool { return o == r })
	maps.DeleteFunc(c.byName, func(_ string, o *Recipe) bool { return o == r })
	maps.DeleteFunc(c.byExt, func(_ string, o *Recipe) bool { return o == r })
}

// All returns the recipes by name.
func (c *Catalog) All() []*Recipe { return slices.Clone(c.all) }

// Find returns the recipe with a name or alias, in whatever case.
func (c *Catalog) Find(name string) (*Recipe, bool) {
	r, ok := c.byName[strings.ToLower(name)]
	return r, ok
}

// Names returns the names of all recipes, sorted.
func (c *Catalog) Names() []string {
	var out []string
	for _, r := range c.all {
		out = append(out, r.Name)
	}
	return out
}
