// Package bench measures a running daemon from outside, over its REST API, as a client would.
//
// [Cold] compares what one execution costs with what the bare interpreter or compiler costs on the same host in the
// same minute; [Load] sends many programs at once and counts the verdicts that are not the expected ones. Command
// soulbench is their command line.
//
// The package never imports SoulBox's other packages: it knows what a client knows.
package bench
