// Package rpc is the daemon's face to the network: gRPC, gRPC-Web, Connect and plain HTTP on one port.
//
// [New] assembles the services (package v1), their REST routes (package rest), gRPC's reflection and health, health
// checks and what stands before them into one handler; [Server] makes the server that speaks HTTP/1 and HTTP/2 without TLS on one listener. A request
// passes, in this order: health checks, authentication, the limit on its body, a place in the queue where it runs a
// program, its handler. Nothing of a body is read before the first four.
//
// It never decides what a result means, and never sends a cause of an internal error.
package rpc
