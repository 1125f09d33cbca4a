package systemd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/coreos/go-systemd/v22/journal"
	"golang.org/x/sys/unix"
)

// journalSocket is where the journal takes entries in its native protocol.
const journalSocket = "/run/systemd/journal/socket"

// StderrIsJournal tells whether what is written to standard error goes to the journal.
func StderrIsJournal() bool {
	yes, err := journal.StderrIsJournalStream()
	return yes && err == nil
}

// Field is part of an entry of the journal. Its name is one that [FieldName] made, or systemd.journal-fields(7) lists.
type Field struct{ Name, Value string }

// Journal takes entries. Its methods can be called from any goroutine.
type Journal struct {
	conn *net.UnixConn
	to   *net.UnixAddr
}

// OpenJournal returns the journal of this host. The caller closes it.
func OpenJournal() (*Journal, error) { return openJournal(journalSocket) }

func openJournal(path string) (*Journal, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("open the journal: %w", err)
	}
	// Not connected: it outlives a restart of journald.
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("open the journal: %w", err)
	}
	return &Journal{conn: conn, to: &net.UnixAddr{Name: path, Net: "unixgram"}}, nil
}

// Close ends the connection.
func (j *Journal) Close() error { return j.conn.Close() }

// Send adds an entry. One too large for a datagram goes in a sealed file.
func (j *Journal) Send(fields []Field) error {
	var b []byte
	for _, f := range fields {
		b = appendField(b, f)
	}
	_, err := j.conn.WriteToUnix(b, j.to)
	if errors.Is(err, unix.EMSGSIZE) || errors.Is(err, unix.ENOBUFS) {
		err = j.sendFile(b)
	}
	if err != nil {
		return fmt.Errorf("write to the journal: %w", err)
	}
	return nil
}

func (j *Journal) sendFile(b []byte) (err error) {
	fd, err := unix.MemfdCreate("soulbox-journal", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), "soulbox-journal")
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.Write(b); err != nil {
		return err
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE|unix.F_SEAL_SEAL); err != nil {
		return err
	}
	_, _, err = j.conn.WriteMsgUnix(nil, unix.UnixRights(fd), j.to)
	return err
}

// appendField encodes a field as https://systemd.io/JOURNAL_NATIVE_PROTOCOL says: a value with a line break goes behind
// its length, so that nothing in it can begin another field.
func appendField(b []byte, f Field) []byte {
	b = append(b, f.Name...)
	if strings.Contains(f.Value, "\n") {
		b = append(b, '\n')
		b = binary.LittleEndian.AppendUint64(b, uint64(len(f.Value)))
	} else {
		b = append(b, '=')
	}
	return append(append(b, f.Value...), '\n')
}

// maxFieldName is the length of the longest name that journald keeps.
const maxFieldName = 64

// FieldName makes a name of keys that the journal takes: "SOULBOX_HTTP_PATH" of "http" and "path".
func FieldName(keys ...string) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z':
			return r - 'a' + 'A'
		case 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
			return r
		}
		return '_'
	}, "soulbox_"+strings.Join(keys, "_"))
	return name[:min(len(name), maxFieldName)]
}

// Priority is how urgent an entry is; see syslog(3).
type Priority int

// The priorities in use.
const (
	PriorityError   Priority = 3
	PriorityWarning Priority = 4
	PriorityInfo    Priority = 6
	PriorityDebug   Priority = 7
)

// Field is the priority's.
func (p Priority) Field() Field { return Field{"PRIORITY", strconv.Itoa(int(p))} }
