package config

import (
	"fmt"
	"strings"
)

// Document returns the tables of docs/configuration.md.
func Document() string {
	var b strings.Builder
	b.WriteString("| Key | Flag and environment | Type and range | Default | Reload | Meaning |\n|---|---|---|---|---|---|\n")
	for _, s := range Settings() {
		documentRow(&b, &s, fmt.Sprintf("`--%s` `%s`", s.Flag, s.Env()))
	}
	b.WriteString("\nBelow `[keys.\"NAME or ID\"]`, in the file only:\n\n| Key | Type and range | Default | Reload | Meaning |\n|---|---|---|---|---|\n")
	for _, s := range KeySettings() {
		documentRow(&b, &s, "")
	}
	return b.String()
}

func documentRow[C any](b *strings.Builder, s *Setting[C], flag string) {
	cells := []string{"`" + s.Key + "`"}
	if flag != "" {
		cells = append(cells, flag)
	}
	kind, fallback, live := string(s.Value.Kind), s.Unset, "restart"
	if s.Value.Range != "" {
		kind += ": " + s.Value.Range
	}
	if s.Default != "" {
		fallback = "`" + s.Default + "`"
	}
	if s.Live {
		live = "live"
	}
	cells = append(cells, kind, fallback, live, strings.ReplaceAll(s.Help, "`", ""))
	fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | "))
}
