package library

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const (
	pullRetries = 4
	// stallTime is how long a registry may send nothing of a layer that it began to send.
	stallTime = 30 * time.Second
	// headTime is how long it may think.
	headTime = 30 * time.Second
)

// Pull gets an image from a registry. What an earlier pull got of it is not fetched again. Credentials are those of the
// usual configuration of docker or podman, of the user that this process runs as.
func (l *Library) Pull(ctx context.Context, t Target, reference string, report Report) (Image, error) {
	report = report.orNone()
	var options []name.Option
	for _, host := range l.o.Insecure {
		if strings.HasPrefix(reference, host+"/") {
			options = append(options, name.Insecure)
		}
	}
	ref, err := name.ParseReference(reference, options...)
	if err != nil {
		return Image{}, fmt.Errorf("%w: %w", ErrName, err)
	}
	t.Name = cmp.Or(t.Name, reference)
	if err := CheckName(t.Name); err != nil {
		return Image{}, err
	}
	r, err := l.dial(ctx, ref.Context())
	if err != nil {
		return Image{}, err
	}
	manifest, digest, err := r.resolve(ctx, ref)
	if err != nil {
		return Image{}, err
	}
	m, err := parseManifest(manifest)
	if err != nil {
		return Image{}, err
	}
	report(Progress{Stage: StageResolve, Digest: digest.String()})
	return l.add(ctx, t, source{
		manifest: manifest, digest: digest, retries: pullRetries,
		config: func(ctx context.Context) (io.ReadCloser, error) {
			body, _, err := r.blob(ctx, m.Config.Digest, 0)
			return body, err
		},
		layer: func(ctx context.Context, _ int, d v1.Descriptor, offset int64) (io.ReadCloser, int64, error) {
			return r.blob(ctx, d.Digest, offset)
		},
	}, report)
}

// registry is one repository of a registry.
type registry struct {
	repo   name.Repository
	client *http.Client
}

// dial finds out how the registry wants to be spoken to, and presents the credentials that there are.
func (l *Library) dial(ctx context.Context, repo name.Repository) (*registry, error) {
	auth, err := authn.Resolve(ctx, l.o.Keychain, repo)
	if err != nil {
		return nil, fmt.Errorf("%w: find credentials for %s: %w", ErrRegistry, repo.RegistryStr(), err)
	}
	base := http.DefaultTransport.(*http.Transport).Clone()
	base.ResponseHeaderTimeout = headTime
	rt, err := transport.NewWithContext(ctx, repo.Registry, auth, base, []string{repo.Scope(transport.PullScope)})
	if err != nil {
		return nil, refused(repo.RegistryStr(), err)
	}
	return &registry{repo: repo, client: &http.Client{Transport: rt}}, nil
}

// refused words what a registry or the way to it says.
func refused(what string, err error) error {
	if e, ok := errors.AsType[*transport.Error](err); ok {
		switch e.StatusCode {
		case http.StatusUnauthorized, http.StatusForbidden:
			return fmt.Errorf("%w: %s: it wants other credentials, see docker login: %w", ErrRegistry, what, err)
		case http.StatusNotFound:
			return fmt.Errorf("%w: %s: it has none such: %w", ErrRegistry, what, err)
		}
	}
	return fmt.Errorf("%w: %s: %w", ErrRegistry, what, err)
}

// get asks for something of the repository. The caller closes the body.
func (r *registry) get(ctx context.Context, kind, id string, header http.Header, ok ...int) (*http.Response, error) {
	u := url.URL{Scheme: r.repo.Scheme(), Host: r.repo.RegistryStr(), Path: fmt.Sprintf("/v2/%s/%s/%s", r.repo.RepositoryStr(), kind, id)}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("ask a registry: %w", err)
	}
	req.Header = header
	res, err := r.client.Do(req)
	if err == nil {
		if err = transport.CheckError(res, ok...); err == nil {
			return res, nil
		}
		res.Body.Close()
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("ask a registry: %w", context.Cause(ctx))
	}
	return nil, refused(r.repo.Name()+" "+id, err)
}

// resolve returns the manifest of the image that is for this host, and the digest that it must have.
func (r *registry) resolve(ctx context.Context, ref name.Reference) ([]byte, v1.Hash, error) {
	id, want := ref.Identifier(), v1.Hash{}
	if d, ok := ref.(name.Digest); ok {
		h, err := v1.NewHash(d.DigestStr())
		if err != nil {
			return nil, want, fmt.Errorf("%w: %w", ErrName, err)
		}
		want = h
	}
	for range maxIndexes {
		b, err := r.manifest(ctx, id)
		if err != nil {
			return nil, want, err
		}
		got, _, err := v1.SHA256(strings.NewReader(string(b)))
		if err != nil {
			return nil, want, fmt.Errorf("hash a manifest: %w", err)
		}
		if want != (v1.Hash{}) && got != want {
			return nil, want, fmt.Errorf("%w: the manifest has the digest %s, not %s", ErrContent, got, want)
		}
		if !isIndex(b) {
			return b, got, nil
		}
		d, err := choose(b)
		if err != nil {
			return nil, want, err
		}
		id, want = d.Digest.String(), d.Digest
	}
	return nil, want, fmt.Errorf("%w: indexes lie in each other more than %d deep", ErrContent, maxIndexes)
}

func (r *registry) manifest(ctx context.Context, id string) ([]byte, error) {
	header := http.Header{}
	for _, t := range []types.MediaType{types.OCIImageIndex, types.OCIManifestSchema1, types.DockerManifestList, types.DockerManifestSchema2} {
		header.Add("Accept", string(t))
	}
	res, err := r.get(ctx, "manifests", id, header, http.StatusOK)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxManifest+1))
	if err != nil {
		return nil, refused(r.repo.Name()+" "+id, err)
	}
	if len(b) > maxManifest {
		return nil, fmt.Errorf("%w: a manifest of more than %d bytes", ErrContent, maxManifest)
	}
	return b, nil
}

// blob opens a blob from an offset on, where the registry can do that.
func (r *registry) blob(ctx context.Context, h v1.Hash, offset int64) (io.ReadCloser, int64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	header := http.Header{}
	if offset > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	res, err := r.get(ctx, "blobs", h.String(), header, http.StatusOK, http.StatusPartialContent)
	if err != nil {
		cancel(nil)
		return nil, 0, err
	}
	if res.StatusCode == http.StatusOK || !strings.HasPrefix(res.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", offset)) {
		if res.StatusCode != http.StatusOK {
			res.Body.Close()
			cancel(nil)
			return nil, 0, fmt.Errorf("%w: %s: another part came than was asked for", ErrRegistry, h)
		}
		offset = 0
	}
	b := &body{ReadCloser: res.Body, ctx: ctx, cancel: cancel}
	b.timer = time.AfterFunc(stallTime, func() { cancel(errStalled) })
	return b, offset, nil
}

var errStalled = fmt.Errorf("%w: nothing came for %s", ErrRegistry, stallTime)

// body is an answer that must not stall.
type body struct {
	io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
}

func (b *body) Read(p []byte) (int, error) {
	b.timer.Reset(stallTime)
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		if b.ctx.Err() != nil {
			err = context.Cause(b.ctx)
		}
		err = fmt.Errorf("%w: %w", ErrRegistry, err)
	}
	return n, err
}

func (b *body) Close() error {
	b.timer.Stop()
	b.cancel(nil)
	return b.ReadCloser.Close()
}
