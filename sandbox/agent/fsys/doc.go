// Package fsys serves the files of a slot as E2B's envd does: the Connect service filesystem.Filesystem, and /files
// for content.
//
// [Service] is what the agent mounts. It sees the slot's tree through one directory descriptor ([Root]): the kernel
// resolves every path from there (openat2 with RESOLVE_IN_ROOT and RESOLVE_NO_MAGICLINKS), so neither a link nor a
// race leads out, and no path is ever compared as text. What a path leads to is used by descriptor from then on.
//
// Each operation runs with the rights of the user who asks ([Identity]): on an operating system thread of its own
// that has the user's file system ids and groups and, for all but root, no capability at all. With
// [Options.RootThenOwn] everything is done as the slot's root and then given to the user, as envd does.
//
// Invariants: nothing that a sandbox holds blocks the agent or costs it unbounded memory. A file is looked at through
// O_PATH before it is opened; only regular files are read or written; opens are O_NONBLOCK and O_NOCTTY. Listings,
// trees, uploads' part counts, watches and events have bounds, and what is past one is resource_exhausted. An upload
// is written under a temporary name beside its target and renamed, so no half of one is ever seen; a hard link to an
// overwritten file therefore keeps the old content.
//
// Users are looked up in the slot's own /etc/passwd and /etc/group at each call. Paths are cleaned as text before they
// are resolved: "link/.." is the directory that holds link. Names that are not UTF-8 are shown with U+FFFD in place of
// what is not.
//
// The package never checks access tokens or signatures, which is the daemon's part, and knows nothing of processes.
package fsys
