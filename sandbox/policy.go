package sandbox

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Policy is what the operator allows. The zero value allows everything.
type Policy struct {
	Max       Limits               // the most a caller can ask for; zero fields: no maximum
	Default   Limits               // where a caller asks for nothing; zero fields: the recipe's
	Languages []string             // names of the recipes that may run; nil: all
	Runtimes  []string             // names of the runtimes that may be used; nil: all
	Image     string               // where a caller names none; empty: the host's
	Images    []string             // that may be used, by name or with "*" at the end; nil: all
	Under     []ImageRuntime       // where a caller names no runtime: of the first that has the image; else the engine's default
	Sandboxes SandboxPolicy        // for sandboxes that live on
	Keys      map[string]KeyPolicy // what differs for some keys: by their ids or, where no id is there, by their names
}

// ImageRuntime names the runtime of an image.
type ImageRuntime struct {
	Image   string // by name or with "*" at the end
	Runtime string
}

// KeyPolicy is what differs for one API key. Zero fields are the [Policy]'s.
type KeyPolicy struct {
	Max        Limits   // in place of Policy.Max, field by field: higher or lower
	Languages  []string // in place of Policy.Languages
	MaxRunning int      // sandboxes at once; zero: only the engine's own bound
	MaxQueue   int      // executions that wait; zero: only the engine's own bound

	MaxSandboxes int // that live on at once; zero: only the engine's own bound
}

// SandboxPolicy is what the operator allows to sandboxes that live on. Zero fields are as below.
type SandboxPolicy struct {
	Max        SandboxLimits // the most a caller can ask for; zero fields: no maximum
	Default    SandboxLimits // where a caller asks for nothing; zero fields: [DefaultSandboxLimits]
	Timeout    time.Duration // a sandbox's time where its caller does not say; zero: [DefaultSandboxTimeout]
	MaxTimeout time.Duration // the most a caller can ask for; zero: no bound, and sandboxes may live for ever
}

// withDefaults fills in what is not set.
func (p SandboxPolicy) withDefaults() SandboxPolicy {
	p.Default, _ = p.Default.Resolve(DefaultSandboxLimits(), SandboxLimits{})
	p.Timeout = cmp.Or(p.Timeout, DefaultSandboxTimeout)
	if p.MaxTimeout > 0 {
		p.Timeout = min(p.Timeout, p.MaxTimeout)
	}
	return p
}

// Rules are a [Policy] as it binds one client.
type Rules struct {
	Max, Default        Limits
	Languages, Runtimes []string // nil: all
	Image               string   // where a caller names none; empty: the host's
	Images              []string // nil: all
	Under               []ImageRuntime
	Sandboxes           SandboxPolicy
	MaxSandboxes        int // zero: only the engine's own bound
	ClientBounds
}

// For returns the rules for the key with this id and name.
func (p *Policy) For(id, name string) Rules {
	r := Rules{Max: p.Max, Default: p.Default, Languages: p.Languages, Runtimes: p.Runtimes, Image: p.Image, Images: p.Images, Under: p.Under, Sandboxes: p.Sandboxes}
	k, ok := p.Keys[id]
	if !ok && name != "" {
		k, ok = p.Keys[name]
	}
	if !ok {
		return r
	}
	for _, f := range limitFields() {
		f.set(&r.Max, cmp.Or(f.get(&k.Max), f.get(&r.Max)))
	}
	if k.Languages != nil {
		r.Languages = k.Languages
	}
	r.MaxSandboxes = k.MaxSandboxes
	r.ClientBounds = ClientBounds{MaxRunning: k.MaxRunning, MaxQueue: k.MaxQueue}
	return r
}

// Names tells whether p has something of its own for the key with this id and name.
func (p *Policy) Names(id, name string) bool {
	_, byID := p.Keys[id]
	_, byName := p.Keys[name]
	return byID || byName && name != ""
}

// Allow returns an [*Error] of [KindDenied] that names the field of a request for which r does not let a language or a
// runtime be used, nil when it does.
func (r *Rules) Allow(language, runtime string) *Error {
	for _, rule := range []struct {
		allowed             []string
		name, reason, field string
	}{
		{r.Languages, language, "LANGUAGE_NOT_ALLOWED", "language"},
		{r.Runtimes, runtime, "RUNTIME_NOT_ALLOWED", "runtime"},
	} {
		if rule.allowed != nil && !slices.Contains(rule.allowed, rule.name) {
			return &Error{Op: "sandbox.Start", Kind: KindDenied, Reason: rule.reason, Field: rule.field,
				Msg: fmt.Sprintf("the operator does not allow %q for this key; allowed: %s", rule.name, cmp.Or(strings.Join(rule.allowed, ", "), "none"))}
		}
	}
	return nil
}

// under names the runtime for a request on an image: what was asked for, or else the operator's choice for the image, or
// nothing for the default.
func (r *Rules) under(asked, image string) string {
	if asked != "" {
		return asked
	}
	if i := slices.IndexFunc(r.Under, func(u ImageRuntime) bool { return matchImage(u.Image, image) }); i >= 0 {
		return r.Under[i].Runtime
	}
	return ""
}

// resolve returns the limits in force for what a caller asked, see [Limits.Resolve]: the operator's defaults come before
// the recipe's.
func (r *Rules) resolve(asked, recipe Limits) (effective Limits, clamped []LimitName) {
	defaults, _ := r.Default.Resolve(recipe, Limits{})
	return asked.Resolve(defaults, r.Max)
}

// clone copies what the caller of [Engine.Configure] could go on to change.
func (p *Policy) clone() Policy {
	c := *p
	c.Languages, c.Runtimes, c.Images = slices.Clone(p.Languages), slices.Clone(p.Runtimes), slices.Clone(p.Images)
	c.Under = slices.Clone(p.Under)
	c.Keys = make(map[string]KeyPolicy, len(p.Keys))
	for name, k := range p.Keys {
		k.Languages = slices.Clone(k.Languages)
		c.Keys[name] = k
	}
	return c
}
