package fsys

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"syscall"

	"connectrpc.com/connect"
	"golang.org/x/sys/unix"
)

var (
	errIsDirectory = errors.New("is a directory")
	errNotRegular  = errors.New("is not a regular file")
	errTooDeep     = errors.New("the tree is too deep")
	errTooMany     = errors.New("there are too many entries")
	errChanging    = errors.New("the tree changes faster than it can be read")
)

// ErrUnknownUser is what [Service.Lookup] returns for a user whom the slot does not know.
var ErrUnknownUser = errors.New("unknown user")

// fault is an error with what a client is told. The cause is for [errors.Is]; it is not sent.
type fault struct {
	code connect.Code
	msg  string
	err  error
}

func newFault(code connect.Code, msg string) *fault { return &fault{code: code, msg: msg} }

func (f *fault) Error() string { return f.msg }
func (f *fault) Unwrap() error { return f.err }

// explain turns err, from the attempt to do verb to path, into a fault. A fault stays what it is.
func explain(verb, path string, err error) error {
	if f, ok := errors.AsType[*fault](err); ok || err == nil {
		if err == nil {
			return nil
		}
		return f
	}
	reason := err.Error()
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		reason = errno.Error()
	}
	return &fault{code: codeOf(err), msg: fmt.Sprintf("%s '%s': %s", verb, path, reason), err: err}
}

func codeOf(err error) connect.Code {
	is := func(targets ...error) bool {
		for _, t := range targets {
			if errors.Is(err, t) {
				return true
			}
		}
		return false
	}
	switch {
	case is(context.DeadlineExceeded):
		return connect.CodeDeadlineExceeded
	case is(context.Canceled):
		return connect.CodeCanceled
	case is(unix.ENOENT, unix.ENOTDIR):
		return connect.CodeNotFound
	case is(unix.EEXIST):
		return connect.CodeAlreadyExists
	case is(unix.EACCES, unix.EPERM, unix.EROFS):
		return connect.CodePermissionDenied
	case is(unix.EINVAL, unix.ENAMETOOLONG, unix.ELOOP, unix.EISDIR, errIsDirectory, errNotRegular):
		return connect.CodeInvalidArgument
	case is(unix.ENOSPC, unix.EDQUOT, unix.EFBIG, unix.EMFILE, unix.ENFILE, unix.ENOMEM, errTooDeep, errTooMany, errTooManyWatches, errLost):
		return connect.CodeResourceExhausted
	case is(unix.EBUSY, unix.ENOTEMPTY, unix.EXDEV, unix.ETXTBSY):
		return connect.CodeFailedPrecondition
	case is(unix.EAGAIN, os.ErrClosed, errChanging):
		return connect.CodeUnavailable
	}
	return connect.CodeInternal
}

// rpcError is err as Connect sends it.
func rpcError(err error) error {
	if err == nil {
		return nil
	}
	f, ok := errors.AsType[*fault](err)
	if !ok {
		f = &fault{code: codeOf(err), msg: err.Error()}
	}
	return connect.NewError(f.code, errors.New(valid(f.msg)))
}

// httpStatus is the status of /files for err.
func httpStatus(err error) int {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EFBIG) {
		return http.StatusInsufficientStorage
	}
	code := codeOf(err)
	if f, ok := errors.AsType[*fault](err); ok {
		code = f.code
	}
	switch code {
	case connect.CodeInvalidArgument:
		return http.StatusBadRequest
	case connect.CodeUnauthenticated:
		return http.StatusUnauthorized
	case connect.CodePermissionDenied:
		return http.StatusForbidden
	case connect.CodeNotFound:
		return http.StatusNotFound
	case connect.CodeAlreadyExists, connect.CodeFailedPrecondition:
		return http.StatusConflict
	case connect.CodeResourceExhausted:
		return http.StatusTooManyRequests
	case connect.CodeUnavailable, connect.CodeCanceled, connect.CodeDeadlineExceeded:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}
