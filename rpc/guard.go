package rpc

import (
	"context"
	"net/http"
	"strings"

	"connectrpc.com/connect"

	"github.com/soulbox/soulbox/rpc/errs"
	"github.com/soulbox/soulbox/rpc/rest"
	"github.com/soulbox/soulbox/rpc/soulboxpb/soulboxpbconnect"
	"github.com/soulbox/soulbox/rpc/v1"
)

// guard bounds bodies, and takes a place in the queue for requests that run a program, before anything is read.
type guard struct {
	gate     Gate
	services *v1.Services
	caller   func(context.Context) (v1.Caller, bool)
	maxBody  int64
	next     http.Handler
}

// ServeHTTP implements [http.Handler].
func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	if isStream(r) { // of any length: what is bounded is each of its messages, or nothing that is held
		g.next.ServeHTTP(w, r)
		return
	}
	if r.ContentLength > g.maxBody {
		refuse(w, r, errs.TooLarge(g.maxBody))
		return
	}
	if runsProgram(r) {
		c, ok := g.caller(ctx)
		if !ok {
			refuse(w, r, errs.New(connect.CodeUnauthenticated, errs.ReasonUnauthenticated, "no API key"))
			return
		}
		place, err := g.gate.Reserve(c.Client)
		if err != nil {
			refuse(w, r, g.services.Error(ctx, err))
			return
		}
		ticket := v1.NewTicket(place)
		defer ticket.Close()
		r = r.WithContext(v1.WithTicket(ctx, ticket))
	}
	if r.Body != nil && r.Body != http.NoBody {
		shallow := *r
		shallow.Body = http.MaxBytesReader(innermost(w), r.Body, g.maxBody)
		r = &shallow
		if isConnectUnary(r) {
			w = &statusWriter{ResponseWriter: w}
		}
	}
	g.next.ServeHTTP(w, r)
}

// isStream tells whether the body of a request is a stream of messages or a file's content.
func isStream(r *http.Request) bool {
	switch r.URL.Path {
	case soulboxpbconnect.SandboxServiceStreamExecProcedure, soulboxpbconnect.SandboxServiceWriteFileProcedure, soulboxpbconnect.ImageServiceImportImageProcedure:
		return true
	}
	return rest.IsContent(r)
}

// innermost returns net/http's own writer, the only one whose connection [http.MaxBytesReader] can close.
func innermost(w http.ResponseWriter) http.ResponseWriter {
	for {
		outer, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return w
		}
		w = outer.Unwrap()
	}
}

// runsProgram tells whether a request asks for an execution.
func runsProgram(r *http.Request) bool {
	if r.Method != http.MethodPost {
		return false
	}
	switch r.URL.Path {
	case rest.PathExecute, rest.PathStream,
		soulboxpbconnect.ExecutionServiceExecuteCodeProcedure, soulboxpbconnect.ExecutionServiceStreamExecutionProcedure:
		return true
	}
	return false
}

// isConnectUnary tells whether the answer's HTTP status is the error, which in all other protocols of Connect it is not.
func isConnectUnary(r *http.Request) bool {
	kind := r.Header.Get("Content-Type")
	return isProcedure(r.URL.Path) &&
		!strings.HasPrefix(kind, "application/grpc") && !strings.HasPrefix(kind, "application/connect+")
}

// refuse answers without having read the body. It closes an HTTP/1 connection, which would otherwise have to read the
// rest of the body first: that may never end.
func refuse(w http.ResponseWriter, r *http.Request, err *connect.Error) {
	if r.ProtoMajor == 1 {
		w.Header().Set("Connection", "close")
	}
	if writer := connect.NewErrorWriter(); isProcedure(r.URL.Path) && !isConnectUnary(r) &&
		writer.IsSupported(r) {
		_ = writer.Write(w, r, err) // a client that is gone needs no answer
		return
	}
	errs.Write(w, err)
}

// statusWriter says 413 where Connect says 429 of a message that was too long, as sent or decompressed, so that clients
// do not try it again. All that is to be tried again has a Retry-After, by the table in package errs.
type statusWriter struct{ http.ResponseWriter }

// WriteHeader implements [http.ResponseWriter].
func (w *statusWriter) WriteHeader(status int) {
	if status == http.StatusTooManyRequests && w.Header().Get("Retry-After") == "" {
		status = http.StatusRequestEntityTooLarge
	}
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets an [http.ResponseController] reach the connection.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
