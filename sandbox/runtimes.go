package sandbox

import (
	"fmt"
	"slices"
	"strings"

	"github.com/soulbox/soulbox/cgroups"
)

// runtimes returns what sandboxes can live in, the default first.
func (e *Engine) runtimes() []Runtime { return append([]Runtime{e.o.Runtime}, e.o.Others...) }

// runtime finds a runtime by name, the default with none.
func (e *Engine) runtime(name string) (Runtime, bool) {
	all := e.runtimes()
	i := slices.IndexFunc(all, func(r Runtime) bool { return name == "" || r.Info().Name == name })
	if i < 0 {
		return nil, false
	}
	return all[i], true
}

// chosen is [Engine.runtime] for a request.
func (e *Engine) chosen(op, name string) (Runtime, *Error) {
	rt, ok := e.runtime(name)
	if ok {
		if why := rt.Info().Unavailable; why != "" {
			return nil, &Error{Op: op, Kind: KindUnsupported, Reason: "RUNTIME_UNAVAILABLE", Field: "runtime", Msg: why}
		}
		return rt, nil
	}
	var names []string
	for _, r := range e.runtimes() {
		names = append(names, r.Info().Name)
	}
	return nil, &Error{Op: op, Kind: KindInvalid, Reason: "UNKNOWN_RUNTIME", Field: "runtime",
		Msg: fmt.Sprintf("no runtime %.64q here; this daemon has %s", name, strings.Join(names, ", "))}
}

// kept is what the host's cgroups keep and count of each slot of a sandbox of rt.
func (e *Engine) kept(rt Runtime) cgroups.Enforced {
	if rt.Info().OwnKernel {
		return cgroups.Enforced{}
	}
	return e.o.Cgroups.Enforced()
}

// onHost is what the host holds a sandbox of rt to whose slots are held to l together.
func onHost(rt Runtime, l cgroups.Limits) cgroups.Limits {
	over := rt.Info().Overhead
	if l.Memory > 0 {
		l.Memory += over.Memory
	}
	if l.Pids > 0 {
		l.Pids += over.Pids
	}
	return l
}
