package chunks

// Reader reads the bytes of pieces one after another. It is used by one goroutine.
type Reader struct {
	next func() ([]byte, error)
	rest []byte
}

// NewReader returns a reader of the pieces that next returns, which may be empty. An error of next ends them, [io.EOF] well.
func NewReader(next func() ([]byte, error)) *Reader { return &Reader{next: next} }

// Read implements [io.Reader].
func (r *Reader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		piece, err := r.next()
		if err != nil {
			return 0, err
		}
		r.rest = piece
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}
