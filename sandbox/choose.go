package sandbox

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/soulbox/soulbox/images"
)

// recipe finds what runs r, and in what, and checks that it can and may.
func (e *Engine) recipe(r Request, rules *Rules, g ground) (*images.Recipe, Runtime, *Error) {
	recipe, bad := e.language(&r)
	if bad != nil {
		return nil, nil, bad
	}
	rt, bad := e.chosen("sandbox.Start", rules.under(r.Runtime, g.name()))
	if bad != nil {
		return nil, nil, bad
	}
	if err := rules.Allow(recipe.Name, rt.Info().Name); err != nil {
		return nil, nil, err
	}
	if missing := g.status(recipe).Missing; len(missing) > 0 {
		return nil, nil, &Error{Op: "sandbox.Start", Kind: KindUnavailable, Reason: "LANGUAGE_NOT_INSTALLED", Field: "language",
			Msg: fmt.Sprintf("%s is not installed %s (missing %v): %s", recipe.Title, g.where(), missing, images.InstallCommand(recipe.Packages))}
	}
	return recipe, rt, nil
}

// language finds the recipe that r names or, with [images.Auto], that its program is for.
func (e *Engine) language(r *Request) (*images.Recipe, *Error) {
	if !strings.EqualFold(r.Language, images.Auto) {
		recipe, ok := e.o.Catalog.Find(r.Language)
		if !ok {
			return nil, &Error{Op: "sandbox.Start", Kind: KindInvalid, Reason: "UNKNOWN_LANGUAGE", Field: "language",
				Msg: fmt.Sprintf("no language %.64q; there are %s", r.Language, strings.Join(e.o.Catalog.Names(), ", "))}
		}
		return recipe, nil
	}
	d := detectLanguage(e.o.Catalog, r)
	if d.Recipe == nil {
		return nil, unclear(e.o.Catalog, d.Candidates)
	}
	return d.Recipe, nil
}

// detectLanguage finds the language of a request that leaves it to the daemon. It is a pure function.
//
// The entrypoint decides. Files without an entrypoint must agree: those that say nothing for certain, such as data, do
// not count.
func detectLanguage(c *images.Catalog, r *Request) images.Detection {
	if len(r.Files) == 0 {
		return c.Detect(r.Entrypoint, []byte(r.Code))
	}
	if i := slices.IndexFunc(r.Files, func(f File) bool { return f.Path == r.Entrypoint }); i >= 0 {
		return c.Detect(r.Entrypoint, r.Files[i].Content)
	}
	if len(r.Files) == 1 {
		return c.Detect(r.Files[0].Path, r.Files[0].Content)
	}
	return agreement(c, r.Files)
}

// agreement returns the language that all files are in whose names say so. Where no name does, their texts are asked.
func agreement(c *images.Catalog, files []File) images.Detection {
	if d := vote(c, files, func(File) []byte { return nil }); len(d.Candidates) > 0 {
		return d
	}
	return vote(c, slices.DeleteFunc(slices.Clone(files), func(f File) bool { return path.Ext(f.Path) != "" }), func(f File) []byte { return f.Content })
}

// vote detects each file by its name and content, and counts only what is certain.
func vote(c *images.Catalog, files []File, content func(File) []byte) images.Detection {
	votes := map[*images.Recipe]int{}
	for _, f := range files {
		if d := c.Detect(f.Path, content(f)); d.Recipe != nil {
			votes[d.Recipe]++
		}
	}
	var recipes []*images.Recipe
	for _, r := range c.All() { // by name, so that the order does not depend on chance
		if votes[r] > 0 {
			recipes = append(recipes, r)
		}
	}
	slices.SortStableFunc(recipes, func(a, b *images.Recipe) int { return cmp.Compare(votes[b], votes[a]) })
	var d images.Detection
	for _, r := range recipes {
		d.Candidates = append(d.Candidates, r.Name)
	}
	if len(recipes) == 1 {
		d.Recipe = recipes[0]
	}
	return d
}

// unclear is the error for a program whose language nobody named and nothing gives away.
func unclear(c *images.Catalog, candidates []string) *Error {
	msg := "neither the name nor the text of the program says what language it is in; name one of " + strings.Join(c.Names(), ", ")
	switch n := len(candidates); n {
	case 0:
	case 1:
		msg = fmt.Sprintf("the program may be %s, but nothing says so for certain; name the language", candidates[0])
	default:
		msg = fmt.Sprintf("the program may be %s or %s, most likely first; name the language", strings.Join(candidates[:n-1], ", "), candidates[n-1])
	}
	return &Error{Op: "sandbox.Start", Kind: KindInvalid, Reason: "LANGUAGE_UNCLEAR", Field: "language", Msg: msg}
}
