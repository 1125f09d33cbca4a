package auth

import (
	"net/http"
	"strings"
)

// maxSecret bounds what is taken for a key, in bytes.
const maxSecret = 4096

// credential returns the key that a request's header gives. It can be given more than once, in either field, but all
// must be the same key: of two, nobody could say which one was checked.
func credential(h http.Header) (Secret, *Failure) {
	var given []string
	for _, v := range h.Values("Authorization") {
		scheme, key, _ := strings.Cut(v, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return Secret{}, &Failure{Reason: ReasonMalformed, Msg: "Authorization must be: Bearer and an API key"}
		}
		given = append(given, key)
	}
	given = append(given, h.Values("X-API-Key")...)
	if len(given) == 0 {
		return Secret{}, &Failure{Reason: ReasonMissing, Msg: "an API key is needed, in Authorization: Bearer or X-API-Key"}
	}
	for i, key := range given {
		given[i] = trim(key)
		if given[i] == "" || len(given[i]) > maxSecret {
			return Secret{}, &Failure{Reason: ReasonMalformed, Msg: "the API key is empty or too long"}
		}
	}
	first := Secret{given[0]}
	for _, key := range given[1:] {
		if !first.hash().equal(Secret{key}.hash()) {
			return Secret{}, &Failure{Reason: ReasonConflict, Msg: "Authorization and X-API-Key give different API keys"}
		}
	}
	return first, nil
}

// trim removes the white space that HTTP does not count as part of a field.
func trim(s string) string { return strings.Trim(s, " \t") }
