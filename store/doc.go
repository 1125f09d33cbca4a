// Package store remembers: typed tables in one Pebble database.
//
// A [Store] is one directory. A [Table] holds the rows of one type under keys that start with their tenant, and keeps
// its [Index]es in the same atomic batch as the rows. A [Batch] changes rows of several tables at once. Scans page with
// opaque cursors that stay right while rows come and go.
//
// Invariants: a write that returned nil is on disk; concurrent writers share one sync (group commit); a row and its
// index entries are always written together; no read crosses a tenant unless [Query.AllTenants] says so.
//
// The package knows no domain type, and reading is never blocked by writing.
package store
