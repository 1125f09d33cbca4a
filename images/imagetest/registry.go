package imagetest

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// The user of a registry with accounts, and the password, of which the registry has a bcrypt hash.
const (
	RegistryUser     = "ali"
	RegistryPassword = "open sesame"
	registryHash     = "$2b$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW"
)

// Registry is docker-registry on loopback. The end of the test stops it.
type Registry struct {
	Host string // "127.0.0.1:port"

	t      testing.TB
	config string
	mu     sync.Mutex // of cmd: a proxy may kill the registry
	cmd    *exec.Cmd
}

// StartRegistry starts a registry; with accounts it wants credentials. It needs the package docker-registry.
func StartRegistry(t testing.TB, accounts bool) *Registry {
	t.Helper()
	dir := t.TempDir()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0") // a port that is free now
	if err != nil {
		t.Fatal(err)
	}
	r := &Registry{t: t, Host: l.Addr().String(), config: filepath.Join(dir, "config.yml")}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf("version: 0.1\nlog: {level: info}\nstorage: {filesystem: {rootdirectory: %q}}\nhttp: {addr: %q}\n", filepath.Join(dir, "storage"), r.Host)
	if accounts {
		passwords := filepath.Join(dir, "htpasswd")
		if err := os.WriteFile(passwords, []byte(RegistryUser+":"+registryHash+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		config += fmt.Sprintf("auth: {htpasswd: {realm: test, path: %q}}\n", passwords)
	}
	if err := os.WriteFile(r.config, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	r.Start()
	t.Cleanup(r.Kill)
	return r
}

// Start starts the registry again after Kill. It listens when Start returns.
func (r *Registry) Start() {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cmd = exec.CommandContext(context.Background(), "docker-registry", "serve", r.config)
	log, err := r.cmd.StderrPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		r.t.Fatalf("the tests need a registry, of the package docker-registry: %v", err)
	}
	up := make(chan bool, 1)
	go func() {
		lines := bufio.NewScanner(log)
		for lines.Scan() {
			if strings.Contains(lines.Text(), "listening on") {
				up <- true
			}
		}
		close(up)
	}()
	select {
	case ok := <-up:
		if !ok {
			r.t.Fatal("the registry ended before it listened")
		}
	case <-time.After(time.Minute):
		r.t.Fatal("the registry does not listen")
	}
}

// Kill ends the registry at once.
func (r *Registry) Kill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.cmd.Process.Kill() // it may have ended
	_ = r.cmd.Wait()
}

// Push uploads an image as "repository:tag".
func (r *Registry) Push(repository string, img v1.Image) {
	r.t.Helper()
	ref, err := name.ParseReference(r.Host + "/" + repository)
	if err != nil {
		r.t.Fatal(err)
	}
	auth := &authn.Basic{Username: RegistryUser, Password: RegistryPassword}
	if err := remote.Write(ref, img, remote.WithAuth(auth)); err != nil {
		r.t.Fatal(err)
	}
}

// Proxy returns the host of a proxy before the registry, which change can look at and spoil: it is called with each
// request and with the writer of its answer, and returns the one to use.
func (r *Registry) Proxy(change func(w http.ResponseWriter, req *http.Request) http.ResponseWriter) string {
	back := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: r.Host})
	back.FlushInterval = -1
	back.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		back.ServeHTTP(change(w, req), req)
	}))
	r.t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}
