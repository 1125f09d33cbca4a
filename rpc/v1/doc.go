// Package v1 implements the services of soulbox.v1.
//
// Its main type is [Services]: built over what an engine and a key store offer (the interfaces of engine.go), it serves
// Connect, gRPC and gRPC-Web from [Services.Register] and is called directly by package rest; both go through the same
// validation and the same error table. It decides nothing about executions: it converts, waits, and cancels for
// clients that go away.
package v1
