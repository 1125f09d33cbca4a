package fsys

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"path"
	"strings"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sys/unix"
)

// maxUnsized bounds what is read of a file that states no size, as those of /proc do; in bytes.
const maxUnsized = 1 << 20

// content is what a download sends.
type content struct {
	io.ReadSeeker
	io.Closer
	name     string
	size     int64
	modified time.Time
}

// download is GET and HEAD /files.
func (s *Service) download(w http.ResponseWriter, r *http.Request) error {
	query := r.URL.Query()
	a, err := s.asker(r, query.Get("username"))
	if err != nil {
		return err
	}
	p, err := resolvePath(query.Get("path"), a.who.Home)
	if err != nil {
		return err
	}
	var c *content
	err = s.run(r.Context(), a, func() (err error) {
		c, err = a.open(p)
		return err
	})
	if err != nil {
		return err
	}
	defer c.Close()
	w.Header().Set("Vary", "Accept-Encoding")
	encoding, ok := pickEncoding(strings.Join(r.Header.Values("Accept-Encoding"), ","), conditional(r.Header))
	if !ok {
		writeError(w, http.StatusNotAcceptable, "no acceptable encoding: there are identity and, without Range and conditions, gzip")
		return nil
	}
	w.Header().Set("Content-Disposition", disposition(c.name))
	if encoding == gzipEncoding {
		return c.sendGzip(w, r)
	}
	http.ServeContent(w, r, c.name, c.modified, c)
	return nil
}

// open opens the regular file p to be sent.
func (a *actor) open(p string) (*content, error) {
	f, st, err := a.root.OpenFile(p)
	switch {
	case errors.Is(err, errIsDirectory):
		return nil, newFault(connect.CodeInvalidArgument, fmt.Sprintf("path '%s' is a directory", p))
	case errors.Is(err, errNotRegular):
		return nil, newFault(connect.CodeInvalidArgument, fmt.Sprintf("path '%s' is not a regular file", p))
	case err != nil:
		return nil, a.missing(p, err)
	}
	c := &content{ReadSeeker: f, Closer: f, name: path.Base(p), size: st.Size, modified: time.Unix(st.Mtim.Unix())}
	if st.Size > 0 {
		// What is there now and no more: a program could append faster than a client reads.
		c.ReadSeeker = io.NewSectionReader(f, 0, st.Size)
		return c, nil
	}
	b, err := io.ReadAll(io.LimitReader(f, maxUnsized))
	if err != nil {
		return nil, errors.Join(explain("read", p, err), f.Close())
	}
	c.ReadSeeker, c.size = bytes.NewReader(b), int64(len(b))
	return c, nil
}

// conditional tells whether a request needs the file's own bytes.
func conditional(h http.Header) bool {
	for _, name := range []string{"Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range"} {
		if h.Get(name) != "" {
			return true
		}
	}
	return false
}

func disposition(name string) string {
	if v := mime.FormatMediaType("inline", map[string]string{"filename": valid(name)}); v != "" {
		return v
	}
	return "inline"
}

// sendGzip sends the file compressed. One that shrinks meanwhile breaks the connection, so that nobody takes the part
// for the whole.
func (c *content) sendGzip(w http.ResponseWriter, r *http.Request) error {
	kind := mime.TypeByExtension(path.Ext(c.name))
	if kind == "" {
		var head [512]byte
		n, err := io.ReadFull(c, head[:])
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
			return explain("read", c.name, err)
		}
		if _, err := c.Seek(0, io.SeekStart); err != nil {
			return explain("read", c.name, err)
		}
		kind = http.DetectContentType(head[:n])
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Encoding", gzipEncoding)
	w.Header().Set("Last-Modified", c.modified.UTC().Format(http.TimeFormat))
	if r.Method == http.MethodHead {
		return nil
	}
	z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return explain("compress", c.name, err)
	}
	if _, err := io.CopyN(z, c, c.size); err != nil {
		panic(http.ErrAbortHandler)
	}
	if err := z.Close(); err != nil {
		panic(http.ErrAbortHandler)
	}
	return nil
}

// body is what a request sends, decoded as its Content-Encoding says.
func body(r *http.Request) (io.ReadCloser, error) {
	switch strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Encoding"))) {
	case "", identity:
		return r.Body, nil
	case gzipEncoding:
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			return nil, &fault{connect.CodeInvalidArgument, "the body is not gzip: " + err.Error(), err}
		}
		return z, nil
	}
	return nil, newFault(connect.CodeInvalidArgument, "the body's Content-Encoding is neither identity nor gzip")
}

// errBody marks what went wrong with the client's side of an upload.
var errBody = errors.New("read upload")

// bodyReader tells errors of reading from those of writing.
type bodyReader struct{ io.Reader }

func (b bodyReader) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: %w", errBody, err)
	}
	return n, err
}

// fill writes what r has to f.
func fill(f *os.File, r io.Reader, p string) error {
	_, err := io.CopyBuffer(struct{ io.Writer }{f}, bodyReader{r}, make([]byte, 128<<10))
	if errors.Is(err, errBody) && !errors.Is(err, unix.ENOSPC) {
		return &fault{connect.CodeInvalidArgument, err.Error(), err}
	}
	return explain("write", p, err)
}
