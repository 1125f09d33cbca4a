package errs

import (
	"net/http"

	"connectrpc.com/connect"

	"github.com/soulbox/soulbox/sandbox"
)

// StatusClientClosed is the HTTP status for a client that went away, which nobody reads but the access log.
const StatusClientClosed = 499

// row is what clients see of a kind.
type row struct {
	code   connect.Code
	reason string // when the error gives none
}

// rowOf is the table of kinds. A kind it does not know is as good as internal.
func rowOf(k sandbox.Kind) row {
	switch k {
	case sandbox.KindInvalid:
		return row{connect.CodeInvalidArgument, "INVALID_ARGUMENT"}
	case sandbox.KindNotFound:
		return row{connect.CodeNotFound, "NOT_FOUND"}
	case sandbox.KindConflict:
		return row{connect.CodeAlreadyExists, "CONFLICT"}
	case sandbox.KindExhausted:
		return row{connect.CodeResourceExhausted, "EXHAUSTED"}
	case sandbox.KindUnavailable:
		return row{connect.CodeUnavailable, "UNAVAILABLE"}
	case sandbox.KindUnsupported:
		return row{connect.CodeUnimplemented, "UNSUPPORTED"}
	case sandbox.KindCanceled:
		return row{connect.CodeCanceled, "CANCELED"}
	case sandbox.KindDenied:
		return row{connect.CodePermissionDenied, "DENIED"}
	}
	return row{connect.CodeInternal, reasonInternal}
}

// Reasons that rpc itself gives.
const (
	ReasonBodyTooLarge     = "BODY_TOO_LARGE"
	ReasonNoRoute          = "NO_SUCH_ROUTE"
	ReasonNoService        = "NO_SUCH_SERVICE"
	ReasonMethodNotAllowed = "METHOD_NOT_ALLOWED"
	ReasonMediaType        = "UNSUPPORTED_MEDIA_TYPE"
	ReasonEncoding         = "UNSUPPORTED_CONTENT_ENCODING"
	ReasonInvalid          = "INVALID_ARGUMENT"
	ReasonUnauthenticated  = "UNAUTHENTICATED"
	reasonInternal         = "INTERNAL"
)

// Status returns the HTTP status of a Connect error on REST: that of its reason where there is a better one than that
// of its code.
func Status(err *connect.Error) int {
	switch Reason(err) {
	case ReasonBodyTooLarge:
		return http.StatusRequestEntityTooLarge
	case ReasonMethodNotAllowed:
		return http.StatusMethodNotAllowed
	case ReasonMediaType, ReasonEncoding:
		return http.StatusUnsupportedMediaType
	}
	switch err.Code() {
	case connect.CodeInvalidArgument, connect.CodeFailedPrecondition, connect.CodeOutOfRange:
		return http.StatusBadRequest
	case connect.CodeUnauthenticated:
		return http.StatusUnauthorized
	case connect.CodePermissionDenied:
		return http.StatusForbidden
	case connect.CodeNotFound:
		return http.StatusNotFound
	case connect.CodeAlreadyExists, connect.CodeAborted:
		return http.StatusConflict
	case connect.CodeResourceExhausted:
		return http.StatusTooManyRequests
	case connect.CodeUnavailable:
		return http.StatusServiceUnavailable
	case connect.CodeDeadlineExceeded:
		return http.StatusGatewayTimeout
	case connect.CodeUnimplemented:
		return http.StatusNotImplemented
	case connect.CodeCanceled:
		return StatusClientClosed
	}
	return http.StatusInternalServerError
}
