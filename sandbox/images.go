package sandbox

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/soulbox/soulbox/images"
	"github.com/soulbox/soulbox/images/debian"
	"github.com/soulbox/soulbox/images/library"
)

//nolint:revive // Images have the types of the library that keeps them, all of them described there.
type (
	Image          = library.Image
	ImageProgress  = library.Progress
	ImageReport    = library.Report
	ImageTarget    = library.Target
	ImageCollected = library.Collected
)

// Images are the images of an engine, as its callers see and change them. Errors are of type [*Error].
type Images struct {
	e *Engine
	l *library.Library
}

// Images returns the images beside the host's.
func (e *Engine) Images() *Images { return &Images{e: e, l: e.o.Images} }

// available returns why there are none at all.
func (i *Images) available(op string) error {
	if i.l == nil {
		return &Error{Op: op, Kind: KindUnsupported, Reason: "IMAGES_OFF", Msg: "this daemon keeps no images"}
	}
	return nil
}

// mayChange refuses a client that the operator has rules for: what it makes, others would run on, and their disk it is.
func (i *Images) mayChange(op, client string) error {
	if err := i.available(op); err != nil {
		return err
	}
	if i.e.HasRules(client) {
		return &Error{Op: op, Kind: KindDenied, Reason: "IMAGES_NOT_ALLOWED", Msg: "the operator has rules for this key: it cannot get, make or remove images"}
	}
	return nil
}

// List returns the images of a tenant, by name.
func (i *Images) List(_ context.Context, tenant string) ([]Image, error) {
	const op = "sandbox.ListImages"
	if err := i.available(op); err != nil {
		return nil, err
	}
	list, err := i.l.List(tenant)
	return list, imageError(op, err)
}

// Get returns the image that a tenant means by name.
func (i *Images) Get(_ context.Context, tenant, name string) (Image, error) {
	const op = "sandbox.GetImage"
	if err := i.available(op); err != nil {
		return Image{}, err
	}
	img, err := i.l.Get(tenant, name)
	return img, imageError(op, err)
}

// Pull gets an image from a registry.
func (i *Images) Pull(ctx context.Context, client string, t ImageTarget, reference string, report ImageReport) (Image, error) {
	const op = "sandbox.PullImage"
	if err := i.admit(op, client); err != nil {
		return Image{}, err
	}
	img, err := i.l.Pull(ctx, t, reference, report)
	return img, imageError(op, err)
}

// Import takes the image of an archive; which names one of several.
func (i *Images) Import(ctx context.Context, client string, t ImageTarget, archive io.Reader, which string) (Image, error) {
	const op = "sandbox.ImportImage"
	if err := i.admit(op, client); err != nil {
		return Image{}, err
	}
	img, err := i.l.Import(ctx, t, archive, which, nil)
	return img, imageError(op, err)
}

// Export writes an image as an archive. An error of w is returned as it is.
func (i *Images) Export(_ context.Context, tenant, name string, w io.Writer) error {
	const op = "sandbox.ExportImage"
	if err := i.available(op); err != nil {
		return err
	}
	return imageError(op, i.l.Export(tenant, name, w))
}

// Remove forgets an image.
func (i *Images) Remove(_ context.Context, tenant, client, name string) (ImageCollected, error) {
	const op = "sandbox.RemoveImage"
	if err := i.mayChange(op, client); err != nil {
		return ImageCollected{}, err
	}
	c, err := i.l.Remove(tenant, name)
	return c, imageError(op, err)
}

// Collect removes what no image refers to, whosever it was.
func (i *Images) Collect(_ context.Context, client string) (ImageCollected, error) {
	const op = "sandbox.CollectImages"
	if err := i.mayChange(op, client); err != nil {
		return ImageCollected{}, err
	}
	c, err := i.l.Collect()
	return c, imageError(op, err)
}

// admit lets a client add an image when it may and there is space.
func (i *Images) admit(op, client string) error {
	if err := i.mayChange(op, client); err != nil {
		return err
	}
	return i.e.boxes.diskSpace(op)
}

// ImageBuild says what a Debian is to hold.
type ImageBuild struct {
	Recipes  []string // names of languages, "base" for none, "all" for all
	Suite    string   // empty: the operator's
	Snapshot string   // time of the archive, "20260101T000000Z"; empty: as it is now
	Packages []string // beside those of the recipes
}

// Build makes an image of Debian's packages. There is one build at a time: the disk and the network bound it.
func (i *Images) Build(ctx context.Context, client string, t ImageTarget, b ImageBuild, report ImageReport) (Image, error) {
	const op = "sandbox.BuildImage"
	if err := i.admit(op, client); err != nil {
		return Image{}, err
	}
	o, bad := i.buildOptions(&t, b)
	if bad != nil {
		return Image{}, bad
	}
	at, err := o.Time(time.Now())
	if err != nil {
		return Image{}, imageError(op, err)
	}
	select {
	case i.e.building <- struct{}{}:
		defer func() { <-i.e.building }()
	case <-ctx.Done():
		return Image{}, canceled(ctx, op)
	}
	made := library.Made{CreatedAt: at, Labels: map[string]string{"soulbox.recipes": strings.Join(b.Recipes, " "), "soulbox.packages": strings.Join(o.Packages, " "),
		"soulbox.suite": o.Suite, "soulbox.snapshot": o.Snapshot},
		Config: library.Config{Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"}, User: "user", Workdir: images.SessionHome, Cmd: []string{"/bin/bash"}}}
	img, err := i.l.Make(ctx, t, made, wideRoot, func(ctx context.Context, w io.Writer, tmp string) error {
		return debian.Build(ctx, o, tmp, wideRoot, w, func(line string) { report(ImageProgress{Stage: library.StageBuild, Text: line}) })
	}, report)
	return img, imageError(op, err)
}

// buildOptions says what is to be built, and names it when nobody did.
func (i *Images) buildOptions(t *ImageTarget, b ImageBuild) (debian.Options, *Error) {
	o := debian.Options{Suite: cmp.Or(b.Suite, i.e.o.Debian.Suite, debian.DefaultSuite), Snapshot: b.Snapshot, Mirror: i.e.o.Debian.Mirror,
		Packages: slices.Clone(b.Packages)}
	for _, name := range b.Recipes {
		switch recipe, ok := i.e.o.Catalog.Find(name); {
		case ok:
			o.Packages = append(o.Packages, recipe.Packages...)
		case name == "all":
			for _, r := range i.e.o.Catalog.All() {
				o.Packages = append(o.Packages, r.Packages...)
			}
		case name != "base":
			return o, &Error{Op: "sandbox.BuildImage", Kind: KindInvalid, Reason: "UNKNOWN_LANGUAGE", Field: "recipes",
				Msg: fmt.Sprintf("no language %.64q; there are base, all, %s", name, strings.Join(i.e.o.Catalog.Names(), ", "))}
		}
	}
	slices.Sort(o.Packages)
	o.Packages = slices.Compact(o.Packages)
	t.Name, t.Source = cmp.Or(t.Name, strings.Join(b.Recipes, "-")), "build "+strings.Join(b.Recipes, " ")
	if err := library.CheckName(t.Name); err != nil {
		return o, &Error{Op: "sandbox.BuildImage", Kind: KindInvalid, Reason: "BAD_IMAGE_NAME", Field: "name", Msg: err.Error()}
	}
	return o, nil
}
