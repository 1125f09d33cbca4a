// Package codec turns messages into JSON and back, the same way for Connect and for REST.
//
// Its main type is [JSON]. Zero values are written out, 64-bit integers are strings, and equal messages give equal bytes
// within a build and across builds. Reading refuses unknown fields and says in an [Error] which field is at fault, in
// the JSON spelling, with its path from the top: "limits.memoryBytes".
//
// It never guesses: what is no message is an error, and so is anything after the message.
package codec
