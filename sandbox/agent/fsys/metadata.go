package fsys

import (
	"fmt"
	"net/http"
	"strings"

	"connectrpc.com/connect"
)

const (
	metadataHeader = "X-Metadata-"
	maxKey         = 255 - len(metadataPrefix) // bytes; the kernel's bound for an attribute's name
	maxUploadMeta  = 4096                      // bytes of all keys and values
)

// metadataOf returns what the headers of an upload say of the file, keys in lower case.
func metadataOf(h http.Header) (map[string]string, error) {
	var metadata map[string]string
	total := 0
	for name, values := range h {
		key, ok := strings.CutPrefix(name, metadataHeader)
		if !ok || len(values) == 0 {
			continue
		}
		key, value := strings.ToLower(key), values[0]
		total += len(key) + len(value)
		switch {
		case key == "":
			return nil, newFault(connect.CodeInvalidArgument, "a metadata key is empty")
		case len(key) > maxKey:
			return nil, newFault(connect.CodeInvalidArgument, fmt.Sprintf("a metadata key is longer than %d bytes", maxKey))
		case total > maxUploadMeta:
			return nil, newFault(connect.CodeInvalidArgument, fmt.Sprintf("metadata is larger than %d bytes", maxUploadMeta))
		case !printable(key) || !printable(value):
			return nil, newFault(connect.CodeInvalidArgument, fmt.Sprintf("metadata %q is not printable ASCII", key))
		}
		if metadata == nil {
			metadata = map[string]string{}
		}
		metadata[key] = value
	}
	return metadata, nil
}

func printable(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < 0x20 || r > 0x7e }) < 0
}
