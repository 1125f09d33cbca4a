package client

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"connectrpc.com/connect"

	"github.com/soulbox/soulbox/sandbox/agent/agentpb"
)

const (
	// maxEntries bounds a directory's listing.
	maxEntries = 100_000
	// maxErrorBody bounds what is read of an answer that is an error, in bytes.
	maxErrorBody = 16 << 10
)

// FileKind is what lies at a path.
type FileKind int

// The kinds.
const (
	KindOther FileKind = iota // a FIFO, a socket, a device
	KindFile
	KindDirectory
	KindSymlink
)

// FileInfo is what an agent claims of a file.
type FileInfo struct {
	Name, Path   string
	Kind         FileKind
	Size         int64
	Mode         uint32 // permission bits
	Permissions  string // "-rw-r--r--"
	Owner, Group string
	ModifiedAt   time.Time
	Target       string // of a link
	Metadata     map[string]string
}

func fileInfo(e *agentpb.EntryInfo) FileInfo {
	kind := KindOther
	switch e.GetType() {
	case agentpb.FileType_FILE_TYPE_FILE:
		kind = KindFile
	case agentpb.FileType_FILE_TYPE_DIRECTORY:
		kind = KindDirectory
	case agentpb.FileType_FILE_TYPE_SYMLINK:
		kind = KindSymlink
	}
	return FileInfo{Name: e.GetName(), Path: e.GetPath(), Kind: kind, Size: max(e.GetSize(), 0), Mode: e.GetMode() & 0o7777,
		Permissions: clip(e.GetPermissions(), 16), Owner: clip(e.GetOwner(), 256), Group: clip(e.GetGroup(), 256),
		ModifiedAt: e.GetModifiedTime().AsTime(), Target: e.GetSymlinkTarget(), Metadata: e.GetMetadata()}
}

// asUser names who asks; empty is the session's default.
func asUser[T any](req *connect.Request[T], user string) *connect.Request[T] {
	if user != "" {
		req.Header().Set("Authorization", basic(user))
	}
	return req
}

func basic(user string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":")) }

// Stat describes what lies at path.
func (c *Client) Stat(ctx context.Context, user, path string) (FileInfo, error) {
	resp, err := c.files.Stat(ctx, asUser(connect.NewRequest(&agentpb.StatRequest{Path: path}), user))
	if err != nil {
		return FileInfo{}, fmt.Errorf("stat in sandbox: %w", err)
	}
	return fileInfo(resp.Msg.GetEntry()), nil
}

// ListDir lists a directory, depth levels down.
func (c *Client) ListDir(ctx context.Context, user, path string, depth uint32) ([]FileInfo, error) {
	resp, err := c.files.ListDir(ctx, asUser(connect.NewRequest(&agentpb.ListDirRequest{Path: path, Depth: max(depth, 1)}), user))
	if err != nil {
		return nil, fmt.Errorf("list directory in sandbox: %w", err)
	}
	entries := resp.Msg.GetEntries()
	if len(entries) > maxEntries {
		return nil, fmt.Errorf("list directory in sandbox: the agent answered %d entries, more than %d", len(entries), maxEntries)
	}
	list := make([]FileInfo, 0, len(entries))
	for _, e := range entries {
		list = append(list, fileInfo(e))
	}
	return list, nil
}

// MakeDir makes a directory and what leads to it.
func (c *Client) MakeDir(ctx context.Context, user, path string) (FileInfo, error) {
	resp, err := c.files.MakeDir(ctx, asUser(connect.NewRequest(&agentpb.MakeDirRequest{Path: path}), user))
	if err != nil {
		return FileInfo{}, fmt.Errorf("make directory in sandbox: %w", err)
	}
	return fileInfo(resp.Msg.GetEntry()), nil
}

// Move renames a file or a directory.
func (c *Client) Move(ctx context.Context, user, source, destination string) (FileInfo, error) {
	resp, err := c.files.Move(ctx, asUser(connect.NewRequest(&agentpb.MoveRequest{Source: source, Destination: destination}), user))
	if err != nil {
		return FileInfo{}, fmt.Errorf("move in sandbox: %w", err)
	}
	return fileInfo(resp.Msg.GetEntry()), nil
}

// Remove removes a file, or a directory with all that is in it. What is not there is not an error.
func (c *Client) Remove(ctx context.Context, user, path string) error {
	if _, err := c.files.Remove(ctx, asUser(connect.NewRequest(&agentpb.RemoveRequest{Path: path}), user)); err != nil {
		return fmt.Errorf("remove in sandbox: %w", err)
	}
	return nil
}

// Change is what happened to a file.
type Change int

// The changes. The first and the last say that the watch stands and that it lives.
const (
	ChangeStarted Change = iota
	ChangeCreate
	ChangeWrite
	ChangeRemove
	ChangeRename
	ChangeChmod
	ChangeIdle
)

// FileChange is one change in a directory that is watched.
type FileChange struct {
	Change Change
	Name   string    // relative to the directory
	Info   *FileInfo // as it is afterwards, where it is still there
}

