package rest

import (
	"bytes"
	"fmt"
	"net/http"

	"connectrpc.com/connect"

	"github.com/soulbox/soulbox/rpc/codec"
	"github.com/soulbox/soulbox/rpc/errs"
	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
)

// stream runs a program and writes its events as JSON, one a line, each flushed as it happens. Until the first one an
// error has a status of its own; after it, the status is sent and an error is a last line {"error": …}.
func (h *Handler) stream(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	m := &pb.StreamExecutionRequest{}
	err := decode(r.Body, m)
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
	err = h.s.Execution().Stream(ctx, m, func(ev *pb.ExecutionEvent) error {
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
