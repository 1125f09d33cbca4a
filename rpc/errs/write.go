package errs

import (
	"encoding/base64"
	"encoding/json"
	"net/http"

	"connectrpc.com/connect"
)

// body is an error on REST. The first three are as Connect writes them.
type body struct {
	Code    string       `json:"code"`
	Message string       `json:"message"`
	Details []bodyDetail `json:"details,omitempty"`
	Reason  string       `json:"reason,omitempty"`
	Field   string       `json:"field,omitempty"`
	Help    string       `json:"help,omitempty"`
}

type bodyDetail struct {
	Type  string `json:"type"`
	Value string `json:"value"` // base64 without padding
}

// Write answers a REST request with err.
func Write(w http.ResponseWriter, err *connect.Error) {
	WriteStatus(w, err, Status(err))
}

// WriteStatus is [Write] with a status of the caller's.
func WriteStatus(w http.ResponseWriter, err *connect.Error, status int) {
	h := w.Header()
	for name, values := range err.Meta() {
		h[name] = values
	}
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(JSON(err)) // a client that is gone needs no answer
}

// JSON returns err as [Write] sends it, with a newline.
func JSON(err *connect.Error) []byte {
	b := body{Code: err.Code().String(), Message: err.Message(), Reason: Reason(err), Field: Field(err), Help: helpOf(err)}
	for _, d := range err.Details() {
		b.Details = append(b.Details, bodyDetail{Type: d.Type(), Value: base64.RawStdEncoding.EncodeToString(d.Bytes())})
	}
	out, merr := json.Marshal(b)
	if merr != nil { // strings only: cannot happen
		out = []byte(`{"code":"internal","message":"internal error"}`)
	}
	return append(out, '\n')
}