// Watch yields what changes in a directory. An error is the last it yields.
func (c *Client) Watch(ctx context.Context, user, path string, recursive bool) iter.Seq2[FileChange, error] {
	return func(yield func(FileChange, error) bool) {
		entry := true
		req := asUser(connect.NewRequest(&agentpb.WatchDirRequest{Path: path, Recursive: recursive, IncludeEntry: entry}), user)
		req.Header().Set("Keepalive-Ping-Interval", "30")
		stream, err := c.files.WatchDir(ctx, req)
		if err != nil {
			yield(FileChange{}, fmt.Errorf("watch directory in sandbox: %w", err))
			return
		}
		defer stream.Close()
		for stream.Receive() {
			if !yield(fileChange(stream.Msg()), nil) {
				return
			}
		}
		err = cmp.Or(stream.Err(), errors.New("the agent's answer has no end"))
		yield(FileChange{}, fmt.Errorf("watch directory in sandbox: %w", err))
	}
}

func fileChange(m *agentpb.WatchDirResponse) FileChange {
	e := m.GetFilesystem()
	switch {
	case m.GetStart() != nil:
		return FileChange{Change: ChangeStarted}
	case e == nil:
		return FileChange{Change: ChangeIdle}
	}
	out := FileChange{Change: ChangeIdle, Name: clip(e.GetName(), maxText)}
	for from, to := range map[agentpb.EventType]Change{
		agentpb.EventType_EVENT_TYPE_CREATE: ChangeCreate, agentpb.EventType_EVENT_TYPE_WRITE: ChangeWrite, agentpb.EventType_EVENT_TYPE_REMOVE: ChangeRemove,
		agentpb.EventType_EVENT_TYPE_RENAME: ChangeRename, agentpb.EventType_EVENT_TYPE_CHMOD: ChangeChmod,
	} {
		if e.GetType() == from {
			out.Change = to
		}
	}
	if e.GetEntry() != nil {
		info := fileInfo(e.GetEntry())
		out.Info = &info
	}
	return out
}

// filesURL is the agent's route for content.
func filesURL(user, path string) string {
	q := url.Values{"path": {path}}
	if user != "" {
		q.Set("username", user)
	}
	return agentURL + "/files?" + q.Encode()
}

// Content is a file's content on its way. Body is the caller's to close.
type Content struct {
	Body io.ReadCloser
	Size int64 // of what Body holds; -1: not known
}

// ReadFile reads the regular file at path from offset on, at most limit bytes; 0 is all.
func (c *Client) ReadFile(ctx context.Context, user, path string, offset, limit int64) (Content, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, filesURL(user, path), nil)
	if err != nil {
		return Content{}, fmt.Errorf("read file in sandbox: %w", err)
	}
	req.Header.Set("Accept-Encoding", "identity")
	if offset > 0 || limit > 0 {
		last := ""
		if limit > 0 {
			last = strconv.FormatInt(offset+limit-1, 10)
		}
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-%s", offset, last))
	}
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return Content{}, fmt.Errorf("read file in sandbox: %w", err)
	}
	switch resp.StatusCode {
	case http.StatusOK, http.StatusPartialContent:
		return Content{Body: resp.Body, Size: resp.ContentLength}, nil
	case http.StatusRequestedRangeNotSatisfiable: // it ends before
		return Content{Body: http.NoBody, Size: 0}, resp.Body.Close()
	}
	return Content{}, fmt.Errorf("read file in sandbox: %w", httpError(resp))
}

// WriteFile writes a file from r, all of it or nothing, with metadata.
func (c *Client) WriteFile(ctx context.Context, user, path string, metadata map[string]string, r io.Reader) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, filesURL(user, path), io.NopCloser(r))
	if err != nil {
		return fmt.Errorf("write file in sandbox: %w", err)
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	for k, v := range metadata {
		req.Header.Set("X-Metadata-"+k, v)
	}
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("write file in sandbox: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("write file in sandbox: %w", httpError(resp))
	}
	return resp.Body.Close()
}

// httpError makes a Connect error of an answer of /files, and closes it.
func httpError(resp *http.Response) error {
	defer resp.Body.Close()
	var body struct {
		Message string `json:"message"`
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	if err == nil {
		err = json.Unmarshal(b, &body)
	}
	if err != nil || body.Message == "" {
		body.Message = resp.Status
	}
	code := connect.CodeInternal
	for status, is := range map[int]connect.Code{
		http.StatusBadRequest: connect.CodeInvalidArgument, http.StatusUnauthorized: connect.CodeUnauthenticated, http.StatusForbidden: connect.CodePermissionDenied,
		http.StatusNotFound: connect.CodeNotFound, http.StatusConflict: connect.CodeAlreadyExists, http.StatusInsufficientStorage: connect.CodeResourceExhausted,
		http.StatusServiceUnavailable: connect.CodeFailedPrecondition,
	} {
		if resp.StatusCode == status {
			code = is
		}
	}
	return connect.NewError(code, errors.New(clip(body.Message, maxErrorBody)))
}
