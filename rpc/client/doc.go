// Package client is how Go programs, the command line first, talk to a SoulBox daemon.
//
// Its main type is [Client]: one HTTP client and the generated Connect clients over it. [Explain] makes one line for
// people of an error.
package client
