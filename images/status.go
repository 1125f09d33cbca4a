package images

import (
	"slices"
	"strings"
)

// Status is what a root file system has of one recipe.
type Status struct {
	Programs map[string]string // absolute path inside of each program found, for [PlanInput]
	Missing  []string          // programs that were not found
	Install  string            // the command that installs them on Debian; empty when nothing is missing
}

// Available tells whether programs of the language can run.
func (s Status) Available() bool { return len(s.Missing) == 0 }

// Status asks lookup, which finds a program by name or path as a sandbox sees it, for all that r needs.
func (r *Recipe) Status(lookup func(name string) (path string, ok bool)) Status {
	s := Status{Programs: map[string]string{}}
	for _, name := range r.Needs {
		if p, ok := lookup(name); ok {
			s.Programs[name] = p
		} else {
			s.Missing = append(s.Missing, name)
		}
	}
	if len(s.Missing) > 0 {
		s.Install = InstallCommand(r.Packages)
	}
	return s
}

// InstallCommand returns the command that installs Debian packages.
func InstallCommand(packages []string) string {
	packages = slices.Sorted(slices.Values(packages))
	return "apt-get install -y --no-install-recommends " + strings.Join(slices.Compact(packages), " ")
}
