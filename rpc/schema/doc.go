// Package schema lists what the protobuf files of soulbox.v1 define, so that what is the same for all services need name
// none of them: a new file in rpc/proto is found by its package.
//
// It knows descriptors only and serves nothing.
package schema
