package images

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// maxRecipe bounds the file of one recipe, in bytes.
const maxRecipe = 1 << 20

// LoadDir reads the embedded recipes and, on top of them, every *.toml file of an operator's directory. An empty dir
// means none. All that is wrong with all files is reported at once.
func LoadDir(dir string) (*Catalog, error) {
	if dir == "" {
		return Load()
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list languages: %w", err)
	}
	var files []string
	for _, e := range entries { // sorted by name
		if filepath.Ext(e.Name()) == ".toml" {
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	return LoadFiles(files...)
}

// LoadFiles reads the embedded recipes and, on top of them, operators' files.
//
// A file is named after its recipe. Names, aliases and extensions must not be taken, but with replaces = true a recipe
// takes the place of the embedded one of its name.
func LoadFiles(files ...string) (*Catalog, error) {
	c, err := Load()
	if err != nil {
		return nil, err
	}
	var errs []error
	var read []*Recipe
	for _, file := range files {
		r, err := readRecipe(file)
		if err == nil {
			err = c.makeRoom(r)
		}
		if err != nil {
			errs = append(errs, each(file, err))
			r = nil
		}
		read = append(read, r)
	}
	// Only once all are gone that are replaced: what one of them was called may be what another file's is.
	for i, r := range read {
		if r == nil {
			continue
		}
		if err := c.add(r); err != nil {
			errs = append(errs, each(files[i], err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	c.sort()
	return c, nil
}

// each puts the file's name before every one of the problems that err joins.
func each(file string, err error) error {
	joined, ok := err.(interface{ Unwrap() []error }) // and not errors.As: what is wrapped is one problem
	if !ok {
		return fmt.Errorf("%s: %w", file, err)
	}
	var errs []error
	for _, e := range joined.Unwrap() {
		errs = append(errs, each(file, e))
	}
	return errors.Join(errs...)
}

// makeRoom removes the embedded recipe that r replaces.
func (c *Catalog) makeRoom(r *Recipe) error {
	i := slices.IndexFunc(c.all, func(o *Recipe) bool { return o.Name == r.Name })
	switch {
	case i >= 0 && r.replaces:
		c.remove(c.all[i])
	case i >= 0:
		return fmt.Errorf("name %q is that of an embedded language; to take its place, say replaces = true", r.Name)
	case r.replaces:
		return fmt.Errorf("replaces is true, but there is no embedded language %q", r.Name)
	}
	return nil
}

// readRecipe reads and checks an operator's file.
func readRecipe(file string) (_ *Recipe, err error) {
	// What is no regular file could block, or never end.
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, unwrapPath(err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	st, err := f.Stat()
	if err != nil {
		return nil, unwrapPath(err)
	}
	if !st.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	data, err := io.ReadAll(io.LimitReader(f, maxRecipe+1))
	if err != nil {
		return nil, unwrapPath(err)
	}
	if len(data) > maxRecipe {
		return nil, fmt.Errorf("more than %d bytes", maxRecipe)
	}
	r, err := parseRecipe(data)
	if err != nil {
		return nil, err
	}
	return r, sameName(r, filepath.Base(file))
}

// unwrapPath drops the file's name from an error that will be told with it.
func unwrapPath(err error) error {
	if p, ok := errors.AsType[*os.PathError](err); ok {
		return fmt.Errorf("%s: %w", p.Op, p.Err)
	}
	return err
}
