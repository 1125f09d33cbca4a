package main_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// configured is a daemon with a configuration file.
type configured struct {
	*daemon
	file string
}

func startConfigured(t *testing.T, toml string) *configured {
	t.Helper()
	c := &configured{file: filepath.Join(t.TempDir(), "soulbox.toml")}
	c.write(t, toml)
	c.daemon = startDaemon(t, "--config", c.file)
	return c
}

func (c *configured) write(t *testing.T, toml string) {
	t.Helper()
	if err := os.WriteFile(c.file, []byte(toml), 0o600); err != nil {
		t.Fatal(err)
	}
}

// reload makes the daemon read toml and returns what it logged of that.
func (c *configured) reload(t *testing.T, toml string) string {
	t.Helper()
	c.write(t, toml)
	before := len(c.log.String())
	out, err := exec.Command(binary(t), "reload", "--state-dir", c.state).CombinedOutput()
	if err != nil {
		t.Fatalf("soulbox reload: %v\n%s", err, out)
	}
	said := func() string { return c.log.String()[before:] }
	c.eventually("the daemon has reloaded", startWait, func() bool {
		return strings.Contains(said(), "configuration reloaded") || strings.Contains(said(), "stays as it was")
	})
	return said()
}

// TestPolicyAndReload: the file's policy holds, a reload changes it and what else can change, and a wrong file changes
// nothing.
func TestPolicyAndReload(t *testing.T) {
	t.Parallel()
	d := startConfigured(t, "[policy]\nlanguages = [\"python\"]\ndefault.wall_time = \"7s\"\n")
	pid := d.serving()
	python, c := object{"language": "python3", "code": "print(1)"}, object{"language": "c", "code": "int main(void) { return 0; }"}
	x := d.execute(t, python)
	if x.Verdict != "VERDICT_OK" || x.Limits.WallTime != "7s" {
		t.Errorf("an allowed language: %s with %s of wall time, want it to run with the operator's 7s", x.Verdict, x.Limits.WallTime)
	}
	refused := func(body object, reason, field string, header ...string) {
		t.Helper()
		a := d.do(t, http.MethodPost, "/v1/executions", body, header...)
		a.want(t, http.StatusForbidden)
		if f := decode[failure](t, a.Body); f.Code != "permission_denied" || f.Reason != reason || f.Field != field {
			t.Errorf("refused with %+v, want %s of %s", f, reason, field)
		}
	}
	refused(c, "LANGUAGE_NOT_ALLOWED", "language")
	if list := decode[struct{ Languages []struct{ Name string } }](t, d.get(t, "/v1/languages")); len(list.Languages) != 1 {
		t.Errorf("%d languages are listed, want the one that is allowed", len(list.Languages))
	}
	made := d.do(t, http.MethodPost, "/v1/keys", object{"name": "guest"})
	made.want(t, http.StatusOK)
	guest := []string{"X-API-Key", decode[struct{ Secret string }](t, made.Body).Secret}

	said := d.reload(t, "max_queue = 77\ndisk_floor = \"1MiB\"\nlog.format = \"json\"\n[policy]\nlanguages = [\"python\", \"c\"]\n"+
		"[keys.guest]\nlanguages = [\"c\"]\nlimits.memory = \"64MiB\"\n")
	for _, want := range []string{`"key":"disk_floor"`, "takes effect after a restart", `"keys.guest"`, `"max_queue"`} {
		if !strings.Contains(said, want) {
			t.Errorf("the log of the reload lacks %s:\n%s", want, said)
		}
	}
	if x := d.execute(t, c); x.Verdict != "VERDICT_OK" {
		t.Errorf("a language that is allowed now: %s", x.Verdict)
	}
	refused(python, "LANGUAGE_NOT_ALLOWED", "language", guest...)
	c["limits"] = object{"memoryBytes": "134217728"}
	a := d.do(t, http.MethodPost, "/v1/executions", c, guest...)
	a.want(t, http.StatusOK)
	if x := decode[result](t, a.Body); x.Limits.MemoryBytes != "67108864" || strings.Join(x.Clamped, ",") != "memoryBytes" {
		t.Errorf("a key's own maximum: memory %s, clamped %v, want 64 MiB", x.Limits.MemoryBytes, x.Clamped)
	}
	a = d.do(t, http.MethodPost, "/v1/keys", object{"name": "free"}, guest...)
	a.want(t, http.StatusForbidden)
	if f := decode[failure](t, a.Body); f.Reason != "KEYS_NOT_ALLOWED" {
		t.Errorf("a key with rules makes a key: %+v, want KEYS_NOT_ALLOWED", f)
	}

	said = d.reload(t, "max_queue = 0\n[polcy]\n")
	for _, want := range []string{`"line":1`, `"line":2`, "did you mean policy?", "stays as it was"} {
		if !strings.Contains(said, want) {
			t.Errorf("the log of a wrong file lacks %s:\n%s", want, said)
		}
	}
	if info := decode[struct{ MaxQueue int }](t, d.get(t, "/v1/system/info")); info.MaxQueue != 77 {
		t.Errorf("after a wrong file max_queue is %d, want 77 still", info.MaxQueue)
	}
	if now := d.serving(); now != pid {
		t.Errorf("the daemon was process %d and is %d: a reload must not restart it", pid, now)
	}
}

// TestRetentionOfDaemon: rules that a reload brings are kept, also after a restart.
func TestRetentionOfDaemon(t *testing.T) {
	t.Parallel()
	d := startConfigured(t, "")
	body := object{"language": "python", "code": "print('x' * 2000)"}
	old := d.execute(t, body)
	for range 3 {
		d.execute(t, body)
	}
	count := func() int {
		return len(decode[struct{ Executions []result }](t, d.get(t, "/v1/executions")).Executions)
	}
	if n := count(); n != 4 {
		t.Fatalf("%d executions, want 4", n)
	}
	d.reload(t, "retention.max_count = 2\nretention.output_max_age = \"1s\"\n")
	d.eventually("two executions are left", startWait, func() bool { return count() == 2 })
	d.do(t, http.MethodGet, "/v1/executions/"+old.ID, nil).want(t, http.StatusNotFound)
	last := d.execute(t, body)
	d.eventually("the oldest of three is gone", startWait, func() bool { return count() == 2 })
	if len(last.Stdout) != 2001 {
		t.Errorf("%d bytes of output, want 2001", len(last.Stdout))
	}
	// Ages are looked at whenever rules come.
	d.eventually("the output expires", startWait, func() bool {
		d.signal(syscall.SIGHUP)
		return decode[struct{ OutputsExpired bool }](t, d.get(t, "/v1/executions/"+last.ID)).OutputsExpired
	})
	if x := d.record(t, last.ID); x.Stdout != "" || x.Verdict != "VERDICT_OK" || x.State != "STATE_DONE" {
		t.Errorf("after its output expired: %s, %s, %d bytes of output", x.State, x.Verdict, len(x.Stdout))
	}
	out, err := exec.Command(binary(t), "logs", "--state-dir", d.state, last.ID).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "not kept any more") {
		t.Errorf("soulbox logs: %v\n%s", err, out)
	}
	if status := d.stop(); status != 0 {
		t.Errorf("exit status %d, want 0", status)
	}
	again := startDaemonIn(t, d.state, "--retention-max-count", "1")
	again.eventually("one execution is left", startWait, func() bool {
		return len(decode[struct{ Executions []result }](t, again.get(t, "/v1/executions")).Executions) == 1
	})
}
