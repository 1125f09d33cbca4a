package sandbox

import (
	"strings"
	"testing"

	"github.com/soulbox/soulbox/images"
)

func TestDetectLanguage(t *testing.T) {
	c, err := images.Load()
	if err != nil {
		t.Fatal(err)
	}
	files := func(namesAndContents ...string) (out []File) {
		for i := 0; i < len(namesAndContents); i += 2 {
			out = append(out, File{Path: namesAndContents[i], Content: []byte(namesAndContents[i+1])})
		}
		return out
	}
	for _, tt := range []struct {
		name string
		r    Request
		want string // the language, or the candidates in order
	}{
		{"code", Request{Code: "package main\nfunc main() {}\n"}, "go"},
		{"code with a name", Request{Code: "x", Entrypoint: "a.rb"}, "ruby"},
		{"unclear code", Request{Code: "print(1)"}, "? python ruby"},
		{"one file", Request{Files: files("main.rs", "")}, "rust"},
		{"one file without extension", Request{Files: files("run", "#!/usr/bin/env php\n")}, "php"},
		{"files that agree", Request{Files: files("a.c", "", "b.c", "", "f.h", "", "README.md", "")}, "c"},
		{"files that do not", Request{Files: files("a.ts", "", "b.js", "", "c.ts", "")}, "? typescript javascript"},
		{"equal votes", Request{Files: files("b.rb", "", "a.go", "")}, "? go ruby"},
		{"entrypoint among them", Request{Entrypoint: "b.js", Files: files("a.ts", "", "b.js", "", "c.ts", "")}, "javascript"},
		{"data beside a script", Request{Files: files("data.csv", "<?php", "run", "#!/usr/bin/python3\n")}, "python"},
		{"script named like none, beside sources", Request{Files: files("lib.py", "", "configure", "#!/usr/bin/env ruby\n")}, "python"},
		{"only data", Request{Files: files("a.csv", "1,2", "b.csv", "3,4")}, "?"},
		{"empty code", Request{}, "?"},
	} {
		d := detectLanguage(c, &tt.r)
		got := strings.Join(append([]string{"?"}, d.Candidates...), " ")
		if d.Recipe != nil {
			got = d.Recipe.Name
		}
		if got != tt.want {
			t.Errorf("%s: detectLanguage = %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestUnclear(t *testing.T) {
	c, err := images.Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		candidates []string
		want       string
	}{
		{nil, "name one of c, cpp, go"},
		{[]string{"c"}, "may be c, but"},
		{[]string{"python", "ruby", "c"}, "may be python, ruby or c, most likely first"},
	} {
		err := unclear(c, tt.candidates)
		if err.Reason != "LANGUAGE_UNCLEAR" || err.Field != "language" || err.Kind != KindInvalid || !strings.Contains(err.Msg, tt.want) {
			t.Errorf("unclear(%q) = %+v, want an invalid language and %q", tt.candidates, err, tt.want)
		}
	}
}
