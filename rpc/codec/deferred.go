package codec

import (
	"errors"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// failureField is the number under which a message carries its own decoding error: the highest there is, which no
// message of ours uses.
const failureField = 1<<29 - 1

// Deferred is [JSON] for Connect's handlers. Connect answers a codec's error by itself, before any interceptor and
// without details; so Unmarshal succeeds on wrong JSON and leaves its error in the message, which an interceptor must
// ask for with [Failure] before anything else looks at the message.
type Deferred struct{ JSON }

// Unmarshal reads one message from data as JSON does. Its only error is that v is no message.
func (d Deferred) Unmarshal(data []byte, v any) error {
	err := d.JSON.Unmarshal(data, v)
	wrong, ok := errors.AsType[*Error](err)
	if !ok {
		return err
	}
	m, ok := v.(proto.Message)
	if !ok {
		return err
	}
	proto.Reset(m)
	var b []byte
	for _, s := range []string{wrong.Field, wrong.Msg} {
		b = protowire.AppendTag(b, failureField, protowire.BytesType)
		b = protowire.AppendString(b, s)
	}
	m.ProtoReflect().SetUnknown(b)
	return nil
}

// Failure returns the error that [Deferred] left in m, nil without. A client that sends protobuf can put one there
// itself, and gets it back.
func Failure(m proto.Message) *Error {
	var found []string
	for b := m.ProtoReflect().GetUnknown(); len(b) > 0; {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil
		}
		b = b[n:]
		size := protowire.ConsumeFieldValue(number, kind, b)
		if size < 0 {
			return nil
		}
		if number == failureField && kind == protowire.BytesType {
			s, _ := protowire.ConsumeString(b) // its size was found above
			found = append(found, s)
		}
		b = b[size:]
	}
	if len(found) != 2 {
		return nil
	}
	return &Error{Field: found[0], Msg: found[1]}
}
