package v1

import (
	"context"
	"errors"
	"io"
	"time"

	"connectrpc.com/connect"

	"github.com/soulbox/soulbox/rpc/chunks"
	"github.com/soulbox/soulbox/rpc/errs"
	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
	"github.com/soulbox/soulbox/sandbox"
)

// progressRest is the least time between two events of the same stage.
const progressRest = 100 * time.Millisecond

// Images keeps the images that sandboxes start from; [*sandbox.Images] is one. Errors are of type [*sandbox.Error].
type Images interface {
	// List returns the images of tenant, by name.
	List(ctx context.Context, tenant string) ([]sandbox.Image, error)
	// Get returns the image that tenant means by name.
	Get(ctx context.Context, tenant, name string) (sandbox.Image, error)
	// Pull and Build return an image once it can be used, and call report as they go on.
	Pull(ctx context.Context, client string, t sandbox.ImageTarget, reference string, report sandbox.ImageReport) (sandbox.Image, error)
	Build(ctx context.Context, client string, t sandbox.ImageTarget, b sandbox.ImageBuild, report sandbox.ImageReport) (sandbox.Image, error)
	// Import returns the image of an archive once it can be used.
	Import(ctx context.Context, client string, t sandbox.ImageTarget, archive io.Reader, which string) (sandbox.Image, error)
	// Export writes an image as an archive. Before the first byte nothing is written.
	Export(ctx context.Context, tenant, name string, w io.Writer) error
	// Remove forgets an image.
	Remove(ctx context.Context, tenant, client, name string) (sandbox.ImageCollected, error)
	// Collect removes what no image refers to.
	Collect(ctx context.Context, client string) (sandbox.ImageCollected, error)
}

// ImageService implements soulbox.v1.ImageService.
type ImageService struct{ s *Services }

// images returns the images and who asks.
func (i *ImageService) images(ctx context.Context) (Images, Caller, error) {
	c, err := i.s.caller(ctx)
	if err == nil && i.s.o.Images == nil {
		err = &sandbox.Error{Op: "v1.Images", Kind: sandbox.KindUnsupported, Reason: "IMAGES_OFF", Msg: "this daemon keeps no images"}
	}
	return i.s.o.Images, c, err
}

// ListImages answers the images of the caller's tenant.
func (i *ImageService) ListImages(ctx context.Context, _ *pb.ListImagesRequest) (*pb.ListImagesResponse, error) {
	images, c, err := i.images(ctx)
	if err != nil {
		return nil, err
	}
	list, err := images.List(ctx, c.Tenant)
	if err != nil {
		return nil, err
	}
	out := &pb.ListImagesResponse{}
	for _, img := range list {
		out.Images = append(out.Images, imageProto(img))
	}
	return out, nil
}

// GetImage answers one image.
func (i *ImageService) GetImage(ctx context.Context, m *pb.GetImageRequest) (*pb.Image, error) {
	images, c, err := i.images(ctx)
	if err != nil {
		return nil, err
	}
	img, err := images.Get(ctx, c.Tenant, m.GetName())
	if err != nil {
		return nil, err
	}
	return imageProto(img), nil
}

// PullImage gets an image from a registry.
func (i *ImageService) PullImage(ctx context.Context, m *pb.PullImageRequest, out *connect.ServerStream[pb.ImageEvent]) error {
	return i.Pull(ctx, m, out.Send)
}

// Pull gets an image from a registry and calls send as it goes on.
func (i *ImageService) Pull(ctx context.Context, m *pb.PullImageRequest, send func(*pb.ImageEvent) error) error {
	images, c, err := i.images(ctx)
	if err != nil {
		return err
	}
	return follow(ctx, send, func(ctx context.Context, report sandbox.ImageReport) (sandbox.Image, error) {
		t := sandbox.ImageTarget{Tenant: c.Tenant, Name: m.GetName(), Source: "pull " + m.GetReference()}
		return images.Pull(ctx, c.Client, t, m.GetReference(), report)
	})
}

// BuildImage makes an image.
func (i *ImageService) BuildImage(ctx context.Context, m *pb.BuildImageRequest, out *connect.ServerStream[pb.ImageEvent]) error {
	return i.Build(ctx, m, out.Send)
}

// Build makes an image and calls send as it goes on.
func (i *ImageService) Build(ctx context.Context, m *pb.BuildImageRequest, send func(*pb.ImageEvent) error) error {
	images, c, err := i.images(ctx)
	if err != nil {
		return err
	}
	return follow(ctx, send, func(ctx context.Context, report sandbox.ImageReport) (sandbox.Image, error) {
		b := sandbox.ImageBuild{Recipes: m.GetRecipes(), Suite: m.GetSuite(), Snapshot: m.GetSnapshot(), Packages: m.GetPackages()}
		return images.Build(ctx, c.Client, sandbox.ImageTarget{Tenant: c.Tenant, Name: m.GetName()}, b, report)
	})
}

// follow does something that takes a while and sends how far it is, and the image in the end. A client that cannot be sent
// to ends it.
func follow(ctx context.Context, send func(*pb.ImageEvent) error, do func(context.Context, sandbox.ImageReport) (sandbox.Image, error)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var gone error
	last := map[sandbox.ImageProgress]time.Time{}
	img, err := do(ctx, func(p sandbox.ImageProgress) {
		same := sandbox.ImageProgress{Stage: p.Stage, Digest: p.Digest}
		if gone != nil || p.Text == "" && p.Done != p.Total && time.Since(last[same]) < progressRest {
			return
		}
		last[same] = time.Now()
		if gone = send(eventProto(p)); gone != nil {
			cancel(gone)
		}
	})
	switch {
	case gone != nil:
		return clientGone("send progress", gone)
	case err != nil:
		return err
	}
	if err := send(&pb.ImageEvent{Image: imageProto(img)}); err != nil {
		return clientGone("send an image", err)
	}
	return nil
}

