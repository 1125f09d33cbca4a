package codec

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode/utf8"
)

// offset returns the byte offset of a position that counts lines and characters from 1, at most len(data).
func offset(data []byte, line, column int) int {
	at := 0
	for ; line > 1; line-- {
		next := bytes.IndexByte(data[at:], '\n')
		if next < 0 {
			return len(data)
		}
		at += next + 1
	}
	for ; column > 1 && at < len(data); column-- {
		_, size := utf8.DecodeRune(data[at:])
		at += size
	}
	return at
}

// level is an object or array around the place where a reader is.
type level struct {
	array   bool
	index   int    // of the current element
	key     string // of the current member
	wantKey bool   // the next string is a key
}

// pathAt returns the path of the value or key that begins at or lies around offset at: "limits.wallTime",
// "files[1].mode", empty for the top.
func pathAt(data []byte, at int) string {
	var levels []level
	in := json.NewDecoder(bytes.NewReader(data))
	in.UseNumber()
	for {
		token, err := in.Token()
		if err != nil {
			return render(levels)
		}
		end := int(in.InputOffset())
		delim, isDelim := token.(json.Delim)
		if isDelim && (delim == '}' || delim == ']') {
			if end > at {
				return render(levels[:len(levels)-1])
			}
			levels = levels[:len(levels)-1]
			advance(levels)
			continue
		}
		isKey := false
		if n := len(levels); n > 0 && levels[n-1].wantKey {
			levels[n-1].key, _ = token.(string)
			levels[n-1].wantKey = false
			isKey = true
		}
		switch {
		case end > at:
			return render(levels)
		case isKey:
		case isDelim:
			levels = append(levels, level{array: delim == '[', wantKey: delim == '{'})
		default:
			advance(levels)
		}
	}
}

// advance notes that the innermost level's current value is complete.
func advance(levels []level) {
	if len(levels) == 0 {
		return
	}
	last := &levels[len(levels)-1]
	if last.array {
		last.index++
	} else {
		last.wantKey = true
	}
}

func render(levels []level) string {
	path := ""
	for _, l := range levels {
		switch {
		case l.array:
			path += "[" + strconv.Itoa(l.index) + "]"
		case path == "":
			path = l.key
		case l.key != "":
			path += "." + l.key
		}
	}
	return path
}
