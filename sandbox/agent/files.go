package agent

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/soulbox/soulbox/sandbox/agent/fsys"
)

const (
	maxFiles = 1 << 16  // in one call
	maxRead  = 64 << 20 // bytes that one ReadFiles returns
	maxDepth = 64       // directories below each other in a CopyTree
)

// file is a regular file of a work directory.
type file struct {
	path    string
	content []byte
	mode    fs.FileMode
}

var errPath = errors.New("path must be relative, without empty parts and dots")

func checkPath(p string) error {
	if p == "." || len(p) > maxPath || strings.Contains(p, "\x00") || !fs.ValidPath(p) || !filepath.IsLocal(p) {
		return fmt.Errorf("%q: %w", p, errPath)
	}
	return nil
}

// writeFilesLocked writes files that do not exist yet.
func (s *slot) writeFilesLocked(files []file) error {
	if s.state != statePrepared {
		return fmt.Errorf("write files: %w", errState)
	}
	for _, f := range files {
		if err := checkPath(f.path); err != nil {
			return err
		}
		if err := s.makeParentsLocked(path.Dir(f.path)); err != nil {
			return err
		}
		mode := f.mode.Perm()
		if mode == 0 {
			mode = 0o644
		}
		w, err := s.create(f.path, mode)
		if err != nil {
			return err
		}
		_, err = w.Write(f.content)
		if err := errors.Join(err, w.Close()); err != nil {
			return fmt.Errorf("write %s: %w", f.path, err)
		}
	}
	return nil
}

// makeParentsLocked makes dir and what leads to it for the program's user.
func (s *slot) makeParentsLocked(dir string) error {
	if dir == "." {
		return nil
	}
	for i := range len(dir) + 1 {
		if i < len(dir) && dir[i] != '/' {
			continue
		}
		err := s.work.Mkdir(dir[:i], 0o755)
		switch {
		case errors.Is(err, fs.ErrExist):
		case err != nil:
			return fmt.Errorf("make directory %s: %w", dir[:i], err)
		default:
			if err := s.work.Chown(dir[:i], s.uid, s.gid); err != nil {
				return fmt.Errorf("own directory %s: %w", dir[:i], err)
			}
		}
	}
	return nil
}

// create makes the file p, which must not exist, for the program's user.
func (s *slot) create(p string, mode fs.FileMode) (*os.File, error) {
	w, err := s.work.OpenFile(p, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", p, err)
	}
	// The mode last: a change of owner can clear bits of it.
	if err := errors.Join(w.Chown(s.uid, s.gid), w.Chmod(mode)); err != nil {
		return nil, errors.Join(fmt.Errorf("own %s: %w", p, err), w.Close())
	}
	return w, nil
}

// readFilesLocked reads what can be read of paths, limit bytes together. Whatever stands in the way of one file, the
// program put there: the file is left out.
func (s *slot) readFilesLocked(paths []string, limit int64) ([]file, error) {
	if s.state == stateRunning {
		return nil, fmt.Errorf("read files: %w", errState)
	}
	for _, p := range paths {
		if err := checkPath(p); err != nil {
			return nil, err
		}
	}
	var files []file
	for _, p := range paths {
		content, mode, err := s.readFile(p, limit)
		if errors.Is(err, fs.ErrClosed) {
			return nil, errClosed
		} else if err != nil {
			continue
		}
		limit -= int64(len(content))
		files = append(files, file{path: p, content: content, mode: mode})
	}
	return files, nil
}

var errTooLarge = errors.New("file too large")

func (s *slot) readFile(p string, limit int64) ([]byte, fs.FileMode, error) {
	// Not os.Root, which stands on O_NOFOLLOW: gVisor disregards that for directories.
	r, err := fsys.OpenRegular(s.workDir, p)
	if err != nil {
		return nil, 0, err
	}
	defer r.Close()
	info, err := r.Stat()
	if err != nil {
		return nil, 0, fmt.Errorf("stat %s: %w", p, err)
	}
	if info.Size() > limit {
		return nil, 0, errTooLarge
	}
	content, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, 0, fmt.Errorf("read %s: %w", p, err)
	}
	if int64(len(content)) > limit { // it grew
		return nil, 0, errTooLarge
	}
	return content, info.Mode().Perm(), nil
}
