package library

import (
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Image is an image of a tenant.
type Image struct {
	Tenant    string
	Name      string // with its tag
	Digest    string // of its manifest: "sha256:" and 64 digits
	Source    string // where it came from: "pull REFERENCE", "import", "build RECIPE"
	AddedAt   time.Time
	CreatedAt time.Time // what its maker says; zero: nothing
	Platform  string    // "linux/amd64"
	Size      int64     // of its layers as they came, in bytes
	Layers    []Layer   // the lowest first
	Config    Config
	Labels    map[string]string

	chains []string // the names of its layers' directories
}

// Layer is one layer of an image.
type Layer struct {
	Digest string // as it came
	DiffID string // uncompressed
	Size   int64  // as it came, in bytes
}

// Config is what an image says of how programs run on it.
type Config struct {
	Env        []string
	User       string // name or id, perhaps with a group after a colon; empty: root
	Workdir    string
	Entrypoint []string
	Cmd        []string
}

// Annotations of the index, beside the name that the OCI defines.
const (
	annotationName   = "org.opencontainers.image.ref.name"
	annotationTenant = "soulbox.tenant"
	annotationSource = "soulbox.source"
	annotationAdded  = "soulbox.added"
)

// image describes what an index entry leads to.
func image(d v1.Descriptor, m *v1.Manifest, c *v1.ConfigFile) Image {
	added, _ := time.Parse(time.RFC3339Nano, d.Annotations[annotationAdded]) // written by us; zero says enough
	img := Image{
		Tenant: d.Annotations[annotationTenant], Name: d.Annotations[annotationName], Digest: d.Digest.String(), Source: d.Annotations[annotationSource],
		chains: chains(c.RootFS.DiffIDs), AddedAt: added, CreatedAt: c.Created.Time, Platform: c.OS + "/" + c.Architecture, Labels: c.Config.Labels,
		Config: Config{Env: c.Config.Env, User: c.Config.User, Workdir: c.Config.WorkingDir, Entrypoint: c.Config.Entrypoint, Cmd: c.Config.Cmd},
	}
	for i, l := range m.Layers {
		img.Layers = append(img.Layers, Layer{Digest: l.Digest.String(), DiffID: c.RootFS.DiffIDs[i].String(), Size: l.Size})
		img.Size += l.Size
	}
	return img
}
