package sandbox

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestRequestValidate(t *testing.T) {
	files := func(paths ...string) *Request {
		r := &Request{Language: "python"}
		for _, p := range paths {
			r.Files = append(r.Files, File{Path: p})
		}
		return r
	}
	code := func(change func(*Request)) *Request {
		r := &Request{Language: "python", Code: "pass"}
		change(r)
		return r
	}
	many := func(n int, format string) []string {
		s := make([]string, n)
		for i := range s {
			s[i] = fmt.Sprintf(format, i)
		}
		return s
	}
	deep := strings.Repeat("d/", 2047) + "f" // 4095 bytes
	for _, tc := range []struct {
		name  string
		r     *Request
		field string // "" when valid
	}{
		{"code", code(func(r *Request) {}), ""},
		{"code with an entrypoint", code(func(r *Request) { r.Entrypoint = "src/Main.java" }), ""},
		{"files", files("a", "b/c", "b/d", "b.c", "b-c"), ""},
		{"no language", &Request{Code: "x"}, "language"},
		{"zero byte in the language", &Request{Language: "a\x00", Code: "x"}, "language"},
		{"nothing to run", &Request{Language: "c"}, "code"},
		{"code and files", code(func(r *Request) { r.Files = []File{{Path: "a"}} }), "code"},

		{"unicode", files("größe/数.py"), ""},
		{"dots in names", files("..a", "b..", "...", ".hidden"), ""},
		{"backslash and newline", files("a\\b", "a\nb"), ""},
		{"empty path", files("a", ""), "files[1].path"},
		{"absolute", files("/etc/passwd"), "files[0].path"},
		{"parent", files("../a"), "files[0].path"},
		{"parent alone", files(".."), "files[0].path"},
		{"parent inside", files("a/../b"), "files[0].path"},
		{"parent at the end", files("a/.."), "files[0].path"},
		{"dot", files("."), "files[0].path"},
		{"dot inside", files("a/./b"), "files[0].path"},
		{"double slash", files("a//b"), "files[0].path"},
		{"final slash", files("a/"), "files[0].path"},
		{"zero byte", files("a\x00b"), "files[0].path"},
		{"longest path", files(deep), ""},
		{"path too long", files(deep + "f"), "files[0].path"},
		{"longest name", files("a/" + strings.Repeat("n", 255)), ""},
		{"name too long", files("a/" + strings.Repeat("n", 256)), "files[0].path"},
		{"the same twice", files("b", "a", "b"), "files[2].path"},
		{"file and directory", files("a/b", "x", "a"), "files[2].path"},
		{"file and directory, other names between", files("a", "a-", "a.b", "a/b/c"), "files[3].path"},
		{"file and directory, deep", files("a/b/c/d", "a/b/c2", "a/b"), "files[2].path"},
		{"most files", files(many(1000, "f%d")...), ""},
		{"too many files", files(many(1001, "f%d")...), "files"},
		{"permission bits", &Request{Language: "c", Files: []File{{Path: "a", Mode: 0o777}}}, ""},
		{"setuid", &Request{Language: "c", Files: []File{{Path: "a", Mode: 0o4755}}}, "files[0].mode"},

		{"entrypoint outside", code(func(r *Request) { r.Entrypoint = "../main.py" }), "entrypoint"},
		{"entrypoint not given", func() *Request { r := files("a"); r.Entrypoint = "b"; return r }(), "entrypoint"},
		{"entrypoint given", func() *Request { r := files("a"); r.Entrypoint = "a"; return r }(), ""},

		{"outputs", code(func(r *Request) { r.Outputs = many(100, "o%d") }), ""},
		{"an output and its directory", code(func(r *Request) { r.Outputs = []string{"o", "o/p"} }), ""},
		{"too many outputs", code(func(r *Request) { r.Outputs = many(101, "o%d") }), "outputs"},
		{"output outside", code(func(r *Request) { r.Outputs = []string{"a", "/proc/self/mem"} }), "outputs[1]"},
		{"output twice", code(func(r *Request) { r.Outputs = []string{"a", "a"} }), "outputs[1]"},

		{"arguments", code(func(r *Request) { r.Args = []string{"", "-x", "ä", strings.Repeat("a", 128<<10-1)} }), ""},
		{"zero byte in an argument", code(func(r *Request) { r.Args = []string{"", "a\x00"} }), "args[1]"},
		{"argument too long", code(func(r *Request) { r.Args = []string{strings.Repeat("a", 128<<10)} }), "args[0]"},
		{"arguments too long together", code(func(r *Request) { r.Args = strings.Split(strings.Repeat(strings.Repeat("a", 100<<10)+" ", 11), " ") }), "args[10]"},
		{"too many empty arguments", code(func(r *Request) { r.Args = make([]string, 1<<20) }), fmt.Sprintf("args[%d]", 1<<20/9)},
		{"environment", code(func(r *Request) { r.Env = map[string]string{"A": "x=y", "B": ""} }), ""},
		{"empty name", code(func(r *Request) { r.Env = map[string]string{"": "x"} }), "env"},
		{"equals in a name", code(func(r *Request) { r.Env = map[string]string{"A=B": "x"} }), "env"},
		{"zero byte in a name", code(func(r *Request) { r.Env = map[string]string{"A\x00": "x"} }), "env"},
		{"zero byte in a value", code(func(r *Request) { r.Env = map[string]string{"A": "\x00"} }), "env"},
		{"variable too long", code(func(r *Request) { r.Env = map[string]string{"A": strings.Repeat("a", 128<<10)} }), "env"},

		{"request id", code(func(r *Request) { r.RequestID = strings.Repeat("~", 127) + " " }), ""},
		{"request id too long", code(func(r *Request) { r.RequestID = strings.Repeat("a", 129) }), "requestId"},
		{"request id not ASCII", code(func(r *Request) { r.RequestID = "ä" }), "requestId"},
		{"request id not printable", code(func(r *Request) { r.RequestID = "a\tb" }), "requestId"},
		{"limits", code(func(r *Request) { r.Limits.Memory = 5 }), "limits.memoryBytes"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := tc.r.Validate()
			if tc.field == "" {
				if err != nil {
					t.Fatalf("Validate() = %v, want nil", err)
				}
				return
			}
			e, ok := errors.AsType[*Error](err)
			if !ok || e.Kind != KindInvalid || e.Field != tc.field || e.Msg == "" || e.Reason == "" {
				t.Errorf("Validate() = %#v, want KindInvalid of field %q", err, tc.field)
			}
		})
	}
}

