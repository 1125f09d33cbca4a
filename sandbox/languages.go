package sandbox

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/soulbox/soulbox/images"
	"github.com/soulbox/soulbox/sandbox/agent/client"
)

// languages knows which recipes this host can run and in which versions.
type languages struct {
	e      *Engine
	status map[string]images.Status // by recipe

	once     sync.Once
	detected chan struct{} // closed when versions is complete
	versions map[string]string
}

func newLanguages(e *Engine) *languages {
	l := &languages{e: e, status: map[string]images.Status{}, detected: make(chan struct{}), versions: map[string]string{}}
	for _, r := range e.o.Catalog.All() {
		l.status[r.Name] = r.Status(e.root.Lookup)
	}
	return l
}

func (l *languages) missing(r *images.Recipe) []string           { return l.status[r.Name].Missing }
func (l *languages) programs(r *images.Recipe) map[string]string { return l.status[r.Name].Programs }

// detect asks every available language for its version, each in a slot of one sandbox.
func (l *languages) detect(ctx context.Context) {
	l.once.Do(func() {
		defer close(l.detected)
		limits := Limits{WallTime: 20 * time.Second, CPUTime: 20 * time.Second, Memory: 512 << 20, Processes: 128, OpenFiles: 256,
			FileSize: 1 << 20, Disk: 16 << 20, Inodes: 1000, Output: 64 << 10}
		b, err := l.e.openBox(ctx, boxSpec{memory: limits.Memory, processes: limits.Processes})
		if err != nil {
			l.e.log.Error("versions of languages are unknown", "err", err)
			return
		}
		defer func() {
			if err := b.close(ctx); err != nil {
				l.e.log.Error("close sandbox", "id", b.id, "err", err)
			}
		}()
		for _, r := range l.e.o.Catalog.All() {
			if len(l.missing(r)) > 0 {
				continue
			}
			v, err := l.version(ctx, b, r, limits)
			if err != nil {
				l.e.log.Warn("version is unknown", "lang", r.Name, "err", err)
				continue
			}
			l.versions[r.Name] = v
		}
	})
}

func (l *languages) version(ctx context.Context, b *box, r *images.Recipe, limits Limits) (string, error) {
	s, err := l.e.openSlot(ctx, b, "version-"+r.Name, limits, room{})
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	ctx, cancel := context.WithTimeout(ctx, limits.WallTime)
	defer cancel()
	cmd := command(stepSpec{command: *r.VersionCommand(l.programs(r)), limits: limits}, l.e.kept(b.rt), b.rt.Info().OwnKernel)
	if _, err := s.Run(ctx, cmd, func(ev client.Event) {
		out.Write(ev.Stdout)
		out.Write(ev.Stderr)
	}); err != nil {
		return "", err
	}
	v, err := r.ParseVersion(&out)
	if err != nil {
		return "", err
	}
	return v, s.Close(ctx)
}

// list describes all languages that the policy allows, once their versions are known.
func (l *languages) list(ctx context.Context) ([]Language, error) {
	select {
	case <-l.detected:
	case <-ctx.Done():
		return nil, canceled(ctx, "sandbox.Languages")
	}
	rules := l.e.rules("")
	var out []Language
	for _, r := range l.e.o.Catalog.All() {
		if rules.Languages != nil && !slices.Contains(rules.Languages, r.Name) {
			continue
		}
		st := l.status[r.Name]
		lang := Language{
			Name: r.Name, Title: r.Title, Aliases: r.Aliases, Extensions: r.Extensions, Entrypoint: r.Entrypoint, Interactive: r.Interactive,
			Compiled: r.Compiled(), Available: st.Available(), Version: l.versions[r.Name], Missing: st.Missing, Install: st.Install,
		}
		lang.Limits, _ = rules.resolve(Limits{}, fromImages(r.Limits))
		if r.Compiled() {
			lang.Compile = compileLimits(r, rules.Max)
		}
		out = append(out, lang)
	}
	return out, nil
}
