// Package imagetest makes images for tests: of entries that a test lists, and of a busybox that the host has.
//
// It never fetches anything.
package imagetest
