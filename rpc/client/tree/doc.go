// Package tree copies directory trees as tar streams, of any size in constant memory.
//
// [Pack] writes a tree of this machine. [Unpack] writes what a sandbox sent below a directory: its stream is hostile
// input, and nothing of it leaves that directory. A file appears under its name only once all of it is there.
//
// It never resolves a path that it was sent but through an [os.Root].
package tree