// ImportImage takes the image of an archive.
func (i *ImageService) ImportImage(ctx context.Context, in *connect.ClientStream[pb.ImportImageRequest]) (*pb.Image, error) {
	const first = "the first message names the image"
	if !in.Receive() {
		if err := in.Err(); err != nil {
			return nil, err
		}
		return nil, errs.Invalid("open", first)
	}
	if err := i.s.Validate(in.Msg()); err != nil {
		return nil, err
	}
	open := in.Msg().GetOpen()
	if open == nil {
		return nil, errs.Invalid("open", first)
	}
	return i.Import(ctx, open, chunks.NewReader(func() ([]byte, error) {
		if !in.Receive() {
			if err := in.Err(); err != nil {
				return nil, err
			}
			return nil, io.EOF
		}
		if in.Msg().GetOpen() != nil {
			return nil, errs.Invalid("open", "only the first message names an image")
		}
		return in.Msg().GetData(), nil
	}))
}

// Import takes the image of an archive.
func (i *ImageService) Import(ctx context.Context, open *pb.OpenImage, archive io.Reader) (*pb.Image, error) {
	images, c, err := i.images(ctx)
	if err != nil {
		return nil, err
	}
	img, err := images.Import(ctx, c.Client, sandbox.ImageTarget{Tenant: c.Tenant, Name: open.GetName(), Source: "import"}, archive, open.GetImage())
	if err != nil {
		if bad, ok := errors.AsType[*connect.Error](err); ok { // of the stream, whoever wrapped it
			return nil, bad
		}
		return nil, err
	}
	return imageProto(img), nil
}

// ExportImage answers an image as an archive.
func (i *ImageService) ExportImage(ctx context.Context, m *pb.ExportImageRequest, out *connect.ServerStream[pb.ExportImageResponse]) error {
	return i.Export(ctx, m, writerFunc(func(p []byte) (int, error) {
		for piece := p; len(piece) > 0; {
			n := min(len(piece), fileChunk)
			if err := out.Send(&pb.ExportImageResponse{Data: piece[:n]}); err != nil {
				return 0, clientGone("send an image", err)
			}
			piece = piece[n:]
		}
		return len(p), nil
	}))
}

// Export writes an image as an archive.
func (i *ImageService) Export(ctx context.Context, m *pb.ExportImageRequest, w io.Writer) error {
	images, c, err := i.images(ctx)
	if err != nil {
		return err
	}
	err = images.Export(ctx, c.Tenant, m.GetName(), w)
	if gone, ok := errors.AsType[*connect.Error](err); ok {
		return gone
	}
	return err
}

type writerFunc func(p []byte) (int, error)

// Write implements [io.Writer].
func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// RemoveImage forgets an image.
func (i *ImageService) RemoveImage(ctx context.Context, m *pb.RemoveImageRequest) (*pb.RemoveImageResponse, error) {
	images, c, err := i.images(ctx)
	if err != nil {
		return nil, err
	}
	gone, err := images.Remove(ctx, c.Tenant, c.Client, m.GetName())
	if err != nil {
		return nil, err
	}
	return &pb.RemoveImageResponse{FreedBytes: gone.Bytes}, nil
}

// CollectImages removes what no image refers to.
func (i *ImageService) CollectImages(ctx context.Context, _ *pb.CollectImagesRequest) (*pb.CollectImagesResponse, error) {
	images, c, err := i.images(ctx)
	if err != nil {
		return nil, err
	}
	gone, err := images.Collect(ctx, c.Client)
	if err != nil {
		return nil, err
	}
	return &pb.CollectImagesResponse{Blobs: gone.Blobs, Layers: gone.Layers, Partial: gone.Partial, FreedBytes: gone.Bytes}, nil
}

func imageProto(i sandbox.Image) *pb.Image {
	out := &pb.Image{
		Name: valid(i.Name), Digest: i.Digest, Source: valid(i.Source), AddedAt: timestamp(i.AddedAt), CreatedAt: timestamp(i.CreatedAt),
		Platform: valid(i.Platform), SizeBytes: i.Size,
		Config: &pb.ImageConfig{Env: validAll(i.Config.Env), User: valid(i.Config.User), Workdir: valid(i.Config.Workdir),
			Entrypoint: validAll(i.Config.Entrypoint), Cmd: validAll(i.Config.Cmd)},
	}
	for _, l := range i.Layers {
		out.Layers = append(out.Layers, &pb.ImageLayer{Digest: l.Digest, DiffId: l.DiffID, SizeBytes: l.Size})
	}
	for k, v := range i.Labels {
		if out.Labels == nil {
			out.Labels = map[string]string{}
		}
		out.Labels[valid(k)] = valid(v)
	}
	return out
}

func validAll(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = valid(s)
	}
	return out
}

func eventProto(p sandbox.ImageProgress) *pb.ImageEvent {
	stage := map[string]pb.ImageStage{"resolve": pb.ImageStage_IMAGE_STAGE_RESOLVE, "download": pb.ImageStage_IMAGE_STAGE_DOWNLOAD,
		"unpack": pb.ImageStage_IMAGE_STAGE_UNPACK, "build": pb.ImageStage_IMAGE_STAGE_BUILD}[string(p.Stage)]
	return &pb.ImageEvent{Stage: stage, Digest: p.Digest, DoneBytes: p.Done, TotalBytes: p.Total, Text: valid(p.Text)}
}
