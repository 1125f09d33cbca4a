package sandbox

import (
	"errors"
	"fmt"
	"time"
)

// Kind says what a caller can do about an [Error]. Values are append-only.
type Kind int

// The kinds of errors.
const (
	KindInternal    Kind = iota // a bug or a failing host; the cause is in the log
	KindInvalid                 // the request is wrong; Field names where
	KindNotFound                // no such object for this tenant
	KindConflict                // the object exists and differs, or is in a state that forbids the call
	KindExhausted               // no room now; RetryAfter says when to come back
	KindUnavailable             // not now, whatever the load: starting, draining, or the language is not installed
	KindUnsupported             // this host or runtime cannot do it
	KindCanceled                // the caller went away
	KindDenied                  // the operator's policy forbids it to this caller; Field names what
)

// Error is the only error type that leaves package sandbox.
type Error struct {
	Op         string        // "sandbox.Start"
	Kind       Kind          // what the caller can do about it
	Reason     string        // stable, upper case with underscores: "QUEUE_FULL"
	Field      string        // request field at fault, in the API's JSON spelling: "limits.memoryBytes"; may be empty
	Msg        string        // safe to show a client; says what to do
	RetryAfter time.Duration // with KindExhausted and KindUnavailable; zero means unknown
	Err        error         // cause; logged, never sent
}

func (e *Error) Error() string {
	s := e.Op + ": " + e.Msg
	if e.Field != "" {
		s = fmt.Sprintf("%s: %s: %s", e.Op, e.Field, e.Msg)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the kind of err, [KindInternal] for errors that are no [*Error].
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return KindInternal
}
