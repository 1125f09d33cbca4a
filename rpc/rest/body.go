package rest

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"connectrpc.com/connect"
	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/protobuf/proto"

	"github.com/soulbox/soulbox/rpc/codec"
	"github.com/soulbox/soulbox/rpc/errs"
)

// body is a request's body that remembers why it could not be decoded: generated code keeps only the text of errors.
type body struct {
	io.Reader
	closer io.Closer
	err    error
}

// Close closes what the client sends.
func (b *body) Close() error { return b.closer.Close() }

type bodyKey struct{}

// withBody returns r with a body of at most limit bytes once decompressed, reachable from its context.
func withBody(r *http.Request, limit int64) (*http.Request, error) {
	b := &body{Reader: r.Body, closer: r.Body}
	switch encoding := strings.ToLower(r.Header.Get("Content-Encoding")); encoding {
	case "", "identity":
	case "gzip":
		b.Reader = &gunzip{in: r.Body}
	default:
		return nil, errs.New(connect.CodeInvalidArgument, errs.ReasonEncoding,
			"Content-Encoding must be gzip or identity")
	}
	b.Reader = http.MaxBytesReader(nil, io.NopCloser(b.Reader), limit)
	r = r.WithContext(context.WithValue(r.Context(), bodyKey{}, b))
	r.Body = b
	return r, nil
}

// gunzip decompresses in, reading its header only when asked for the first byte.
type gunzip struct {
	in  io.Reader
	out *gzip.Reader
}

// Read implements [io.Reader].
func (g *gunzip) Read(p []byte) (int, error) {
	if g.out == nil {
		out, err := gzip.NewReader(g.in)
		if err != nil {
			return 0, gzipError(err)
		}
		g.out = out
	}
	n, err := g.out.Read(p)
	return n, gzipError(err)
}

func gzipError(err error) error {
	if errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &codec.Error{Msg: "the body is not valid gzip"}
	}
	return err
}

// decode reads the one message that b holds. An empty body is an empty message.
func decode(b io.Reader, m proto.Message) error {
	data, err := io.ReadAll(b)
	if err != nil {
		return fmt.Errorf("read the request body: %w", err)
	}
	if len(data) == 0 {
		return nil
	}
	return codec.JSON{}.Unmarshal(data, m)
}

// marshaler is the codec as the gateway wants it.
type marshaler struct{ codec.JSON }

// ContentType returns the type of all answers.
func (marshaler) ContentType(any) string { return "application/json" }

// NewDecoder returns a decoder that notes its error in the body that it reads.
func (marshaler) NewDecoder(r io.Reader) runtime.Decoder {
	return runtime.DecoderFunc(func(v any) error {
		m, ok := v.(proto.Message)
		if !ok {
			return fmt.Errorf("decode into %T: not a protobuf message", v)
		}
		err := decode(r, m)
		if b, ok := r.(*body); ok {
			b.err = err
		}
		return err
	})
}

// NewEncoder returns an encoder to w.
func (c marshaler) NewEncoder(w io.Writer) runtime.Encoder {
	return runtime.EncoderFunc(func(v any) error {
		data, err := c.Marshal(v)
		if err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	})
}
