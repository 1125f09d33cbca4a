package v1

import (
	"cmp"
	"context"
	"errors"
	"io"

	"connectrpc.com/connect"

	"github.com/soulbox/soulbox/rpc/chunks"
	"github.com/soulbox/soulbox/rpc/errs"
	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
	"github.com/soulbox/soulbox/sandbox"
	"github.com/soulbox/soulbox/sandbox/agent/client"
)

// fileChunk is how much of a file one message carries, in bytes.
const fileChunk = 64 << 10

// File is what a caller reads or writes in a sandbox. Close gives back what it holds.
type File struct {
	use  *sandbox.Use
	user string
	path string
}

// Open returns the file at path in a sandbox of the caller's, which need not exist.
func (b *SandboxService) Open(ctx context.Context, id, user, path string) (*File, error) {
	use, err := b.use(ctx, id)
	if err != nil {
		return nil, err
	}
	return &File{use: use, user: user, path: path}, nil
}

// Close gives back the hold on the sandbox.
func (f *File) Close() { f.use.Close() }

// Info describes what lies there.
func (f *File) Info(ctx context.Context) (*pb.FileInfo, error) {
	info, err := f.use.Agent().Stat(ctx, f.user, f.path)
	if err != nil {
		return nil, f.use.Error("sandbox.Stat", err)
	}
	return fileInfo(info), nil
}

// Read returns the content from offset on, at most limit bytes; 0 is all. The caller closes it.
func (f *File) Read(ctx context.Context, offset, limit int64) (io.ReadCloser, error) {
	content, err := f.use.Agent().ReadFile(ctx, f.user, f.path, offset, limit)
	if err != nil {
		return nil, f.use.Error("sandbox.ReadFile", err)
	}
	return content.Body, nil
}

// Write writes the file from r and describes it.
func (f *File) Write(ctx context.Context, metadata map[string]string, r io.Reader) (*pb.FileInfo, error) {
	if err := f.use.Agent().WriteFile(ctx, f.user, f.path, metadata, r); err != nil {
		return nil, f.use.Error("sandbox.WriteFile", err)
	}
	return f.Info(ctx)
}

func fileInfo(i client.FileInfo) *pb.FileInfo {
	kind := pb.FileType_FILE_TYPE_OTHER
	switch i.Kind {
	case client.KindFile:
		kind = pb.FileType_FILE_TYPE_FILE
	case client.KindDirectory:
		kind = pb.FileType_FILE_TYPE_DIRECTORY
	case client.KindSymlink:
		kind = pb.FileType_FILE_TYPE_SYMLINK
	}
	out := &pb.FileInfo{Name: valid(i.Name), Path: valid(i.Path), Type: kind, Size: i.Size, Mode: i.Mode, Permissions: valid(i.Permissions),
		Owner: valid(i.Owner), Group: valid(i.Group), ModifiedAt: timestamp(i.ModifiedAt), Target: valid(i.Target)}
	if len(i.Metadata) > 0 {
		out.Metadata = map[string]string{}
	}
	for k, v := range i.Metadata {
		out.Metadata[valid(k)] = valid(v)
	}
	return out
}

// ReadFile answers a file's description and content.
func (b *SandboxService) ReadFile(ctx context.Context, m *pb.ReadFileRequest, out *connect.ServerStream[pb.ReadFileResponse]) error {
	f, err := b.Open(ctx, m.GetId(), m.GetUser(), m.GetPath())
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Info(ctx)
	if err != nil {
		return err
	}
	body, err := f.Read(ctx, m.GetOffset(), m.GetLimit())
	if err != nil {
		return err
	}
	defer body.Close()
	if err := out.Send(&pb.ReadFileResponse{Message: &pb.ReadFileResponse_Info{Info: info}}); err != nil {
		return clientGone("send a file", err)
	}
	for {
		buf := make([]byte, fileChunk)
		n, err := io.ReadFull(body, buf)
		if n > 0 {
			if err := out.Send(&pb.ReadFileResponse{Message: &pb.ReadFileResponse_Data{Data: buf[:n]}}); err != nil {
				return clientGone("send a file", err)
			}
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return f.use.Error("sandbox.ReadFile", err)
		}
	}
}

// WriteFile writes a file from the messages of a stream.
func (b *SandboxService) WriteFile(ctx context.Context, in *connect.ClientStream[pb.WriteFileRequest]) (*pb.FileInfo, error) {
	if !in.Receive() {
		if err := in.Err(); err != nil {
			return nil, err
		}
		return nil, errs.Invalid("open", "the first message names the file")
	}
	first := in.Msg()
	if err := b.s.Validate(first); err != nil {
		return nil, err
	}
	open := first.GetOpen()
	if open == nil {
		return nil, errs.Invalid("open", "the first message names the file")
	}
	f, err := b.Open(ctx, open.GetId(), open.GetUser(), open.GetPath())
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Write(ctx, open.GetMetadata(), chunks.NewReader(func() ([]byte, error) { return nextData(in) }))
}

