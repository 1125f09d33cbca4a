package rest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/soulbox/soulbox/rpc/codec"
	"github.com/soulbox/soulbox/rpc/errs"
	"github.com/soulbox/soulbox/rpc/schema"
	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
	"github.com/soulbox/soulbox/rpc/v1"
)

// The methods whose body, over plain HTTP, is a file's content or an archive.
const (
	writeFile   = "soulbox.v1.SandboxService.WriteFile"
	importImage = "soulbox.v1.ImageService.ImportImage"
)

// contentRoutes are the routes whose body is a file's content and no message. Annotations cannot say that of a method
// that takes a stream; what else a request says is in its path and query.
func contentRoutes() (all []route) {
	for _, m := range schema.Methods() {
		switch m.FullName() {
		case writeFile:
			all = append(all, route{method: http.MethodPut, parts: []string{"", "v1", "sandboxes", "{}", "files"}, vars: []string{"id"},
				input: (&pb.OpenFile{}).ProtoReflect().Descriptor(), of: m, content: true})
		case importImage:
			all = append(all, route{method: http.MethodPut, parts: []string{"", "v1", "images"},
				input: (&pb.OpenImage{}).ProtoReflect().Descriptor(), of: m, content: true})
		}
	}
	return all
}

// IsContent tells whether the body of a request is a file's content, which may have any size.
func IsContent(r *http.Request) bool {
	found, _ := find(contentRoutes(), r.Method, r.URL.Path)
	return found != nil
}

// open binds and checks what a request for content says, and opens the file; on an error it has answered.
func (h *Handler) open(w http.ResponseWriter, r *http.Request, found *route, m interface {
	proto.Message
	GetId() string
	GetUser() string
	GetPath() string
}) *v1.File {
	err := found.bind(r, m)
	if err == nil {
		err = h.s.Validate(m)
	}
	var f *v1.File
	if err == nil {
		f, err = h.s.Sandbox().Open(r.Context(), m.GetId(), m.GetUser(), m.GetPath())
	}
	if err != nil {
		refuse(w, h.s.Error(r.Context(), err))
		return nil
	}
	return f
}

// download answers a file's content: all of it, the part that the query says, or those that a Range header does.
func (h *Handler) download(w http.ResponseWriter, r *http.Request, found *route) {
	m := &pb.ReadFileRequest{}
	f := h.open(w, r, found, m)
	if f == nil {
		return
	}
	defer f.Close()
	ctx := r.Context()
	info, err := f.Info(ctx)
	if err == nil && info.GetType() == pb.FileType_FILE_TYPE_DIRECTORY {
		err = errs.Invalid("path", "is a directory")
	}
	if err != nil {
		refuse(w, h.s.Error(ctx, err))
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Soulbox-File-Mode", fmt.Sprintf("%04o", info.GetMode()))
	if m.GetOffset() == 0 && m.GetLimit() == 0 && info.GetSize() > 0 {
		c := &content{ctx: ctx, file: f, size: info.GetSize()}
		defer c.Close()
		if err := c.open(); err != nil { // there is a status for it only now
			w.Header().Del("Soulbox-File-Mode")
			refuse(w, h.s.Error(ctx, err))
			return
		}
		http.ServeContent(w, r, "", modified(info), c)
		return
	}
	// A part, or a file that does not say how large it is, as in /proc.
	body, err := f.Read(ctx, m.GetOffset(), m.GetLimit())
	if err != nil {
		w.Header().Del("Soulbox-File-Mode")
		refuse(w, h.s.Error(ctx, err))
		return
	}
	defer body.Close()
	if _, err := io.Copy(w, body); err != nil {
		panic(http.ErrAbortHandler) // the status is sent: the client must see that this is not all
	}
}

func modified(info *pb.FileInfo) time.Time {
	if info.GetModifiedAt() == nil {
		return time.Time{}
	}
	return info.GetModifiedAt().AsTime()
}

// content is a file as [http.ServeContent] reads it: it is opened where reading begins.
type content struct {
	ctx  context.Context
	file *v1.File
	size int64
	at   int64
	body io.ReadCloser
}

// Seek implements [io.Seeker].
func (c *content) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += c.at
	case io.SeekEnd:
		offset += c.size
	}
	if offset < 0 {
		return 0, errors.New("seek before the beginning")
	}
	if offset != c.at {
		c.Close()
	}
	c.at = offset
	return c.at, nil
}

// Read implements [io.Reader].
func (c *content) Read(p []byte) (int, error) {
	if err := c.open(); err != nil {
		return 0, err
	}
	n, err := c.body.Read(p)
	c.at += int64(n)
	return n, err
}

// open opens the file where reading goes on, unless it is open.
func (c *content) open() error {
	if c.body != nil {
		return nil
	}
	body, err := c.file.Read(c.ctx, c.at, 0)
	if err != nil {
		return err
	}
	c.body = body
	return nil
}

// Close drops what is open.
func (c *content) Close() {
	if c.body != nil {
		_ = c.body.Close() // it was read
		c.body = nil
	}
}

// upload writes a file from the body.
func (h *Handler) upload(w http.ResponseWriter, r *http.Request, found *route) {
	m := &pb.OpenFile{}
	f := h.open(w, r, found, m)
	if f == nil {
		return
	}
	defer f.Close()
	info, err := f.Write(r.Context(), nil, r.Body)
	h.answerBody(w, r, info, err)
}

// answerBody answers a request whose body was content: with m, or with err.
func (h *Handler) answerBody(w http.ResponseWriter, r *http.Request, m proto.Message, err error) {
	var answer []byte
	if err == nil {
		answer, err = codec.JSON{}.Marshal(m)
	}
	if err != nil {
		w.Header().Set("Connection", "close") // the rest of the body is not read
		errs.Write(w, h.s.Error(r.Context(), err))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(answer) // a client that is gone needs no answer
}
