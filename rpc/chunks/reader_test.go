package chunks_test

import (
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/soulbox/soulbox/rpc/chunks"
)

// from returns the pieces one after another, and then err.
func from(err error, pieces ...string) func() ([]byte, error) {
	return func() ([]byte, error) {
		if len(pieces) == 0 {
			return nil, err
		}
		piece := pieces[0]
		pieces = pieces[1:]
		return []byte(piece), nil
	}
}

func TestReader(t *testing.T) {
	if err := iotest.TestReader(chunks.NewReader(from(io.EOF, "one", "", "", "and two", "")), []byte("oneand two")); err != nil {
		t.Error(err)
	}
}

func TestReaderFails(t *testing.T) {
	lost := errors.New("lost")
	got, err := io.ReadAll(chunks.NewReader(from(lost, "before")))
	if string(got) != "before" || !errors.Is(err, lost) {
		t.Errorf("ReadAll = %q, %v, want %q, %v", got, err, "before", lost)
	}
}
