package images

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"path"
	"runtime"
)

// PreparedDir is where a sandbox sees what r prepared: read-only, but writable for the prepare step itself.
func (r *Recipe) PreparedDir() string { return path.Join(LangDir, r.Name) }

// PrepareCommand returns the command that fills the empty directory [Recipe.PreparedDir] once, nil when r prepares
// nothing. It needs an empty work directory and is bounded by r.Prepare.
func (r *Recipe) PrepareCommand() (*Command, error) {
	if r.prepare == nil {
		return nil, nil
	}
	data := templateData{Prepared: r.PreparedDir(), Tools: ToolsDir, Memory: r.Prepare.Memory}
	return r.command(r.prepare, data, nil, nil, nil)
}

// PrepareKey names what r prepares with a compiler that calls itself version: the same key, the same content. It is
// empty when r prepares nothing.
func (r *Recipe) PrepareKey(version string) (string, error) {
	c, err := r.PrepareCommand()
	if err != nil || c == nil {
		return "", err
	}
	h := sha256.New()
	for _, s := range append(append([]string{r.Name, version, runtime.GOARCH, c.Dir}, c.Args...), c.Env...) {
		fmt.Fprintf(h, "%d:%s", len(s), s) // a hash never fails
	}
	return hex.EncodeToString(h.Sum(nil)[:10]), nil
}

// VersionCommand returns the command that prints which version of the language is there.
func (r *Recipe) VersionCommand(programs map[string]string) *Command {
	c := &Command{Dir: "/", Env: []string{"HOME=/tmp", "LANG=C.UTF-8", "PATH=" + SearchPath}}
	c.Args = append(c.Args, r.version...)
	if p, ok := programs[c.Args[0]]; ok {
		c.Args[0] = p
	}
	return c
}

// ParseVersion finds the version in what the version command printed on stdout and stderr, "" when it is not there.
func (r *Recipe) ParseVersion(output io.Reader) (string, error) {
	const maxOutput = 64 << 10
	data, err := io.ReadAll(io.LimitReader(output, maxOutput))
	if err != nil {
		return "", fmt.Errorf("read version of %s: %w", r.Name, err)
	}
	m := r.versionRE.FindSubmatch(data)
	if m == nil {
		return "", nil
	}
	return string(bytes.TrimSpace(m[1])), nil
}
