package fsys

import (
	"encoding/json"
	"net/http"

	"connectrpc.com/connect"

	"github.com/soulbox/soulbox/sandbox/agent/agentpb/agentpbconnect"
)

// Handler returns the handler of filesystem.Filesystem, /files and /files/compose.
func (s *Service) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle(agentpbconnect.NewFilesystemHandler(rpcs{s},
		connect.WithReadMaxBytes(maxRequest), connect.WithCompression("gzip", nil, nil)))
	mux.HandleFunc("GET /files", s.answer(s.download)) // HEAD as well
	mux.HandleFunc("POST /files", s.answer(s.upload))
	mux.HandleFunc("POST /files/compose", s.answer(s.compose))
	return mux
}

// answer turns the error of an HTTP handler, which has not written anything then, into envd's JSON.
func (s *Service) answer(h func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		err := h(w, r)
		if err == nil {
			return
		}
		status := httpStatus(err)
		if status == http.StatusInternalServerError {
			s.log.Error("files", "method", r.Method, "err", err)
		}
		writeError(w, status, err.Error())
	}
}

func writeError(w http.ResponseWriter, status int, msg string) {
	w.Header().Del("Content-Disposition")
	writeJSON(w, status, struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	}{status, valid(msg)})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // fails with the connection only
}

// asker returns who a request of /files is from: the query's username, or else as for RPCs.
func (s *Service) asker(r *http.Request, username string) (*actor, error) {
	if username == "" {
		username = userOf(r.Header)
	}
	return s.actor(username)
}
