package rest

import (
	"bytes"
	"context"
	"fmt"
	"net/http"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/soulbox/soulbox/rpc/codec"
	"github.com/soulbox/soulbox/rpc/errs"
	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
)

// streams returns the handlers of the methods that answer a stream of events, by their full names.
func (h *Handler) streams() map[string]func(http.ResponseWriter, *http.Request, *route) {
	return map[string]func(http.ResponseWriter, *http.Request, *route){
		"soulbox.v1.ExecutionService.StreamExecution": func(w http.ResponseWriter, r *http.Request, _ *route) {
			m := &pb.StreamExecutionRequest{}
			events(h, w, r, decode(r.Body, m), m, h.s.Execution().Stream)
		},
		"soulbox.v1.SandboxService.WatchFiles": func(w http.ResponseWriter, r *http.Request, found *route) {
			m := &pb.WatchFilesRequest{}
			events(h, w, r, found.bind(r, m), m, h.s.Sandbox().Watch)
		},
		"soulbox.v1.SandboxService.StreamStats": func(w http.ResponseWriter, r *http.Request, found *route) {
			m := &pb.StreamStatsRequest{}
			events(h, w, r, found.bind(r, m), m, h.s.Sandbox().Stats)
		},
		"soulbox.v1.ImageService.PullImage": func(w http.ResponseWriter, r *http.Request, _ *route) {
			m := &pb.PullImageRequest{}
			events(h, w, r, decode(r.Body, m), m, h.s.Image().Pull)
		},
		"soulbox.v1.ImageService.BuildImage": func(w http.ResponseWriter, r *http.Request, _ *route) {
			m := &pb.BuildImageRequest{}
			events(h, w, r, decode(r.Body, m), m, h.s.Image().Build)
		},
		"soulbox.v1.SandboxService.ReadFile":  h.download,
		"soulbox.v1.SandboxService.WriteFile": h.upload,
		importImage:                           h.importImage,
		"soulbox.v1.ImageService.ExportImage": h.exportImage,
	}
}

// events calls a method that answers a stream and writes its events as JSON, one a line, each flushed as it happens.
// Until the first one an error has a status of its own; after it, the status is sent and an error is a last line
// {"error": …}. bad is what was wrong with reading m.
func events[Req, Event proto.Message](
	h *Handler, w http.ResponseWriter, r *http.Request, bad error, m Req, method func(context.Context, Req, func(Event) error) error,
) {
	ctx := r.Context()
	err := bad
	if err == nil {
		err = h.s.Validate(m)
	}
	if err != nil {
		refuse(w, h.s.Error(ctx, err))
		return
	}
	control := http.NewResponseController(w)
	started := false
	write := func(line []byte) error {
		if !started {
			started = true
			w.Header().Set("Content-Type", "application/x-ndjson")
			w.Header().Set("X-Accel-Buffering", "no") // a proxy in between is to flush too
			w.WriteHeader(http.StatusOK)
		}
		if _, err := w.Write(line); err != nil {
			return fmt.Errorf("write an event: %w", err)
		}
		if err := control.Flush(); err != nil {
			return fmt.Errorf("flush an event: %w", err)
		}
		return nil
	}
	err = method(ctx, m, func(ev Event) error {
		line, err := codec.JSON{}.Marshal(ev)
		if err != nil {
			return err
		}
		return write(append(line, '\n'))
	})
	if err == nil {
		return
	}
	said := h.s.Error(ctx, err)
	switch {
	case !started:
		refuse(w, said)
	case said.Code() != connect.CodeCanceled:
		_ = write(errorLine(said)) // the last thing to try
	}
}

// errorLine returns err as a line of a stream.
func errorLine(err *connect.Error) []byte {
	line := append([]byte(`{"error":`), bytes.TrimSpace(errs.JSON(err))...)
	return append(line, "}\n"...)
}
