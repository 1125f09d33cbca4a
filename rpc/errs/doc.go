// Package errs turns what went wrong into what a client is told.
//
// One table maps a [sandbox.Kind] to a Connect code and an HTTP status. [From] makes a Connect error of anything, with
// details (google.rpc.ErrorInfo, BadRequest, RetryInfo) and a Retry-After header; it never sends a cause. [Write]
// renders a Connect error on REST, in the shape that Connect itself uses for JSON plus "reason", "field" and "help". What
// a client can do about a reason comes from one table, [Help].
package errs
