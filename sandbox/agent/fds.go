package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	tokenSize  = 16
	maxTokens  = 64
	maxFDs     = 16               // with one token
	keepFDs    = 30 * time.Second // how long a token waits for its Prepare
	fdsTimeout = 5 * time.Second  // of one connection
)

// fdStore keeps descriptors that came by fds.sock until a Prepare names their token.
type fdStore struct {
	mu      sync.Mutex
	entries map[[tokenSize]byte]*fdEntry
}

type fdEntry struct {
	files []*os.File
	timer *time.Timer
}

func newFDStore() *fdStore { return &fdStore{entries: map[[tokenSize]byte]*fdEntry{}} }

// put keeps files under token; it takes them over, also when it fails.
func (s *fdStore) put(token [tokenSize]byte, files []*os.File) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.entries[token]; ok || len(s.entries) >= maxTokens {
		closeAll(files)
		return fmt.Errorf("keep descriptors: %d tokens wait, or this one does", len(s.entries))
	}
	s.entries[token] = &fdEntry{files: files, timer: time.AfterFunc(keepFDs, func() {
		if files, err := s.take(token[:]); err == nil {
			closeAll(files)
		}
	})}
	return nil
}

// take returns what was kept under token, which is the caller's from then on.
func (s *fdStore) take(token []byte) ([]*os.File, error) {
	if len(token) != tokenSize {
		return nil, fmt.Errorf("token of %d bytes instead of %d", len(token), tokenSize)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.entries[[tokenSize]byte(token)]
	if !ok {
		return nil, errors.New("no descriptors with this token; they are kept for 30 seconds")
	}
	e.timer.Stop()
	delete(s.entries, [tokenSize]byte(token))
	return e.files, nil
}

// close drops everything.
func (s *fdStore) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for token, e := range s.entries {
		e.timer.Stop()
		closeAll(e.files)
		delete(s.entries, token)
	}
}

// serve takes connections, one at a time, until l is closed or ctx is done.
func (s *fdStore) serve(ctx context.Context, l *net.UnixListener) error {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	for {
		conn, err := l.AcceptUnix()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("accept connection for descriptors: %w", err)
		}
		s.handle(conn)
	}
}

// handle takes one message and answers one byte: 0 when its descriptors are kept, 1 when not.
func (s *fdStore) handle(conn *net.UnixConn) {
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(fdsTimeout)); err != nil {
		return
	}
	buf, oob := make([]byte, tokenSize+1), make([]byte, unix.CmsgSpace(maxFDs*4))
	n, oobn, flags, _, err := conn.ReadMsgUnix(buf, oob)
	if err != nil {
		return
	}
	files, err := parseFDMessage(buf[:n], oob[:oobn], flags)
	if err == nil {
		err = s.put([tokenSize]byte(buf[:tokenSize]), files)
	}
	answer := []byte{0}
	if err != nil {
		answer[0] = 1
	}
	_, _ = conn.Write(answer) // a client that is gone needs none
}

// parseFDMessage checks a message of a token and descriptors.
func parseFDMessage(data, oob []byte, flags int) ([]*os.File, error) {
	files := receivedFiles(oob)
	if len(data) != tokenSize || flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 || len(files) == 0 {
		closeAll(files)
		return nil, fmt.Errorf("message of %d bytes with %d descriptors, flags %#x", len(data), len(files), flags)
	}
	return files, nil
}
