package sandbox

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"maps"
	"path"
	"slices"
	"strings"
)

// What a request may hold. The size of its files and its input is bounded by the limit on the request's body.
const (
	MaxFiles     = 1000
	MaxOutputs   = 100
	maxPath      = 4095 // PATH_MAX less the final zero
	maxName      = 255  // NAME_MAX
	maxRequestID = 128
	maxArgument  = 128<<10 - 1 // MAX_ARG_STRLEN less the final zero; execve refuses more
	maxArguments = 1 << 20     // arguments and environment together, as execve lays them out
)

// Validate returns an [*Error] of [KindInvalid] that names the first field of r that is wrong, or nil. It knows
// nothing of languages: whether the entrypoint is absent where a recipe needs one is not its business.
func (r *Request) Validate() error {
	for _, check := range []func() *Error{
		r.validateSource, r.validateOutputs, r.validateArguments, r.validateRequestID,
		func() *Error { return r.Limits.Validate("limits") },
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (r *Request) validateSource() *Error {
	switch {
	case r.Language == "":
		return invalid("REQUIRED", "language", "name a language")
	case strings.ContainsRune(r.Language, 0):
		return invalid("BAD_NAME", "language", "must not contain a zero byte")
	case r.Code != "" && len(r.Files) > 0:
		return invalid("CODE_AND_FILES", "code", "give either code or files, not both")
	case r.Code == "" && len(r.Files) == 0:
		return invalid("REQUIRED", "code", "give the program as code or as files")
	case len(r.Files) > MaxFiles:
		return invalid("TOO_MANY", "files", fmt.Sprintf("at most %d files", MaxFiles))
	}
	paths := make([]string, len(r.Files))
	for i, f := range r.Files {
		if msg := checkPath(f.Path); msg != "" {
			return invalid("BAD_PATH", fmt.Sprintf("files[%d].path", i), msg)
		}
		if f.Mode&^0o777 != 0 {
			return invalid("BAD_MODE", fmt.Sprintf("files[%d].mode", i), "must be permission bits, at most 511 (0777)")
		}
		paths[i] = f.Path
	}
	if i, msg := pathConflict(paths, true); msg != "" {
		return invalid("PATH_CONFLICT", fmt.Sprintf("files[%d].path", i), msg)
	}
	if r.Entrypoint == "" {
		return nil
	}
	if msg := checkPath(r.Entrypoint); msg != "" {
		return invalid("BAD_PATH", "entrypoint", msg)
	}
	if len(paths) > 0 && !slices.Contains(paths, r.Entrypoint) {
		return invalid("NO_ENTRYPOINT", "entrypoint", "must be the path of one of the files")
	}
	return nil
}

func (r *Request) validateOutputs() *Error {
	if len(r.Outputs) > MaxOutputs {
		return invalid("TOO_MANY", "outputs", fmt.Sprintf("at most %d outputs", MaxOutputs))
	}
	for i, p := range r.Outputs {
		if msg := checkPath(p); msg != "" {
			return invalid("BAD_PATH", fmt.Sprintf("outputs[%d]", i), msg)
		}
	}
	if i, msg := pathConflict(r.Outputs, false); msg != "" {
		return invalid("PATH_CONFLICT", fmt.Sprintf("outputs[%d]", i), msg)
	}
	return nil
}

func (r *Request) validateArguments() *Error {
	total := 0
	size := func(field string, n int) *Error {
		if n > maxArgument {
			return invalid("TOO_LONG", field, fmt.Sprintf("at most %d bytes", maxArgument))
		}
		if total += n + 1 + 8; total > maxArguments { // the string, its zero, its pointer
			return invalid("TOO_LONG", field, fmt.Sprintf("args and env together take more than %d bytes", maxArguments))
		}
		return nil
	}
	for i, a := range r.Args {
		field := fmt.Sprintf("args[%d]", i)
		if strings.ContainsRune(a, 0) {
			return invalid("BAD_ARGUMENT", field, "must not contain a zero byte")
		}
		if err := size(field, len(a)); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.Env)) { // sorted: the same request gets the same answer
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.ContainsRune(r.Env[name], 0) {
			return invalid("BAD_VARIABLE", "env", fmt.Sprintf("%.64q: a name is not empty and has no '=', and neither name nor value has a zero byte", name))
		}
		if err := size("env", len(name)+1+len(r.Env[name])); err != nil {
			return err
		}
	}
	return nil
}

func (r *Request) validateRequestID() *Error {
	printable := func(c rune) bool { return c >= ' ' && c <= '~' }
	if len(r.RequestID) > maxRequestID || strings.ContainsFunc(r.RequestID, func(c rune) bool { return !printable(c) }) {
		return invalid("BAD_REQUEST_ID", "requestId", fmt.Sprintf("at most %d printable ASCII characters", maxRequestID))
	}
	return nil
}

// checkPath returns what is wrong with p as a path in the work directory, "" when nothing is.
func checkPath(p string) string {
	switch {
	case p == "":
		return "must not be empty"
	case len(p) > maxPath:
		return fmt.Sprintf("at most %d bytes", maxPath)
	case strings.ContainsRune(p, 0):
		return "must not contain a zero byte"
	case p[0] == '/':
		return "must be relative to the work directory"
	case p == "." || p == ".." || strings.HasPrefix(p, "../") || path.Clean(p) != p:
		return `must be a clean path below the work directory: no ".", "..", double or final slash`
	}
	for name := range strings.SplitSeq(p, "/") {
		if len(name) > maxName {
			return fmt.Sprintf("at most %d bytes between slashes", maxName)
		}
	}
	return ""
}

// pathConflict finds two equal paths or, with nested, one that is a directory of another. It returns the greater
// index of the two and what is wrong, "" when nothing is.
//
// In an order in which "/" comes before every other byte, what lies below a path follows it directly, so neighbours
// are all that has to be compared: hostile requests of 1000 deep paths cost a sort, not a lookup per directory.
func pathConflict(paths []string, nested bool) (index int, msg string) {
	order := make([]int, len(paths))
	keys := make([]string, len(paths))
	for i, p := range paths {
		order[i], keys[i] = i, strings.ReplaceAll(p, "/", "\x00")
	}
	slices.SortStableFunc(order, func(a, b int) int { return strings.Compare(keys[a], keys[b]) })
	for i := 1; i < len(order); i++ {
		a, b := order[i-1], order[i]
		switch {
		case keys[a] == keys[b]:
			return max(a, b), "the same path was given before"
		case nested && strings.HasPrefix(keys[b], keys[a]+"\x00"):
			return max(a, b), "one path is both a file and the directory of another file"
		}
	}
	return 0, ""
}

// BodyHash returns a SHA-256 over what r asks for: everything but who asks, the request id and the place. Two requests
// with one request id are the same if and only if their hashes are.
func BodyHash(r *Request) []byte {
	h := bodyHasher{sha256.New()}
	h.string("soulbox request 1")
	h.string(r.Language)
	h.string(r.Code)
	h.number(int64(len(r.Files)))
	for _, f := range r.Files {
		h.string(f.Path)
		h.bytes(f.Content)
		h.number(int64(f.Mode))
	}
	h.string(r.Entrypoint)
	h.bytes(r.Stdin)
	h.strings(r.Args)
	h.number(int64(len(r.Env)))
	for _, name := range slices.Sorted(maps.Keys(r.Env)) {
		h.string(name)
		h.string(r.Env[name])
	}
	for _, f := range limitFields() {
		h.number(f.get(&r.Limits))
	}
	h.string(r.Runtime)
	h.strings(r.Outputs)
	if r.Image != "" { // records of before had none
		h.string(r.Image)
	}
	return h.Sum(nil)
}

// bodyHasher writes values so that no two sequences of them give the same bytes: every string after its length.
type bodyHasher struct{ hash.Hash }

func (h bodyHasher) number(n int64) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(n))
	h.Write(b[:]) // a hash never returns an error
}

func (h bodyHasher) bytes(b []byte) {
	h.number(int64(len(b)))
	h.Write(b)
}

func (h bodyHasher) string(s string) { h.bytes([]byte(s)) }

func (h bodyHasher) strings(list []string) {
	h.number(int64(len(list)))
	for _, s := range list {
		h.string(s)
	}
}
