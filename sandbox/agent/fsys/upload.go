package fsys

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"path"

	"connectrpc.com/connect"
)

// maxParts bounds the files of one upload.
const maxParts = 4096

// uploaded is what an upload's answer says of one file: envd's keys and no others.
type uploaded struct {
	Path     string            `json:"path"`
	Name     string            `json:"name"`
	Type     string            `json:"type"`
	Metadata map[string]string `json:"metadata,omitempty"`
}

func uploadedFile(p string, metadata map[string]string) uploaded {
	return uploaded{Path: valid(p), Name: valid(path.Base(p)), Type: "file", Metadata: metadata}
}

// uploading is a POST /files on its way.
type uploading struct {
	*Service
	ctx      context.Context
	a        *actor
	path     string // from the query; "" when the parts name theirs
	metadata map[string]string
	done     []uploaded
	seen     map[string]bool
}

// upload is POST /files.
func (s *Service) upload(w http.ResponseWriter, r *http.Request) error {
	query := r.URL.Query()
	a, err := s.asker(r, query.Get("username"))
	if err != nil {
		return err
	}
	u := &uploading{Service: s, ctx: r.Context(), a: a, path: query.Get("path"), seen: map[string]bool{}}
	if u.metadata, err = metadataOf(r.Header); err != nil {
		return err
	}
	content, err := body(r)
	if err != nil {
		return err
	}
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case err == nil && kind == "multipart/form-data" && params["boundary"] != "":
		err = u.parts(multipart.NewReader(content, params["boundary"]))
	case err == nil && kind == "application/octet-stream":
		if u.path == "" {
			return newFault(connect.CodeInvalidArgument, "an upload of application/octet-stream needs the query parameter path")
		}
		err = u.one(u.path, content)
	default:
		err = newFault(connect.CodeInvalidArgument, "an upload is multipart/form-data or application/octet-stream")
	}
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, u.done)
	return nil
}

// parts writes every part called "file".
func (u *uploading) parts(m *multipart.Reader) error {
	for {
		part, err := m.NextRawPart()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return &fault{connect.CodeInvalidArgument, "read upload: " + err.Error(), err}
		}
		if part.FormName() != "file" {
			continue
		}
		p := u.path
		if p == "" {
			p = fileName(part)
		}
		if p == "" {
			return newFault(connect.CodeInvalidArgument, "a part has no filename, and the query no path")
		}
		if err := u.one(p, part); err != nil {
			return err
		}
	}
	if len(u.done) == 0 {
		return newFault(connect.CodeInvalidArgument, "the upload has no part called file")
	}
	return nil
}

// fileName is the whole filename of a part; package multipart keeps the last element only.
func fileName(part *multipart.Part) string {
	_, params, err := mime.ParseMediaType(part.Header.Get("Content-Disposition"))
	if err != nil {
		return ""
	}
	return params["filename"]
}

// one writes one file.
func (u *uploading) one(given string, r io.Reader) error {
	p, err := resolvePath(given, u.a.who.Home)
	if err != nil {
		return err
	}
	if u.seen[p] {
		return newFault(connect.CodeInvalidArgument, fmt.Sprintf("the upload has more than one file for '%s'", p))
	}
	if len(u.seen) == maxParts {
		return newFault(connect.CodeInvalidArgument, fmt.Sprintf("an upload cannot have more than %d files", maxParts))
	}
	u.seen[p] = true
	if err := u.write(u.ctx, u.a, p, u.metadata, func(st *staged) error { return fill(st.file, r, p) }); err != nil {
		return err
	}
	u.done = append(u.done, uploadedFile(p, u.metadata))
	return nil
}

// write puts a file at p whose content fill writes; nothing is changed there when that fails. It holds a thread with
// the user's rights before and after fill, not during it.
func (s *Service) write(ctx context.Context, a *actor, p string, metadata map[string]string, fill func(*staged) error) error {
	var st *staged
	err := s.run(ctx, a, func() (err error) {
		st, err = a.stage(p)
		return err
	})
	if err != nil {
		return err
	}
	err = fill(st)
	// The client may be gone; what was staged has to go in any case.
	settle := context.WithoutCancel(ctx)
	if err == nil && ctx.Err() == nil {
		return s.run(settle, a, func() error { return a.commit(st, p, metadata) })
	}
	discarded := s.run(settle, a, func() error { a.discard(st); return nil })
	return errors.Join(err, discarded, ctx.Err())
}
