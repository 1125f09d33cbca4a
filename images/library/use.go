package library

import (
	"fmt"
	"strings"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/soulbox/soulbox/images"
	"github.com/soulbox/soulbox/images/layer"
)

// Root is an image that is mounted and kept. Release gives it back, once.
type Root struct {
	Image
	RootFS *images.RootFS
	// User is who runs processes by the image's configuration, a name in its /etc/passwd.
	User string
	// Own are the entries of the image that belong to ids which each sandbox has for itself: in the image they are nobody's.
	Own []layer.Own

	release func()
}

// Release gives the image back. Releasing twice is safe.
func (r *Root) Release() { r.release() }

// Use mounts the image that a tenant means by name, and keeps it until it is released.
func (l *Library) Use(tenant, name string) (*Root, error) {
	l.mu.Lock()
	d, err := l.index.find(tenant, name)
	if err != nil {
		l.mu.Unlock()
		return nil, err
	}
	release := l.holdLocked(d.Digest.String())
	l.mu.Unlock()
	return l.use(d, release)
}

// Adopt is Use for whoever used the image before a restart, when it was the one with this digest. Its name may be
// another's by now.
func (l *Library) Adopt(digest string) (*Root, error) {
	h, err := v1.NewHash(digest)
	if err != nil || h.Algorithm != "sha256" {
		return nil, fmt.Errorf("%w: %.100q is no digest", ErrNotFound, digest)
	}
	l.mu.Lock()
	release := l.holdLocked(digest)
	l.mu.Unlock()
	return l.use(v1.Descriptor{Digest: h}, release)
}

func (l *Library) use(d v1.Descriptor, release func()) (*Root, error) {
	m, c, err := l.read(d)
	if err != nil {
		release()
		return nil, err
	}
	img := image(d, m, c)
	at, err := l.mount(img)
	if err != nil {
		release()
		return nil, err
	}
	return &Root{Image: img, RootFS: at.rootFS(), User: at.User, Own: at.Own, release: release}, nil
}

// holdLocked keeps an image; l.mu is held.
func (l *Library) holdLocked(digest string) (release func()) {
	l.uses[digest]++
	return sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.uses[digest]--; l.uses[digest] == 0 {
			delete(l.uses, digest)
		}
	})
}

// hexOf returns a digest's digits.
func hexOf(digest string) string { return strings.TrimPrefix(digest, "sha256:") }
