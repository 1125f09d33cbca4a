package sandbox

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/soulbox/soulbox/images"
	"github.com/soulbox/soulbox/images/library"
)

// ground is what an execution runs on: an image, or the host's own programs.
type ground struct {
	image  *library.Root // kept until release; nil: the host
	status func(*images.Recipe) images.Status
	env    map[string]string // of the image
}

// ground returns what r runs on. The caller releases it.
func (e *Engine) ground(r *Request, rules *Rules) (ground, error) {
	image, err := e.findImage("sandbox.Start", r.Tenant, r.Image, rules)
	if err != nil {
		return ground{}, err
	}
	if image == nil {
		return ground{status: func(r *images.Recipe) images.Status { return e.langs.status[r.Name] }}, nil
	}
	env := imageEnv(image.Config.Env)
	root := image.RootFS.Search(cmp.Or(env["PATH"], images.SearchPath))
	return ground{image: image, env: env, status: func(r *images.Recipe) images.Status { return r.Status(root.Lookup) }}, nil
}

// release gives the image back. Releasing twice is safe.
func (g ground) release() {
	if g.image != nil {
		g.image.Release()
	}
}

// root is the root file system of g.
func (e *Engine) groundRoot(g ground) *images.RootFS {
	if g.image != nil {
		return g.image.RootFS
	}
	return e.root
}

// name and digest are how a record has the image.
func (g ground) name() string {
	if g.image == nil {
		return hostImage
	}
	return g.image.Name
}

func (g ground) digest() string {
	if g.image == nil {
		return ""
	}
	return g.image.Digest
}

// apply gives a command that was not planned the image's variables, its PATH above all.
func (g ground) apply(c *images.Command) {
	if g.image == nil {
		return
	}
	env := maps.Clone(g.env)
	for _, e := range c.Env {
		if name, value, _ := strings.Cut(e, "="); name != "PATH" || env["PATH"] == "" {
			env[name] = value
		}
	}
	c.Env = nil
	for _, name := range slices.Sorted(maps.Keys(env)) {
		c.Env = append(c.Env, name+"="+env[name])
	}
}

// where says for an error what lacks a language.
func (g ground) where() string {
	if g.image == nil {
		return "on this host"
	}
	return "in the image " + g.image.Name
}

// prepareKey names what r prepares on g: on an image, whatever its compiler calls itself, by the image's digest.
func (e *Engine) prepareKey(r *images.Recipe, g ground) (string, error) {
	if g.image == nil {
		return r.PrepareKey(e.langs.versions[r.Name])
	}
	return r.PrepareKey("image " + strings.TrimPrefix(g.image.Digest, "sha256:"))
}
