package agent

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func encodeReport(t testing.TB, w wireReport) []byte {
	t.Helper()
	b, err := binary.Append(nil, binary.NativeEndian, w)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParseReport(t *testing.T) {
	w := wireReport{Kind: msgFailed, Seq: 7, Errno: 2, PID: 3, Status: 256, Reaped: 4, User: 5, System: 6, RSS: 7, TreeUser: 8, TreeSystem: 9}
	copy(w.Label[:], "mount /proc")
	got, err := parseReport(encodeReport(t, w))
	want := report{kind: msgFailed, seq: 7, errno: unix.ENOENT, pid: 3, status: 256, reaped: 4, user: 5 * time.Microsecond, system: 6 * time.Microsecond,
		maxRSS: 7 << 10, treeUser: 8 * time.Microsecond, treeSystem: 9 * time.Microsecond, label: "mount /proc"}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(report{})); diff != "" || err != nil {
		t.Errorf("parseReport: %v (-want +got):\n%s", err, diff)
	}
	for name, edit := range map[string]func(*wireReport){
		"kind":     func(w *wireReport) { w.Kind = 5 },
		"errno":    func(w *wireReport) { w.Errno = -1 },
		"user":     func(w *wireReport) { w.User = -1 },
		"tree":     func(w *wireReport) { w.TreeSystem = -1 },
		"resident": func(w *wireReport) { w.RSS = -1 },
	} {
		bad := w
		edit(&bad)
		if _, err := parseReport(encodeReport(t, bad)); err == nil {
			t.Errorf("parseReport with a bad %s succeeded", name)
		}
	}
}

func FuzzParseReport(f *testing.F) {
	f.Add(encodeReport(f, wireReport{Kind: msgExited, Status: 9}))
	f.Add([]byte("short"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseReport(b)
		if err == nil && (r.kind < msgTree || r.user < 0 || r.system < 0 || r.treeUser < 0 || r.treeSystem < 0) {
			t.Errorf("parseReport(%q) = %+v", b, r)
		}
	})
}

func FuzzParseFDMessage(f *testing.F) {
	f.Add([]byte("0123456789abcdef"), 0)
	f.Fuzz(func(t *testing.T, data []byte, flags int) {
		if files, err := parseFDMessage(data, nil, flags); err == nil || len(files) > 0 {
			t.Errorf("parseFDMessage(%q) without descriptors succeeded", data)
		}
	})
}

func FuzzProcFiles(f *testing.F) {
	f.Add([]byte("1 (a) b) S 1 1 1 0 -1 0 0 0 0 0 11 12 13 14 20 0 3"))
	f.Add([]byte("Rss: 1 kB\nPss: 5 kB\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		user, system, threads, ok := parseStat(b, false)
		if ok && (user < 0 || system < 0 || threads < 0) {
			t.Errorf("parseStat(%q) = %v, %v, %d", b, user, system, threads)
		}
		if n, ok := parseRollup(b); ok && n < 0 {
			t.Errorf("parseRollup(%q) = %d", b, n)
		}
		if n, ok := parseStatm(b); ok && n < 0 {
			t.Errorf("parseStatm(%q) = %d", b, n)
		}
	})
}

func TestProcFiles(t *testing.T) {
	stat := []byte("1 (a) b) S 1 1 1 0 -1 0 0 0 0 0 11 12 13 14 20 0 3")
	if user, system, threads, ok := parseStat(stat, false); user != 240*time.Millisecond || system != 260*time.Millisecond || threads != 3 || !ok {
		t.Errorf("parseStat = %v, %v, %d, %v", user, system, threads, ok)
	}
	if user, system, threads, ok := parseStat(stat, true); user != 130*time.Millisecond || system != 140*time.Millisecond || threads != 0 || !ok {
		t.Errorf("parseStat of children = %v, %v, %d, %v", user, system, threads, ok)
	}
	if n, ok := parseRollup([]byte("55-66 ---p [rollup]\nRss:   9 kB\nPss:   5 kB\nPss_Anon: 1 kB\n")); n != 5<<10 || !ok {
		t.Errorf("parseRollup = %d, %v", n, ok)
	}
	if _, ok := parseStatm([]byte("1 2 3")); ok {
		t.Error("parseStatm with more shared than resident succeeded")
	}
}

func TestMessagesValidate(t *testing.T) {
	good := prepareMessage{uid: 1000, gid: 1000, launcherID: 1031, hostname: "h"}
	if err := good.validate(); err != nil {
		t.Errorf("validate: %v", err)
	}
	for name, edit := range map[string]func(*prepareMessage){
		"root":      func(m *prepareMessage) { m.uid = 0 },
		"same id":   func(m *prepareMessage) { m.launcherID = m.uid },
		"filter":    func(m *prepareMessage) { m.filter = make([]byte, 9) },
		"long":      func(m *prepareMessage) { m.filter = make([]byte, 8*(maxFilter+1)) },
		"no name":   func(m *prepareMessage) { m.hostname = "" },
		"relative":  func(m *prepareMessage) { m.hides = []string{"x"} },
		"many":      func(m *prepareMessage) { m.hides = make([]string, maxHides+1) },
		"NUL":       func(m *prepareMessage) { m.hides = []string{"/a\x00b"} },
		"host name": func(m *prepareMessage) { m.hostname = "a\x00b" },
	} {
		m := good
		edit(&m)
		if m.validate() == nil {
			t.Errorf("validate of a slot with bad %s succeeded", name)
		}
	}
	run := runMessage{argv: []string{"a", "b"}, env: []string{"K=v"}, dir: "/work", rlimits: []rlimit{{1, 2, 3}}}
	if err := run.validate(); err != nil {
		t.Errorf("validate: %v", err)
	}
	payload := run.payload()
	if want := 24 + 8*5 + len("/work\x00a\x00b\x00K=v\x00"); len(payload) != want || !bytes.HasSuffix(payload, []byte("/work\x00a\x00b\x00K=v\x00")) {
		t.Errorf("payload = %q, want %d bytes that end with the strings", payload, want)
	}
	for name, edit := range map[string]func(*runMessage){
		"none":     func(m *runMessage) { m.argv = nil },
		"empty":    func(m *runMessage) { m.argv = []string{""} },
		"NUL":      func(m *runMessage) { m.argv = []string{"a\x00"} },
		"relative": func(m *runMessage) { m.dir = "x" },
		"large":    func(m *runMessage) { m.env = []string{strings.Repeat("x", maxStrings)} },
		"many":     func(m *runMessage) { m.env = make([]string, maxArgs) },
		"rlimits":  func(m *runMessage) { m.rlimits = make([]rlimit, maxLimits+1) },
	} {
		m := run
		edit(&m)
		if m.validate() == nil {
			t.Errorf("validate of a run with bad %s succeeded", name)
		}
	}
}

func TestFDStore(t *testing.T) {
	s := newFDStore()
	defer s.close()
	token := [tokenSize]byte{1}
	if err := s.put(token, nil); err != nil {
		t.Fatal(err)
	}
	if s.put(token, nil) == nil {
		t.Error("put of a token that waits succeeded")
	}
	if _, err := s.take(token[:]); err != nil {
		t.Errorf("take: %v", err)
	}
	if _, err := s.take(token[:]); err == nil {
		t.Error("take twice succeeded")
	}
	for i := range maxTokens {
		if err := s.put([tokenSize]byte{2, byte(i)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if s.put(token, nil) == nil {
		t.Error("put beyond the bound succeeded")
	}
}
