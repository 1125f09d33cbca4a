// Package assets holds the programs that soulbox carries inside its own executable: what runs in sandboxes and beside
// the daemon, static and built for the same machine.
//
// The files are made by `make build` in the directory bin, compressed with zstd, and embedded. A build without them
// compiles and fails at run time, with an error that says so ([ErrNotBuilt]).
//
// The package never writes files and never starts what it holds.
package assets