func TestValidateHostilePathsIsFast(t *testing.T) {
	r := &Request{Language: "c"}
	for i := range MaxFiles {
		name := fmt.Sprintf("%04d", i)
		r.Files = append(r.Files, File{Path: strings.Repeat("a/", (4095-len(name))/2) + name})
	}
	start := time.Now()
	if err := r.Validate(); err != nil {
		t.Fatalf("Validate() = %v", err)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("Validate() of %d deep paths took %v", MaxFiles, d)
	}
}

func fullRequest() Request {
	return Request{
		Tenant: "t", Client: "c", RequestID: "r", Language: "python", Code: "x",
		Files:      []File{{Path: "a", Content: []byte("b"), Mode: 0o644}},
		Entrypoint: "e", Stdin: []byte("in"), Args: []string{"1", "2"}, Env: map[string]string{"A": "B"},
		Limits: Limits{Memory: MinMemory}, Image: "i", Runtime: "runc", Outputs: []string{"o"}, Place: &Place{},
	}
}

func TestBodyHash(t *testing.T) {
	base := fullRequest()
	want := BodyHash(&base)
	// The hash is stored: an encoding that changes makes old request ids conflict. At first there were no images.
	base.Image = ""
	if got := hex.EncodeToString(BodyHash(&base)); got != "be742dd360d8e9e8e71413fe346f11fe7cc75fbdd9fb73822bd30ecfbe81e870" {
		t.Errorf("BodyHash = %s: the encoding has changed", got)
	}
	for i := range reflect.TypeFor[Request]().NumField() {
		name := reflect.TypeFor[Request]().Field(i).Name
		r := fullRequest()
		reflect.ValueOf(&r).Elem().Field(i).SetZero()
		same := bytes.Equal(BodyHash(&r), want)
		if ignored := name == "Tenant" || name == "Client" || name == "RequestID" || name == "Place"; same != ignored {
			t.Errorf("BodyHash without %s: same %t, want %t", name, same, ignored)
		}
	}
	for name, change := range map[string]func(*Request){
		"file's path":            func(r *Request) { r.Files[0].Path = "b" },
		"file's content":         func(r *Request) { r.Files[0].Content = nil },
		"file's mode":            func(r *Request) { r.Files[0].Mode = 0o755 },
		"content moved to path":  func(r *Request) { r.Files[0] = File{Path: "ab", Mode: 0o644} },
		"arguments joined":       func(r *Request) { r.Args = []string{"12"} },
		"arguments split":        func(r *Request) { r.Args = []string{"1", "2", ""} },
		"arguments swapped":      func(r *Request) { r.Args = []string{"2", "1"} },
		"variable's name longer": func(r *Request) { r.Env = map[string]string{"AB": ""} },
		"limit":                  func(r *Request) { r.Limits.Memory++ },
		"other limit":            func(r *Request) { r.Limits = Limits{Disk: MinMemory} },
	} {
		r := fullRequest()
		if change(&r); bytes.Equal(BodyHash(&r), want) {
			t.Errorf("BodyHash is blind to: %s", name)
		}
	}
	many := fullRequest()
	for i := range 50 {
		many.Env[fmt.Sprint(i)] = "v"
	}
	first := BodyHash(&many)
	for range 20 {
		if !bytes.Equal(BodyHash(&many), first) {
			t.Fatal("BodyHash depends on the order of the environment")
		}
	}
}