// nextData returns the data of a stream's next message, [io.EOF] after the last.
func nextData(in *connect.ClientStream[pb.WriteFileRequest]) ([]byte, error) {
	if !in.Receive() {
		return nil, cmp.Or(in.Err(), io.EOF)
	}
	if in.Msg().GetOpen() != nil {
		return nil, errs.Invalid("open", "only the first message names a file")
	}
	return in.Msg().GetData(), nil
}

// ListFiles answers the entries of a directory.
func (b *SandboxService) ListFiles(ctx context.Context, m *pb.ListFilesRequest) (*pb.ListFilesResponse, error) {
	use, err := b.use(ctx, m.GetId())
	if err != nil {
		return nil, err
	}
	defer use.Close()
	list, err := use.Agent().ListDir(ctx, m.GetUser(), m.GetPath(), m.GetDepth())
	if err != nil {
		return nil, use.Error("sandbox.ListFiles", err)
	}
	out := &pb.ListFilesResponse{}
	for _, i := range list {
		out.Entries = append(out.Entries, fileInfo(i))
	}
	return out, nil
}

// StatFile describes what lies at a path.
func (b *SandboxService) StatFile(ctx context.Context, m *pb.StatFileRequest) (*pb.FileInfo, error) {
	f, err := b.Open(ctx, m.GetId(), m.GetUser(), m.GetPath())
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Info(ctx)
}

// MakeDir makes a directory.
func (b *SandboxService) MakeDir(ctx context.Context, m *pb.MakeDirRequest) (*pb.FileInfo, error) {
	use, err := b.use(ctx, m.GetId())
	if err != nil {
		return nil, err
	}
	defer use.Close()
	info, err := use.Agent().MakeDir(ctx, m.GetUser(), m.GetPath())
	if err != nil {
		return nil, use.Error("sandbox.MakeDir", err)
	}
	return fileInfo(info), nil
}

// MoveFile renames a file or a directory.
func (b *SandboxService) MoveFile(ctx context.Context, m *pb.MoveFileRequest) (*pb.FileInfo, error) {
	use, err := b.use(ctx, m.GetId())
	if err != nil {
		return nil, err
	}
	defer use.Close()
	info, err := use.Agent().Move(ctx, m.GetUser(), m.GetSource(), m.GetDestination())
	if err != nil {
		return nil, use.Error("sandbox.Move", err)
	}
	return fileInfo(info), nil
}

// RemoveFile removes a file or a directory.
func (b *SandboxService) RemoveFile(ctx context.Context, m *pb.RemoveFileRequest) (*pb.RemoveFileResponse, error) {
	use, err := b.use(ctx, m.GetId())
	if err != nil {
		return nil, err
	}
	defer use.Close()
	if err := use.Agent().Remove(ctx, m.GetUser(), m.GetPath()); err != nil {
		return nil, use.Error("sandbox.Remove", err)
	}
	return &pb.RemoveFileResponse{}, nil
}

// WatchFiles tells what changes in a directory.
func (b *SandboxService) WatchFiles(ctx context.Context, m *pb.WatchFilesRequest, out *connect.ServerStream[pb.FileEvent]) error {
	return b.Watch(ctx, m, out.Send)
}

// Watch calls send with what changes in a directory until the client goes away or the sandbox ends.
func (b *SandboxService) Watch(ctx context.Context, m *pb.WatchFilesRequest, send func(*pb.FileEvent) error) error {
	use, err := b.use(ctx, m.GetId())
	if err != nil {
		return err
	}
	defer use.Close()
	for change, err := range use.Agent().Watch(ctx, m.GetUser(), m.GetPath(), m.GetRecursive()) {
		if err != nil {
			return use.Error("sandbox.Watch", err)
		}
		if err := send(fileEvent(change)); err != nil {
			return clientGone("send a change", err)
		}
	}
	return nil
}

func fileEvent(c client.FileChange) *pb.FileEvent {
	kinds := map[client.Change]pb.FileEventType{
		client.ChangeStarted: pb.FileEventType_FILE_EVENT_TYPE_STARTED, client.ChangeCreate: pb.FileEventType_FILE_EVENT_TYPE_CREATE,
		client.ChangeWrite: pb.FileEventType_FILE_EVENT_TYPE_WRITE, client.ChangeRemove: pb.FileEventType_FILE_EVENT_TYPE_REMOVE,
		client.ChangeRename: pb.FileEventType_FILE_EVENT_TYPE_RENAME, client.ChangeChmod: pb.FileEventType_FILE_EVENT_TYPE_CHMOD,
		client.ChangeIdle: pb.FileEventType_FILE_EVENT_TYPE_IDLE,
	}
	out := &pb.FileEvent{Type: kinds[c.Change], Name: valid(c.Name)}
	if c.Info != nil {
		out.Info = fileInfo(*c.Info)
	}
	return out
}
