package sandbox

import (
	"context"
	"io"

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

// Build makes an image.
func (i *Images) Build(context.Context, string, ImageTarget, ImageBuild, ImageReport) (Image, error) {
	return Image{}, &Error{Op: "sandbox.BuildImage", Kind: KindUnsupported, Reason: "UNSUPPORTED", Msg: "not here yet"}
}
