// Package client is how Go programs, the command line first, talk to a SoulBox daemon.
//
// Its main type is [Client]: the generated Connect clients over HTTP. A [Process] follows what runs in a sandbox and
// attaches again when a connection is lost. [Explain] makes one line for people of an error.
//
// A key is sent to the daemon that it is for and nowhere else.
package client
