// Package images supplies what programs run on: languages, root file systems and OCI bundles.
//
// A [Recipe] is one language as data, read from an embedded TOML file: which packages it needs, how its compiler is
// warmed once, how a program is compiled and run, and how its runtime says that memory ran out. A [Catalog] holds all
// recipes; [Recipe.Plan] turns a program into commands.
//
// A [RootFS] is the tree that a sandbox sees as /. [BuildHost] makes one from the machine's own /usr and a generated
// /etc. [Spec] turns a root file system and a few facts into an OCI runtime configuration.
//
// Invariants: planning and bundling are functions of values, same input, same bytes; nothing of the host but /usr and
// a list of harmless files below /etc enters a root file system.
//
// The package never runs a program, neither a user's nor a compiler.
package images
