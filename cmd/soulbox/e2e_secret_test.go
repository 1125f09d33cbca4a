package main_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestKeysAreNotLogged sends right and wrong keys in every place, and looks for them in the daemon's log and store.
func TestKeysAreNotLogged(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, "--log-format", "json")
	a := d.do(t, http.MethodPost, "/v1/keys", object{"name": "laptop"})
	a.want(t, http.StatusOK)
	made := decode[struct{ Secret string }](t, a.Body).Secret
	local, err := os.ReadFile(filepath.Join(d.state, "cli.key"))
	if err != nil {
		t.Fatal(err)
	}
	own := strings.TrimSpace(string(local))
	if len(made) != 44 || len(own) != 44 {
		t.Fatalf("keys of %d and %d characters, want e2b_ and 40", len(made), len(own))
	}
	const wrong, wellFormed = "nobody's key", "e2b_0123456789abcdef0123456789abcdef01234567"
	for _, key := range []string{testKey, made, own, wrong, wellFormed} {
		want := http.StatusOK
		if key == wrong || key == wellFormed {
			want = http.StatusUnauthorized
		}
		for _, header := range [][]string{{"X-API-Key", key}, {"X-API-Key", "", "Authorization", "Bearer " + key}} {
			d.do(t, http.MethodGet, "/v1/executions", nil, header...).want(t, want)
		}
		d.do(t, http.MethodGet, "/v1/executions?key="+strings.ReplaceAll(key, " ", "+"), nil)
		d.do(t, http.MethodPost, "/v1/executions", object{"language": "python", "code": "1", "requestId": "!"}, "X-API-Key", key)
	}
	d.stop()
	said := d.log.String()
	if !strings.Contains(said, `"msg"`) {
		t.Fatalf("the log is %q, want something in it", said)
	}
	kept := map[string]string{"the log": said}
	files, err := filepath.Glob(filepath.Join(d.state, "store", "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("the store's files: %v, %v", files, err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		kept[filepath.Base(file)] = string(b)
	}
	for where, text := range kept {
		for _, key := range []string{testKey, made, own, wrong, wellFormed} {
			if strings.Contains(text, key) || strings.Contains(text, strings.TrimPrefix(key, "e2b_")) {
				t.Errorf("%s holds a key, %.8s…", where, key)
			}
		}
	}
}
