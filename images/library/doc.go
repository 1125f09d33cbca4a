// Package library keeps images: what was pulled from registries, imported or built, by name and by digest.
//
// A [Library] is a directory. It is an OCI image layout, whose index.json has the names and whose blobs have the content as
// it came, beside which the layers lie unpacked, each once:
//
//	index.json               the images, with name and tenant as annotations
//	blobs/sha256/<digest>    manifests, configurations, layers
//	layers/<chain id>/       fs/, one layer in the form of overlayfs, and layer.json
//	trees/<digest>/          fs/, a whole image in one tree, where overlayfs cannot put layers over each other
//	partial/<digest>         what an interrupted download has so far
//	tmp/                     what is being written; [Open] empties it
//
// Nothing is found under a digest that does not have it: content is hashed as it comes, written aside, synced, and renamed
// into place, blobs before what refers to them and the index last. A crash leaves what is in tmp and partial, and content
// that nothing refers to, for [Library.Collect].
//
// [Library.Use] mounts an image, for all who use it once, and keeps it from being removed. An image is the same for
// everybody; who sees its name is a matter of the index. The library is the daemon's own: it needs to be root of a user
// namespace and to have its mount namespace.
package library
