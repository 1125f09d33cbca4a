package errs

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
)

// reasons finds the reasons that the Go files below dir give: string literals in capitals that are the Reason of a
// composite, an argument of a function, or a constant.
func reasons(t *testing.T, dir string) map[string]string {
	t.Helper()
	capitals := regexp.MustCompile(`^"[A-Z][A-Z]+(_[A-Z]+)*"$`)
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.HasSuffix(path, ".pb.go") {
			return err
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, 0)
		if err != nil {
			return err
		}
		note := func(e ast.Expr) {
			if l, ok := e.(*ast.BasicLit); ok && capitals.MatchString(l.Value) {
				found[strings.Trim(l.Value, `"`)] = set.Position(l.Pos()).String()
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.KeyValueExpr:
				if key, ok := n.Key.(*ast.Ident); ok && key.Name == "Reason" {
					note(n.Value)
				}
			case *ast.CallExpr:
				// The functions that make errors of a reason; a reason is their first or second argument.
				if name := fmt.Sprint(n.Fun); strings.HasSuffix(name, "New}") || name == "New" || name == "invalid" {
					for _, a := range n.Args[:min(len(n.Args), 2)] {
						note(a)
					}
				}
			case *ast.ValueSpec:
				for i, name := range n.Names {
					if strings.HasPrefix(strings.ToLower(name.Name), "reason") && i < len(n.Values) {
						note(n.Values[i])
					}
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// Every reason that SoulBox gives says what to do, and is in the document; and the document has no others.
func TestEveryReasonHasHelp(t *testing.T) {
	document, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	given := reasons(t, "..")
	for reason, where := range reasons(t, "../../sandbox") {
		given[reason] = where
	}
	if len(given) < 40 {
		t.Errorf("found only %d reasons in the code: %v", len(given), given)
	}
	for reason, where := range given {
		if Help(reason) == "" {
			t.Errorf("%s: %s has no help: add it to help.go", where, reason)
		}
		if !bytes.Contains(document, []byte("`"+reason+"`")) {
			t.Errorf("%s: %s is not in docs/api.md", where, reason)
		}
	}
	_, table, _ := strings.Cut(string(document), "| Reason | Meaning |")
	table, _, _ = strings.Cut(table, "\n\n")
	for _, m := range regexp.MustCompile("`([A-Z][A-Z_]+)`").FindAllStringSubmatch(table, -1) {
		if Help(m[1]) == "" {
			t.Errorf("docs/api.md has %s, which has no help", m[1])
		}
	}
	if help := Help("NO_SUCH_REASON"); help != "" {
		t.Errorf("Help of no reason = %q", help)
	}
}

// The help is in the details for Connect and gRPC, and the same in JSON.
func TestHelpIsSent(t *testing.T) {
	err := New(connect.CodeResourceExhausted, "QUEUE_FULL", "full")
	info, ok := detail[*errdetails.ErrorInfo](err)
	if !ok || info.GetMetadata()["help"] != Help("QUEUE_FULL") {
		t.Errorf("ErrorInfo %v, want help %q in its metadata", info, Help("QUEUE_FULL"))
	}
	if text := string(JSON(err)); !strings.Contains(text, `"help":"Send the request again after Retry-After`) {
		t.Errorf("JSON(%v) = %s, want help in it", err, text)
	}
	if other := New(connect.CodeInternal, "ELSE", "x"); strings.Contains(string(JSON(other)), "help") {
		t.Errorf("JSON of a reason without help = %s", JSON(other))
	}
}
