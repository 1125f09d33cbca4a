package rpc

import (
	"net/http"
	"sync"

	"connectrpc.com/connect"

	"github.com/soulbox/soulbox/rpc/errs"
	"github.com/soulbox/soulbox/rpc/openapi"
	"github.com/soulbox/soulbox/rpc/v1"
)

// onlyGet refuses all methods but GET and HEAD, and tells whether it did not.
func onlyGet(w http.ResponseWriter, r *http.Request) bool {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return true
	}
	w.Header().Set("Allow", "GET, HEAD")
	errs.Write(w, errs.New(connect.CodeUnimplemented, errs.ReasonMethodNotAllowed, "this path knows GET, HEAD"))
	return false
}

// pages serves paths that are no part of soulbox.v1, and gives everything else to next.
func pages(at map[string]http.Handler, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		page := at[r.URL.Path]
		if page == nil {
			next.ServeHTTP(w, r)
			return
		}
		if onlyGet(w, r) {
			w.Header().Set("Cache-Control", "no-store")
			w.Header().Set("X-Content-Type-Options", "nosniff")
			page.ServeHTTP(w, r)
		}
	})
}

// document serves the OpenAPI document of a version, which the first request makes.
func document(version string, s *v1.Services) http.Handler {
	once := sync.OnceValues(func() ([]byte, error) { return openapi.Document(version) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		doc, err := once()
		if err != nil {
			errs.Write(w, s.Error(r.Context(), err))
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(doc) // a client that is gone needs no answer
	})
}
