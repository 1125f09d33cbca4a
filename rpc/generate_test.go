package rpc_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Generated code that somebody changed, removed or added fails the check. It needs what make check needs: the
// generators' modules, from the cache or the network.
func TestGenerateCheckFindsStaleFiles(t *testing.T) {
	top := t.TempDir()
	for _, dir := range []string{"proto", "soulboxpb", "openapi"} {
		if err := os.CopyFS(filepath.Join(top, "rpc", dir), os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
	}
	generated := filepath.Join(top, "rpc", "soulboxpb")
	write := func(name, text string, flag int) {
		f, err := os.OpenFile(filepath.Join(generated, name), os.O_WRONLY|flag, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	write("key.pb.go", "// changed\n", os.O_APPEND)
	write("added.pb.go", "package soulboxpb\n", os.O_CREATE|os.O_EXCL)
	if err := os.Remove(filepath.Join(generated, "system.pb.gw.go")); err != nil {
		t.Fatal(err)
	}
	described := filepath.Join(top, "rpc", "openapi", "generated", "soulbox", "v1")
	if err := os.WriteFile(filepath.Join(described, "key.openapi.json"), []byte("{}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(top, "rpc", "proto", "generate.sh")
	if err := os.Chmod(script, 0o755); err != nil { // CopyFS leaves out who may execute
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), script, "--check")
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Errorf("generate.sh --check on stale files succeeded:\n%s", out)
	}
	for _, want := range []string{"stale: ", "key.pb.go", "key.openapi.json", "-./added.pb.go", "+./system.pb.gw.go", "run rpc/proto/generate.sh"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("generate.sh --check said nothing of %q:\n%s", want, out)
		}
	}
	if strings.Contains(string(out), "stale: "+generated+"/execution.pb.go") {
		t.Errorf("generate.sh --check complains about a file that is current:\n%s", out)
	}
}
