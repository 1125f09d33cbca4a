package fsys

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"connectrpc.com/connect"
	"golang.org/x/sys/unix"
)

const (
	maxSources = 10000   // files put together by one request
	maxCompose = 4 << 20 // bytes of its body
)

// composition is the body of POST /files/compose.
type composition struct {
	Sources     []string `json:"source_paths"`
	Destination string   `json:"destination"`
	Username    string   `json:"username"`
}

// compose is POST /files/compose: it writes the sources one after the other to the destination, and removes them.
func (s *Service) compose(w http.ResponseWriter, r *http.Request) error {
	var c composition
	if err := json.NewDecoder(io.LimitReader(r.Body, maxCompose)).Decode(&c); err != nil {
		return &fault{connect.CodeInvalidArgument, "read body: " + err.Error(), err}
	}
	if len(c.Sources) == 0 || len(c.Sources) > maxSources || c.Destination == "" {
		return newFault(connect.CodeInvalidArgument, fmt.Sprintf("a composition needs a destination and 1 to %d source_paths", maxSources))
	}
	a, err := s.asker(r, c.Username)
	if err != nil {
		return err
	}
	to, err := resolvePath(c.Destination, a.who.Home)
	if err != nil {
		return err
	}
	sources := make([]string, len(c.Sources))
	for i, given := range c.Sources {
		if sources[i], err = resolvePath(given, a.who.Home); err != nil {
			return err
		}
	}
	appendAll := func(st *staged) error {
		for _, p := range sources {
			if err := r.Context().Err(); err != nil {
				return err
			}
			if err := s.run(r.Context(), a, func() error { return a.append(st, p) }); err != nil {
				return err
			}
		}
		return nil
	}
	if err := s.write(r.Context(), a, to, nil, appendAll); err != nil {
		return err
	}
	err = s.run(r.Context(), a, func() error {
		for _, p := range sources {
			if p == to {
				continue
			}
			if err := a.removeFile(p); err != nil {
				return explain("remove", p, err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, uploadedFile(to, nil))
	return nil
}

// append writes the file at p, as long as it is now, behind what is staged.
func (a *actor) append(st *staged, p string) error {
	f, now, err := a.root.OpenFile(p)
	if errors.Is(err, errIsDirectory) || errors.Is(err, errNotRegular) {
		return explain("read", p, err)
	} else if err != nil {
		return a.missing(p, err)
	}
	defer f.Close()
	if _, err := io.CopyN(st.file, f, now.Size); errors.Is(err, io.EOF) {
		return explain("read", p, errChanging)
	} else if err != nil {
		return explain("write", p, err)
	}
	return nil
}

// removeFile removes what lies at p and is no directory; nothing there is as good.
func (a *actor) removeFile(p string) error {
	dir, name, err := a.root.openParent(p)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := unix.Unlinkat(int(dir.Fd()), name, 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	return nil
}
