package errs_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"buf.build/go/protovalidate"
	"github.com/soulbox/soulbox/rpc/codec"
	"github.com/soulbox/soulbox/rpc/errs"
	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
	"github.com/soulbox/soulbox/sandbox"
)

func validation(m *pb.ExecuteCodeRequest) error { return protovalidate.Validate(m) }

func TestTable(t *testing.T) {
	kind := func(k sandbox.Kind) error {
		return fmt.Errorf("wrapped: %w", &sandbox.Error{Op: "op", Kind: k, Msg: "said", Err: errors.New("secret")})
	}
	for _, tt := range []struct {
		name   string
		err    error
		code   connect.Code
		status int
		reason string
		field  string
		msg    string
	}{
		{"invalid", kind(sandbox.KindInvalid), connect.CodeInvalidArgument, 400, "INVALID_ARGUMENT", "", "said"},
		{"not found", kind(sandbox.KindNotFound), connect.CodeNotFound, 404, "NOT_FOUND", "", "said"},
		{"conflict", kind(sandbox.KindConflict), connect.CodeAlreadyExists, 409, "CONFLICT", "", "said"},
		{"exhausted", kind(sandbox.KindExhausted), connect.CodeResourceExhausted, 429, "EXHAUSTED", "", "said"},
		{"unavailable", kind(sandbox.KindUnavailable), connect.CodeUnavailable, 503, "UNAVAILABLE", "", "said"},
		{"unsupported", kind(sandbox.KindUnsupported), connect.CodeUnimplemented, 501, "UNSUPPORTED", "", "said"},
		{"canceled", kind(sandbox.KindCanceled), connect.CodeCanceled, 499, "CANCELED", "", "said"},
		{"denied", kind(sandbox.KindDenied), connect.CodePermissionDenied, 403, "DENIED", "", "said"},
		{"internal", kind(sandbox.KindInternal), connect.CodeInternal, 500, "INTERNAL", "", "internal error "},
		{"unknown kind", kind(sandbox.Kind(99)), connect.CodeInternal, 500, "INTERNAL", "", "internal error "},
		{"stranger", errors.New("secret"), connect.CodeInternal, 500, "INTERNAL", "", "internal error "},
		{"own reason", &sandbox.Error{Kind: sandbox.KindInvalid, Reason: "R", Field: "f", Msg: "m"}, connect.CodeInvalidArgument, 400, "R", "f", "f: m"},
		{"codec", &codec.Error{Field: "a.b", Msg: "m"}, connect.CodeInvalidArgument, 400, "INVALID_ARGUMENT", "a.b", "a.b: m"},
		{"body", fmt.Errorf("read: %w", &http.MaxBytesError{Limit: 7}), connect.CodeResourceExhausted, 413, "BODY_TOO_LARGE", "", "larger than 7 bytes"},
		{"deadline", context.DeadlineExceeded, connect.CodeDeadlineExceeded, 504, "DEADLINE_EXCEEDED", "", "deadline"},
		{"gone", context.Canceled, connect.CodeCanceled, 499, "CANCELED", "", "went away"},
		{"language missing", validation(&pb.ExecuteCodeRequest{}), connect.CodeInvalidArgument, 400, "INVALID_ARGUMENT", "language", "language: "},
		{"nested", validation(&pb.ExecuteCodeRequest{Language: "c", Limits: &pb.Limits{MemoryBytes: 1}}),
			connect.CodeInvalidArgument, 400, "INVALID_ARGUMENT", "limits.memoryBytes", "4 MiB"},
		{"element", validation(&pb.ExecuteCodeRequest{Language: "c", Files: []*pb.File{{Path: "a"}, {Path: "b", Mode: 4096}}}),
			connect.CodeInvalidArgument, 400, "INVALID_ARGUMENT", "files[1].mode", "511"},
		{"map key", validation(&pb.ExecuteCodeRequest{Language: "c", Env: map[string]string{"a=b": ""}}),
			connect.CodeInvalidArgument, 400, "INVALID_ARGUMENT", `env["a=b"]`, "env"},
		{"camel case", validation(&pb.ExecuteCodeRequest{Language: "c", RequestId: strings.Repeat("x", 200)}),
			connect.CodeInvalidArgument, 400, "INVALID_ARGUMENT", "requestId", "128"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var log bytes.Buffer
			got := errs.From(t.Context(), slog.New(slog.NewTextHandler(&log, nil)), tt.err)
			if got.Code() != tt.code || errs.Status(got) != tt.status || errs.Reason(got) != tt.reason || errs.Field(got) != tt.field {
				t.Errorf("From(%v) = %v, status %d, reason %q, field %q; want %v, %d, %q, %q", tt.err,
					got.Code(), errs.Status(got), errs.Reason(got), errs.Field(got), tt.code, tt.status, tt.reason, tt.field)
			}
			if !strings.Contains(got.Message(), tt.msg) || strings.Contains(string(errs.JSON(got)), "secret") {
				t.Errorf("From(%v) says %s, want %q and no cause", tt.err, errs.JSON(got), tt.msg)
			}
			// A cause is in the log, under the id that the client is told.
			if tt.code == connect.CodeInternal {
				id := strings.TrimPrefix(got.Message(), "internal error ")
				if !strings.Contains(log.String(), "error_id="+id) || !strings.Contains(log.String(), "secret") {
					t.Errorf("the log says %q, want the cause under %q", log.String(), id)
				}
			}
		})
	}
	if err := errs.From(t.Context(), slog.Default(), nil); err != nil {
		t.Errorf("From(nil) = %v, want nil", err)
	}
}

