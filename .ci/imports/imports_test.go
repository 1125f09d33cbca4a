package imports

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// pkg is what `go list -json` says of a package.
type pkg struct {
	ImportPath   string
	Imports      []string
	TestImports  []string
	XTestImports []string
	CgoFiles     []string
	Standard     bool
}

// list runs `go list` at the module's top.
func goList(t *testing.T, env []string, args ...string) []pkg {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Imports,TestImports,XTestImports,CgoFiles,Standard"}, args...)...)
	cmd.Dir, cmd.Env = "../..", append(os.Environ(), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, &stderr)
	}
	var pkgs []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatalf("%v: %v", cmd.Args, err)
		}
		pkgs = append(pkgs, p)
	}
}

// ours returns a path relative to the module's top, and whether it is one of the project's.
func ours(path string) (string, bool) {
	return strings.CutPrefix(path, Module+"/")
}

func TestImports(t *testing.T) {
	for _, tags := range []string{"", "libseccomp"} {
		for _, p := range goList(t, []string{"CGO_ENABLED=1"}, "-tags="+tags, "./...") {
			from, _ := ours(p.ImportPath)
			check := func(imports []string, rule func(from, to string) string) {
				for _, i := range imports {
					if to, ok := ours(i); ok && to != from {
						if why := rule(from, to); why != "" {
							t.Errorf("%s imports %s: %s", from, to, why)
						}
					}
				}
			}
			check(p.Imports, Check)
			// Tests obey the same order: what they need from above belongs above. What is built never contains them.
			check(p.TestImports, CheckOrder)
			check(p.XTestImports, CheckOrder)
		}
	}
}

// TestInsideKnowsNothing follows the imports to their end: the agent carries nothing of SoulBox but its protocol.
func TestInsideKnowsNothing(t *testing.T) {
	for _, p := range goList(t, []string{"CGO_ENABLED=0"}, "-deps", "./cmd/soulbox-agent") {
		path, ok := ours(p.ImportPath)
		if ok && path != "cmd/soulbox-agent" && !below(path, "sandbox/agent") {
			t.Errorf("the agent contains %s", path)
		}
	}
}

// TestPureGo shows that nothing in these programs uses cgo even where it is on. The standard library's own uses (net,
// os/user) are switched off with CGO_ENABLED=0, which is how they are built.
func TestPureGo(t *testing.T) {
	for _, main := range pureGo {
		for _, p := range goList(t, []string{"CGO_ENABLED=1"}, "-deps", "./"+main) {
			if path, ok := ours(p.ImportPath); ok && len(p.CgoFiles) > 0 {
				t.Errorf("%s contains %s, which uses cgo: %v", main, path, p.CgoFiles)
			}
			for _, banned := range []string{"github.com/opencontainers/runc/libcontainer", "github.com/seccomp/libseccomp-golang"} {
				if below(p.ImportPath, banned) {
					t.Errorf("%s contains %s, which belongs in the helper", main, p.ImportPath)
				}
			}
		}
	}
}

func TestCheck(t *testing.T) {
	for _, tc := range []struct {
		from, to string
		ok       bool
	}{
		{"cmd/soulbox", "store", true},
		{"cmd/soulbox", "systemd", true},
		{"cmd/soulbox", "rpc/v1", true},
		{"rpc/v1", "rpc/errs", true},
		{"rpc/v1", "sandbox", true},
		{"rpc/v1", "store", false},
		{"rpc/v1", "images", false},
		{"rpc/v1", "cmd/soulbox", false},
		{"rpc/soulboxpb", "sandbox", false},
		{"sandbox", "images", true},
		{"sandbox", "store", false},
		{"sandbox", "systemd", false},
		{"sandbox", "rpc", false},
		{"sandbox", "sandbox/agent/client", true},
		{"sandbox/agent", "sandbox/agent/agentpb", true},
		{"sandbox/agent", "sandbox/agent/client", false},
		{"sandbox/agent", "sandbox", false},
		{"sandbox/agent/client", "sandbox/agent/agentpb", true},
		{"images", "cgroups", false},
		{"images", "sandbox", false},
		{"cgroups", "seccomp", false},
		{"store", "sandbox", false},
		{"systemd", "store", false},
		{"bench", "sandbox", false},
		{"imagesx", "images", false},
	} {
		if why := Check(tc.from, tc.to); (why == "") != tc.ok {
			t.Errorf("Check(%q, %q) = %q, want allowed: %t", tc.from, tc.to, why, tc.ok)
		}
	}
}
