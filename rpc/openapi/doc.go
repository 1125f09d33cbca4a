// Package openapi describes the plain HTTP side of soulbox.v1 as an OpenAPI document.
//
// Its main function is [Document]. Paths and schemas are generated from the protobuf files (generated/, one document each,
// by rpc/proto/generate.sh), and merged here. What the generator cannot know is added from the descriptors and from
// static.json, for every service alike: what the codec does (refused fields, fields that are always there, null, numbers as
// strings), the rules that requests are held to, streams, errors, security schemes, and paths outside of /v1. Examples
// (examples/, a file for each protobuf file) are part of the document; tests send them to a live daemon.
//
// Invariant: equal inputs give equal bytes. The package serves nothing.
package openapi
