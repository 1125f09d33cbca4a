package codec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// The names under which Connect looks a JSON codec up.
const (
	NameJSON     = "json"
	NameJSONUTF8 = "json; charset=utf-8"
)

// JSON is a codec as Connect wants it. The zero value is named [NameJSON].
type JSON struct {
	As string // the name; empty means NameJSON
}

// Error says what is wrong with JSON that a client sent.
type Error struct {
	Field string // path of the field at fault, "files[0].path"; empty when the text is no JSON or is no object
	Msg   string // safe to show the client; does not repeat Field
}

func (e *Error) Error() string {
	if e.Field == "" {
		return e.Msg
	}
	return e.Field + ": " + e.Msg
}

// Name returns the codec's name in content types.
func (c JSON) Name() string {
	if c.As == "" {
		return NameJSON
	}
	return c.As
}

// IsBinary reports that the codec writes text.
func (JSON) IsBinary() bool { return false }

// Marshal returns the JSON of a message, without spaces.
func (JSON) Marshal(v any) ([]byte, error) {
	m, ok := v.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("marshal %T as JSON: not a protobuf message", v)
	}
	b, err := protojson.MarshalOptions{EmitUnpopulated: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("marshal %s as JSON: %w", m.ProtoReflect().Descriptor().FullName(), err)
	}
	// protojson adds spaces that differ between builds; a record must read the same after an upgrade.
	out := bytes.NewBuffer(make([]byte, 0, len(b)))
	if err := json.Compact(out, b); err != nil {
		return nil, fmt.Errorf("compact JSON of %s: %w", m.ProtoReflect().Descriptor().FullName(), err)
	}
	return out.Bytes(), nil
}

// MarshalStable returns what Marshal does.
func (c JSON) MarshalStable(v any) ([]byte, error) { return c.Marshal(v) }

// Unmarshal reads one message from data, which must hold nothing else. Its errors about data are of type [*Error].
func (JSON) Unmarshal(data []byte, v any) error {
	m, ok := v.(proto.Message)
	if !ok {
		return fmt.Errorf("unmarshal JSON into %T: not a protobuf message", v)
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return &Error{Msg: "the body is empty, want a JSON object"}
	}
	if err := protojson.Unmarshal(data, m); err != nil {
		return explain(data, err)
	}
	return nil
}

// Where protojson puts the position, and how it names an unknown field.
const (
	positionPattern = `^\(?(?:syntax error )?\(line (\d+):(\d+)\):? ?`
	unknownPattern  = `^unknown field "(.*)"$`
)

// explain turns protojson's error into one with the field's path. The texts are protojson's own and not promised to
// stay; what does not look as expected is shown as it is.
func explain(data []byte, err error) *Error {
	msg := strings.TrimPrefix(strings.ReplaceAll(err.Error(), "\u00a0", " "), "proto: ")
	at := regexp.MustCompile(positionPattern).FindStringSubmatch(msg)
	if at == nil {
		return &Error{Msg: "not valid JSON: " + msg}
	}
	syntax := strings.Contains(at[0], "syntax error")
	msg = msg[len(at[0]):]
	line, _ := strconv.Atoi(at[1]) // digits, and 0 is a line that no text has
	column, _ := strconv.Atoi(at[2])
	field := pathAt(data, offset(data, line, column))
	if syntax && (field == "" || !json.Valid(data)) { // what is valid is of a wrong type
		return &Error{Msg: fmt.Sprintf("not valid JSON at line %d, column %d: %s", line, column, msg)}
	}
	if name := regexp.MustCompile(unknownPattern).FindStringSubmatch(msg); name != nil {
		msg = "unknown field"
		if field == "" {
			field = name[1]
		}
	}
	return &Error{Field: field, Msg: msg}
}
