package errs

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"time"

	"buf.build/go/protovalidate"
	"connectrpc.com/connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/soulbox/soulbox/rpc/codec"
	"github.com/soulbox/soulbox/sandbox"
)

// Domain is the domain of the ErrorInfo details.
const Domain = "soulbox"

// New returns an error for the client with a stable reason.
func New(code connect.Code, reason, msg string) *connect.Error {
	return build(code, reason, "", msg, 0)
}

// Invalid returns an error about a field of the request, named in the JSON spelling; field may be empty.
func Invalid(field, msg string) *connect.Error {
	return build(connect.CodeInvalidArgument, ReasonInvalid, field, msg, 0)
}

// TooLarge returns the error for a body above limit bytes.
func TooLarge(limit int64) *connect.Error {
	return New(connect.CodeResourceExhausted, ReasonBodyTooLarge,
		"the request body is larger than "+strconv.FormatInt(limit, 10)+" bytes")
}

// From returns what a client is told of err, nil for nil. The cause of an internal error is written to log, once, with
// the id that the client gets instead. An error that is a Connect error already passes, unless it is an unexplained one.
func From(ctx context.Context, log *slog.Logger, err error) *connect.Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*sandbox.Error](err); ok {
		return fromSandbox(ctx, log, e, err)
	}
	if e, ok := errors.AsType[*codec.Error](err); ok {
		return Invalid(e.Field, e.Msg)
	}
	if e, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return TooLarge(e.Limit)
	}
	if e, ok := errors.AsType[*protovalidate.ValidationError](err); ok {
		return fromValidation(e)
	}
	if e, ok := errors.AsType[*connect.Error](err); ok {
		return e
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return New(connect.CodeDeadlineExceeded, "DEADLINE_EXCEEDED", "the request's deadline passed")
	case errors.Is(err, context.Canceled):
		return New(connect.CodeCanceled, "CANCELED", "the client went away")
	}
	if s, ok := status.FromError(err); ok && s.Code() == codes.InvalidArgument {
		return Invalid("", s.Message())
	}
	return internal(ctx, log, err)
}

func fromSandbox(ctx context.Context, log *slog.Logger, e *sandbox.Error, err error) *connect.Error {
	r := rowOf(e.Kind)
	if r.code == connect.CodeInternal {
		return internal(ctx, log, err)
	}
	if e.Err != nil {
		log.InfoContext(ctx, "request refused", "op", e.Op, "reason", e.Reason, "err", e.Err)
	}
	reason := e.Reason
	if reason == "" {
		reason = r.reason
	}
	retry := e.RetryAfter
	if e.Kind == sandbox.KindExhausted {
		retry = max(retry, time.Second)
	}
	return build(r.code, reason, e.Field, e.Msg, retry)
}

// internal logs err and returns an error with nothing of it but an id.
func internal(ctx context.Context, log *slog.Logger, err error) *connect.Error {
	id := rand.Text()[:12]
	log.ErrorContext(ctx, "request failed", "error_id", id, "err", err)
	return New(connect.CodeInternal, reasonInternal, "internal error "+id)
}

func build(code connect.Code, reason, field, msg string, retry time.Duration) *connect.Error {
	text := msg
	if field != "" {
		text = field + ": " + msg
	}
	err := connect.NewError(code, errors.New(text))
	info := &errdetails.ErrorInfo{Reason: reason, Domain: Domain}
	if help := Help(reason); help != "" {
		info.Metadata = map[string]string{helpKey: help}
	}
	add(err, info)
	if field != "" {
		add(err, &errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
			{Field: field, Description: msg, Reason: reason},
		}})
	}
	if retry > 0 {
		add(err, &errdetails.RetryInfo{RetryDelay: durationpb.New(retry)})
		err.Meta().Set("Retry-After", strconv.Itoa(int(max(1, math.Ceil(retry.Seconds())))))
	}
	return err
}

// add attaches a detail. Marshalling a well-formed message cannot fail, and without it the error still says enough.
func add(err *connect.Error, m proto.Message) {
	if d, derr := connect.NewErrorDetail(m); derr == nil {
		err.AddDetail(d)
	}
}

// Reason returns the reason in err's details, empty without.
func Reason(err *connect.Error) string {
	if info, ok := detail[*errdetails.ErrorInfo](err); ok {
		return info.GetReason()
	}
	return ""
}

// helpOf returns what err's details say to do, empty without.
func helpOf(err *connect.Error) string {
	if info, ok := detail[*errdetails.ErrorInfo](err); ok {
		return info.GetMetadata()[helpKey]
	}
	return ""
}

// Field returns the request field that err's details name, empty without.
func Field(err *connect.Error) string {
	if bad, ok := detail[*errdetails.BadRequest](err); ok && len(bad.GetFieldViolations()) > 0 {
		return bad.GetFieldViolations()[0].GetField()
	}
	return ""
}

// RetryAfter returns when err's details say to come back, 0 without.
func RetryAfter(err *connect.Error) time.Duration {
	if retry, ok := detail[*errdetails.RetryInfo](err); ok {
		return retry.GetRetryDelay().AsDuration()
	}
	return 0
}

func detail[M proto.Message](err *connect.Error) (M, bool) {
	for _, d := range err.Details() {
		if m, derr := d.Value(); derr == nil {
			if found, ok := m.(M); ok {
				return found, true
			}
		}
	}
	var none M
	return none, false
}
