// Package rest serves the services of soulbox.v1 as plain HTTP and JSON under /v1.
//
// Its main type is [Handler]. Paths come from the google.api.http annotations: grpc-gateway's generated code decodes
// them and calls the services in this process, with the request's own context. There is no connection in between, so
// none that anybody could reach, and a client that goes away, the caller's identity and a place in the queue need no
// headers to get across. The one stream is a handler of this package's, since generated code would not flush and would
// hide errors behind status 200.
//
// Errors look as Connect's do, with "reason" and "field" added. The package authenticates nobody.
package rest
