package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"

	"github.com/soulbox/soulbox/sandbox"
	"github.com/soulbox/soulbox/store"
)

const (
	// packAbove is how many bytes of output are worth a frame of their own.
	packAbove = 512
	// maxPacked bounds the output of one execution in bytes, as it is before and after.
	maxPacked = 256 << 20
)

// executionRow is an execution and the bytes that it is stored as.
type executionRow struct {
	x       *sandbox.Execution
	payload []byte // of a row to be written
	size    int    // of the payload
}

// executionCodec stores executions as records. Its methods are safe for concurrent use.
type executionCodec struct {
	packer   *zstd.Encoder
	unpacker *zstd.Decoder
}

// newExecutionCodec returns a codec, which holds nothing that must be given back.
func newExecutionCodec() (*executionCodec, error) {
	// A small window and few encoders: the daemon is to stay small, and outputs are.
	packer, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(2), zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, fmt.Errorf("make a compressor of outputs: %w", err)
	}
	unpacker, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(maxPacked), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, fmt.Errorf("make a decompressor of outputs: %w", err)
	}
	return &executionCodec{packer: packer, unpacker: unpacker}, nil
}

// row encodes x.
func (c *executionCodec) row(x *sandbox.Execution) (executionRow, error) {
	r := recordExecution(x)
	frame, err := c.pack(r)
	if err != nil {
		return executionRow{}, err
	}
	payload, err := json.Marshal(r)
	if err != nil {
		return executionRow{}, err
	}
	if frame != nil {
		payload = append(append(payload, 0), frame...)
	}
	return executionRow{x: x, payload: payload, size: len(payload)}, nil
}

// encode and decode are a [store.Codec].
func (c *executionCodec) encode(r executionRow) ([]byte, error) { return r.payload, nil }

func (c *executionCodec) decode(b []byte) (executionRow, error) {
	text, frame, packed := bytes.Cut(b, []byte{0})
	records := store.JSON[*executionRecord]()
	r, err := records.Decode(text)
	if err != nil {
		return executionRow{}, err
	}
	if r == nil {
		return executionRow{}, errors.New("the record is null")
	}
	if packed != (r.Packed != nil) {
		return executionRow{}, errors.New("the record lacks its outputs, or has outputs of no record")
	}
	if packed {
		if err := c.unpack(r, frame); err != nil {
			return executionRow{}, err
		}
	}
	return executionRow{x: r.execution(), size: len(b)}, nil
}

// outputFields lists where a record keeps what its program wrote.
func outputFields(r *executionRecord) []*[]byte {
	fields := []*[]byte{&r.Run.Stdout, &r.Run.Stderr}
	if r.Compile != nil {
		fields = append(fields, &r.Compile.Stdout, &r.Compile.Stderr)
	}
	for i := range r.Outputs {
		fields = append(fields, &r.Outputs[i].Content)
	}
	return fields
}

// pack takes the outputs out of r and returns them compressed, nil where they are so few that they stay.
func (c *executionCodec) pack(r *executionRecord) ([]byte, error) {
	fields, total := outputFields(r), 0
	for _, f := range fields {
		total += len(*f)
	}
	if total > maxPacked {
		return nil, fmt.Errorf("%d bytes of output, at most %d: %w", total, maxPacked, store.ErrTooLarge)
	}
	if total <= packAbove {
		return nil, nil
	}
	all := make([]byte, 0, total)
	for _, f := range fields {
		n := int64(len(*f))
		if *f == nil {
			n = -1
		}
		r.Packed = append(r.Packed, n)
		all, *f = append(all, *f...), nil
	}
	return c.packer.EncodeAll(all, nil), nil
}

// unpack is the inverse of pack.
func (c *executionCodec) unpack(r *executionRecord, frame []byte) error {
	all, err := c.unpacker.DecodeAll(frame, nil)
	if err != nil {
		return fmt.Errorf("decompress outputs: %w", err)
	}
	fields := outputFields(r)
	if len(fields) != len(r.Packed) {
		return fmt.Errorf("%d outputs where the record has %d", len(r.Packed), len(fields))
	}
	for i, n := range r.Packed {
		switch {
		case n == -1:
			*fields[i] = nil
		case n < 0 || n > int64(len(all)):
			return fmt.Errorf("an output of %d bytes where %d are left", n, len(all))
		default:
			*fields[i], all = all[:n:n], all[n:]
		}
	}
	if len(all) > 0 {
		return fmt.Errorf("%d bytes of outputs are of no field", len(all))
	}
	r.Packed = nil
	return nil
}

// outputSize is how many bytes a row's outputs have, which can be many times those of its payload.
func outputSize(r executionRow) (n int) {
	for _, s := range []*sandbox.Step{&r.x.Step, r.x.Compile} {
		if s != nil {
			n += len(s.Stdout) + len(s.Stderr)
		}
	}
	for _, f := range r.x.Outputs {
		n += len(f.Content)
	}
	return n
}

// hasOutput tells whether x keeps anything that its program or compiler wrote.
func hasOutput(x *sandbox.Execution) bool {
	written := func(s *sandbox.Step) bool { return s != nil && len(s.Stdout)+len(s.Stderr) > 0 }
	return written(&x.Step) || written(x.Compile) || len(x.Outputs) > 0
}

// dropOutput forgets what the program and its compiler wrote.
func dropOutput(x *sandbox.Execution) {
	x.Stdout, x.Stderr, x.Outputs, x.OutputsExpired = nil, nil, nil, true
	if x.Compile != nil {
		x.Compile.Stdout, x.Compile.Stderr = nil, nil
	}
}
