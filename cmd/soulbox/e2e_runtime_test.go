package main_test

import (
	"net/http"
	"strings"
	"testing"
)

// TestRuntimes has programs and sandboxes of both runtimes side by side in one daemon.
func TestRuntimes(t *testing.T) {
	d := startDaemon(t, "--runtime", "runc")
	kernel := object{"language": "python", "code": "print(open('/proc/version').read())"}
	for name, gvisor := range map[string]bool{"": false, "runc": false, "runsc": true} {
		kernel["runtime"] = name
		x := d.execute(t, kernel)
		if x.Verdict != "VERDICT_OK" || strings.Contains(x.Stdout, "gvisor") != gvisor {
			t.Errorf("runtime %q: %s, %q, want gVisor's kernel: %v", name, x.Verdict, x.Stdout, gvisor)
		}
	}
	for _, name := range []string{"runc", "runsc"} {
		d.soulbox(t, "sandbox", "create", "--name", "my-"+name, "--runtime", name)
		if got := d.soulbox(t, "sandbox", "get", "--format", "{{.Runtime}}", "my-"+name); got != name {
			t.Errorf("the sandbox's runtime is %q, want %q", got, name)
		}
		if got := d.soulbox(t, "exec", "my-"+name, "sh", "-c", "grep -c gvisor /proc/version || true"); (got == "1") != (name == "runsc") {
			t.Errorf("in the sandbox of %s, lines about gVisor: %q", name, got)
		}
	}
	if info := d.soulbox(t, "info"); !strings.Contains(info, "runtime   runsc gVisor ") || !strings.Contains(info, "no memory-bound: ") {
		t.Errorf("info says nothing of gVisor, or of what it lacks:\n%s", info)
	}
}

// TestRuntimeOfImage has the operator choose a runtime for what runs on one image, where nobody names one.
func TestRuntimeOfImage(t *testing.T) {
	d := startDaemon(t, "--runtime", "runc", "--image-runtimes", "other/*=runc,host=runsc")
	kernel := object{"language": "python", "code": "print(open('/proc/version').read())"}
	if x := d.execute(t, kernel); !strings.Contains(x.Stdout, "gvisor") {
		t.Errorf("on the image host ran %+v, want gVisor", x)
	}
	kernel["runtime"] = "runc"
	if x := d.execute(t, kernel); x.Verdict != "VERDICT_OK" || strings.Contains(x.Stdout, "gvisor") {
		t.Errorf("a runtime that was named ran %+v", x)
	}
	d.soulbox(t, "sandbox", "create", "--name", "own")
	if got := d.soulbox(t, "sandbox", "get", "--format", "{{.Runtime}}", "own"); got != "runsc" {
		t.Errorf("the sandbox's runtime is %q, want that of its image", got)
	}
}

// TestRuntimeOfOperator has the operator choose what nobody names, and forbid the rest.
func TestRuntimeOfOperator(t *testing.T) {
	d := startDaemon(t, "--runtime", "runsc", "--runtimes", "runsc")
	if x := d.execute(t, object{"language": "python", "code": "print(open('/proc/version').read())"}); !strings.Contains(x.Stdout, "gvisor") {
		t.Errorf("the default runtime ran %+v", x)
	}
	a := d.do(t, http.MethodPost, "/v1/executions", object{"language": "python", "code": "1", "runtime": "runc"})
	if a.Status != http.StatusForbidden || !strings.Contains(string(a.Body), "RUNTIME_NOT_ALLOWED") {
		t.Errorf("a runtime that is not allowed: %d %s", a.Status, a.Body)
	}
}
