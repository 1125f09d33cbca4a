// Package layer unpacks the layers of images: tar archives that strangers made.
//
// [Unpack] writes one layer into a directory, in the form in which overlayfs puts layers over each other: what a layer
// deletes of those below it becomes a whiteout. [Apply] writes it over the layers below it in one tree instead, for hosts
// whose overlayfs cannot be used.
//
// Nothing that an archive says is believed. Every path is walked from a descriptor of the directory, and no step of it
// follows a link; nothing is overwritten in place; what was not asked for (devices, the extended attributes that overlayfs
// gives a meaning to) is left out, and what cannot be right (a path with "..", or through a link) makes the whole layer
// fail. Bytes, entries and lengths are bounded. A directory in which a layer failed is to be removed.
//
// The package never reads a file that it did not write, and never runs anything.
package layer
