package rest

import (
	"net/http"

	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
)

// importImage takes the image of the archive that the body is.
func (h *Handler) importImage(w http.ResponseWriter, r *http.Request, found *route) {
	m := &pb.OpenImage{}
	err := found.bind(r, m)
	if err == nil {
		err = h.s.Validate(m)
	}
	var img *pb.Image
	if err == nil {
		img, err = h.s.Image().Import(r.Context(), m, r.Body)
	}
	h.answerBody(w, r, img, err)
}

// exportImage answers an image as an archive.
func (h *Handler) exportImage(w http.ResponseWriter, r *http.Request, found *route) {
	m := &pb.ExportImageRequest{}
	err := found.bind(r, m)
	if err == nil {
		err = h.s.Validate(m)
	}
	out := &lateHeader{ResponseWriter: w}
	if err == nil {
		err = h.s.Image().Export(r.Context(), m, out)
	}
	switch {
	case err == nil:
	case out.written:
		panic(http.ErrAbortHandler) // the status is sent: the client must see that this is not all
	default:
		refuse(w, h.s.Error(r.Context(), err))
	}
}

// lateHeader says what an answer is once there is one.
type lateHeader struct {
	http.ResponseWriter
	written bool
}

// Write implements [http.ResponseWriter].
func (w *lateHeader) Write(p []byte) (int, error) {
	if !w.written {
		w.written = true
		w.Header().Set("Content-Type", "application/x-tar")
	}
	return w.ResponseWriter.Write(p)
}
