package assets

import (
	"bytes"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
)

func pack(t *testing.T, content []byte) *fstest.MapFile {
	t.Helper()
	e, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &fstest.MapFile{Data: e.EncodeAll(content, nil)}
}

func TestOpen(t *testing.T) {
	agent := bytes.Repeat([]byte("agent\x00"), 1000)
	files := fstest.MapFS{
		"bin/README":     {Data: []byte("what is here")},
		"bin/agent.zst":  pack(t, agent),
		"bin/ready.zst":  {Data: []byte("no zstd at all")},
		"bin/helper.zst": {Data: pack(t, agent).Data[:20]},
	}
	got, err := open(files, Agent)
	if err != nil {
		t.Fatalf("open(%q): %v", Agent, err)
	}
	if diff := cmp.Diff(agent, got); diff != "" {
		t.Errorf("open(%q) (-want +got):\n%s", Agent, diff)
	}
	for _, tc := range []struct {
		name     string
		notBuilt bool
	}{
		{Launcher, true},
		{"no-such-program", true},
		{Ready, false},
		{Helper, false},
	} {
		_, err := open(files, tc.name)
		if err == nil {
			t.Errorf("open(%q) = nil error", tc.name)
			continue
		}
		if got := errors.Is(err, fs.ErrNotExist); got != tc.notBuilt {
			t.Errorf("open(%q): errors.Is(%v, fs.ErrNotExist) = %t, want %t", tc.name, err, got, tc.notBuilt)
		}
		if got := errors.Is(err, ErrNotBuilt); got != tc.notBuilt {
			t.Errorf("open(%q): errors.Is(%v, ErrNotBuilt) = %t, want %t", tc.name, err, got, tc.notBuilt)
		}
		if tc.notBuilt && !strings.Contains(err.Error(), "make build") {
			t.Errorf("open(%q): %v, want it to name make build", tc.name, err)
		}
	}
}

func TestDigest(t *testing.T) {
	files := fstest.MapFS{}
	for i, name := range Names() {
		if _, err := digest(files); !errors.Is(err, ErrNotBuilt) {
			t.Fatalf("digest of %d programs: %v, want %v", i, err, ErrNotBuilt)
		}
		files[file(name)] = pack(t, []byte(name))
	}
	first, err := digest(files)
	if err != nil {
		t.Fatal(err)
	}
	files[file(Ready)], files[file(Agent)] = files[file(Agent)], files[file(Ready)]
	second, err := digest(files)
	if err != nil {
		t.Fatal(err)
	}
	if first == second {
		t.Errorf("digest = %s for two different sets of programs", first)
	}
}

// TestEmbedded holds that what this test was compiled with is either nothing or everything.
func TestEmbedded(t *testing.T) {
	missing := 0
	for _, name := range Names() {
		program, err := Open(name)
		switch {
		case errors.Is(err, ErrNotBuilt):
			missing++
		case err != nil:
			t.Error(err)
		case !bytes.HasPrefix(program, []byte("\x7fELF")):
			t.Errorf("Open(%q) is no ELF file: %q", name, program[:min(len(program), 16)])
		}
	}
	if Has(Runsc) && missing > 0 {
		t.Error("runsc is embedded, and other programs are not; run make build again")
	}
	if missing != 0 && missing != len(Names()) {
		t.Errorf("%d of %d programs are embedded; run make build again", len(Names())-missing, len(Names()))
	}
}