func TestRetry(t *testing.T) {
	for _, tt := range []struct {
		kind   sandbox.Kind
		after  time.Duration
		header string
	}{
		{sandbox.KindExhausted, 0, "1"},
		{sandbox.KindExhausted, 1500 * time.Millisecond, "2"},
		{sandbox.KindUnavailable, 0, ""},
		{sandbox.KindUnavailable, 3 * time.Second, "3"},
	} {
		err := errs.From(t.Context(), slog.Default(), &sandbox.Error{Kind: tt.kind, RetryAfter: tt.after})
		w := httptest.NewRecorder()
		errs.Write(w, err)
		if got := w.Header().Get("Retry-After"); got != tt.header || (errs.RetryAfter(err) > 0) != (tt.header != "") {
			t.Errorf("kind %v after %v: Retry-After %q, RetryInfo %v; want %q", tt.kind, tt.after, got, errs.RetryAfter(err), tt.header)
		}
	}
}

func TestWrite(t *testing.T) {
	w := httptest.NewRecorder()
	errs.Write(w, errs.Invalid("a", "b"))
	var got struct{ Code, Message, Reason, Field string }
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatalf("the answer %s: %v", w.Body, err)
	}
	if w.Code != 400 || got.Code != "invalid_argument" || got.Message != "a: b" || got.Reason != "INVALID_ARGUMENT" || got.Field != "a" {
		t.Errorf("Write(Invalid) = %d %+v", w.Code, got)
	}
	for code, status := range map[connect.Code]int{
		connect.CodeUnauthenticated: 401, connect.CodePermissionDenied: 403, connect.CodeUnknown: 500,
		connect.CodeAborted: 409, connect.CodeOutOfRange: 400, connect.CodeDataLoss: 500,
	} {
		if got := errs.Status(connect.NewError(code, nil)); got != status {
			t.Errorf("Status(%v) = %d, want %d", code, got, status)
		}
	}
	for reason, status := range map[string]int{
		errs.ReasonMediaType: 415, errs.ReasonEncoding: 415, errs.ReasonMethodNotAllowed: 405,
	} {
		if got := errs.Status(errs.New(connect.CodeInvalidArgument, reason, "")); got != status {
			t.Errorf("Status with %s = %d, want %d", reason, got, status)
		}
	}
}
