package systemd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// decode reads an entry as journald does.
func decode(b []byte) (fields []Field, err error) {
	for len(b) > 0 {
		line, rest, ok := bytes.Cut(b, []byte("\n"))
		if !ok {
			return nil, errors.New("no line break at the end")
		}
		if name, value, ok := bytes.Cut(line, []byte("=")); ok {
			fields, b = append(fields, Field{string(name), string(value)}), rest
			continue
		}
		if len(rest) < 8 {
			return nil, errors.New("a length is missing")
		}
		n := binary.LittleEndian.Uint64(rest)
		rest = rest[8:]
		if uint64(len(rest)) <= n || rest[n] != '\n' {
			return nil, errors.New("a value does not end where it should")
		}
		fields, b = append(fields, Field{string(line), string(rest[:n])}), rest[n+1:]
	}
	return fields, nil
}

// journald is a journal's side of the protocol.
type journald struct{ conn *net.UnixConn }

func newJournald(t *testing.T) (*journald, *Journal) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "journal")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	j, err := openJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close(); conn.Close() })
	return &journald{conn}, j
}

// next returns the next entry, from a datagram or from the file that came with one.
func (d *journald) next(t *testing.T) []Field {
	t.Helper()
	b, rights := make([]byte, 1<<20), make([]byte, unix.CmsgSpace(4))
	d.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	n, rn, _, _, err := d.conn.ReadMsgUnix(b, rights)
	if err != nil {
		t.Fatal(err)
	}
	b = b[:n]
	if rn > 0 {
		messages, err := unix.ParseSocketControlMessage(rights[:rn])
		if err != nil {
			t.Fatal(err)
		}
		fds, err := unix.ParseUnixRights(&messages[0])
		if err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(fds[0]), "entry")
		defer f.Close()
		if seals, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0); err != nil || seals&unix.F_SEAL_WRITE == 0 {
			t.Errorf("the file has the seals %x, %v: journald does not take it", seals, err)
		}
		if b, err = io.ReadAll(io.NewSectionReader(f, 0, 1<<30)); err != nil {
			t.Fatal(err)
		}
	}
	fields, err := decode(b)
	if err != nil {
		t.Fatalf("decode %q: %v", b, err)
	}
	return fields
}

func TestJournalSend(t *testing.T) {
	d, j := newJournald(t)
	for _, fields := range [][]Field{
		{{"MESSAGE", "plain"}},
		{{"MESSAGE", ""}, {"A", "="}, {"B", "x=y"}},
		{{"MESSAGE", "two\nPRIORITY=0\n_UID=0"}, {"A", "\n"}, {"B", "\x00\xff"}},
		{{"MESSAGE", strings.Repeat("long\n", 1<<18)}}, // more than a datagram takes
	} {
		if err := j.Send(fields); err != nil {
			t.Errorf("Send(%.80q): %v", fields, err)
			continue
		}
		if diff := cmp.Diff(fields, d.next(t)); diff != "" {
			t.Errorf("Send(%.80q), -want +got:\n%.1000s", fields, diff)
		}
	}
	d.conn.Close()
	if err := j.Send([]Field{{"MESSAGE", "lost"}}); err == nil {
		t.Error("Send without a journal succeeded")
	}
	if _, err := openJournal(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a journal that is not there was opened")
	}
}

func TestHandler(t *testing.T) {
	d, j := newJournald(t)
	var plain bytes.Buffer
	var level slog.LevelVar
	log := slog.New(NewHandler(j, slog.NewTextHandler(&plain, nil), &level))
	log.Debug("below the level")
	log.With("id", "i1").WithGroup("http").With("path", "/a\nb").Warn("refused", "code", 429, slog.Group("peer", "ip", "::1"), "err", errors.New("a\nPRIORITY=0"))
	want := []Field{
		{"MESSAGE", `refused id=i1 http.path="/a\nb" http.code=429 http.peer.ip=::1 http.err="a\nPRIORITY=0"`},
		{"PRIORITY", "4"}, {"SYSLOG_IDENTIFIER", "soulbox"}, {"SOULBOX_ID", "i1"}, {"SOULBOX_HTTP_PATH", "/a\nb"},
		{"SOULBOX_HTTP_CODE", "429"}, {"SOULBOX_HTTP_PEER_IP", "::1"}, {"SOULBOX_HTTP_ERR", "a\nPRIORITY=0"},
	}
	if diff := cmp.Diff(want, d.next(t)); diff != "" {
		t.Errorf("the entry, -want +got:\n%s", diff)
	}
	for l, want := range map[slog.Level]string{slog.LevelDebug: "7", slog.LevelInfo: "6", slog.LevelWarn: "4", slog.LevelError: "3", slog.LevelError + 4: "3"} {
		level.Set(slog.LevelDebug)
		log.Log(t.Context(), l, "m")
		if diff := cmp.Diff([]Field{{"MESSAGE", "m"}, {"PRIORITY", want}, {"SYSLOG_IDENTIFIER", "soulbox"}}, d.next(t)); diff != "" {
			t.Errorf("at %v, -want +got:\n%s", l, diff)
		}
	}
	if plain.Len() > 0 {
		t.Errorf("the fallback got %q", &plain)
	}
	d.conn.Close()
	log.With("id", "i2").Error("the journal is gone")
	if got := plain.String(); !strings.Contains(got, `level=ERROR msg="the journal is gone" id=i2`) {
		t.Errorf("the fallback got %q", got)
	}
}

func TestFieldName(t *testing.T) {
	for _, tt := range []struct {
		keys []string
		want string
	}{
		{[]string{"id"}, "SOULBOX_ID"},
		{[]string{"maxRunning"}, "SOULBOX_MAXRUNNING"},
		{[]string{"http", "peer-ip"}, "SOULBOX_HTTP_PEER_IP"},
		{[]string{"a=b\nc", "é"}, "SOULBOX_A_B_C__"},
		{[]string{strings.Repeat("x", 100)}, "SOULBOX_" + strings.Repeat("X", 56)},
	} {
		if got := FieldName(tt.keys...); got != tt.want {
			t.Errorf("FieldName(%q) = %q, want %q", tt.keys, got, tt.want)
		}
	}
}

// FuzzJournal: whatever a value or key holds, the entry has these fields and no others.
func FuzzJournal(f *testing.F) {
	f.Add("id", "value", "MESSAGE=x")
	f.Add("a\nb", "one\ntwo", "\n")
	f.Add("", "", "\x00\n\xff\xff\xff\xff\xff\xff\xff\xff\n")
	f.Fuzz(func(t *testing.T, key, first, second string) {
		want := []Field{{FieldName(key), first}, {"MESSAGE", second}}
		var b []byte
		for _, field := range want {
			b = appendField(b, field)
		}
		got, err := decode(b)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("entry %q: %v, -want +got:\n%s", b, err, diff)
		}
	})
}
