package rpc

import (
	"fmt"
	"net/http"
	"time"
)

// pieceSize is how much a client must take within the write timeout, in bytes: who reads slower than that counts as gone.
const pieceSize = 64 << 10

// bounded lets a client that does not read what it is sent hold its handler, and with it a program, for no longer than
// timeout. There is no limit on a whole answer, since a stream lasts as long as its program.
func bounded(next http.Handler, timeout time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d := &deadlineWriter{ResponseWriter: w, control: http.NewResponseController(w), timeout: timeout}
		d.rest() // of the connection's last request
		next.ServeHTTP(d, r)
		d.begin() // what is buffered is sent after this
	})
}

// deadlineWriter gives each piece of an answer its time.
type deadlineWriter struct {
	http.ResponseWriter
	control *http.ResponseController
	timeout time.Duration
}

// begin starts the clock. A connection without deadlines, a test's, is written to without one.
func (w *deadlineWriter) begin() { _ = w.control.SetWriteDeadline(time.Now().Add(w.timeout)) }

// rest stops it: HTTP/2 ends a stream at its deadline even when nothing is being sent.
func (w *deadlineWriter) rest() { _ = w.control.SetWriteDeadline(time.Time{}) }

// Write implements [http.ResponseWriter].
func (w *deadlineWriter) Write(p []byte) (n int, err error) {
	defer w.rest()
	for {
		w.begin()
		m, err := w.ResponseWriter.Write(p[n:min(len(p), n+pieceSize)])
		n += m
		if err != nil {
			return n, fmt.Errorf("write to the client: %w", err)
		}
		if n == len(p) {
			return n, nil
		}
	}
}

// FlushError sends what is buffered, for an [http.ResponseController].
func (w *deadlineWriter) FlushError() error {
	defer w.rest()
	w.begin()
	if err := w.control.Flush(); err != nil {
		return fmt.Errorf("flush to the client: %w", err)
	}
	return nil
}

// Flush implements [http.Flusher]. A client that is gone is noticed by the next Write.
func (w *deadlineWriter) Flush() { _ = w.FlushError() }

// Unwrap lets an [http.ResponseController] reach the connection.
func (w *deadlineWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
