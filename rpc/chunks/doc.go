// Package chunks reads bytes that come in the messages of a stream.
package chunks
