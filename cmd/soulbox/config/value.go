package config

import (
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"

	"github.com/soulbox/soulbox/sandbox"
)

// Kind is a type of values.
type Kind string

// The kinds, as documents name them.
const (
	Text     Kind = "text"
	Bool     Kind = "boolean"
	Count    Kind = "number"
	Size     Kind = "size"
	Duration Kind = "duration"
	List     Kind = "list"
	Choice   Kind = "choice"
)

// Value says how texts become values of a field of C and back.
type Value[C any] struct {
	Kind  Kind
	Range string // for people; empty: any
	set   func(c *C, text string) error
	get   func(c *C) string
	copy  func(to, from *C)
}

func copies[C, T any](at func(*C) *T) func(to, from *C) {
	return func(to, from *C) { *at(to) = *at(from) }
}

// errValue is what is wrong with a value, said after the setting's name: `"much" is not a size`.
type errValue string

func (e errValue) Error() string { return string(e) }

func text[C any](at func(*C) *string) Value[C] {
	return Value[C]{Kind: Text, copy: copies(at), get: func(c *C) string { return *at(c) }, set: func(c *C, s string) error {
		if s == "" {
			return errValue("must not be empty")
		}
		*at(c) = s
		return nil
	}}
}

// optional is a text that may be empty.
func optional[C any](at func(*C) *string) Value[C] {
	v := text(at)
	v.set = func(c *C, s string) error {
		*at(c) = s
		return nil
	}
	return v
}

func boolean[C any](at func(*C) *bool) Value[C] {
	return Value[C]{Kind: Bool, copy: copies(at), get: func(c *C) string { return strconv.FormatBool(*at(c)) }, set: func(c *C, s string) error {
		v, err := strconv.ParseBool(s)
		if err != nil {
			return errValue(fmt.Sprintf("%q is not true or false", s))
		}
		*at(c) = v
		return nil
	}}
}

// number is what counts, sizes and durations have in common. Unset is zero, which the range need not hold.
func number[C any, N int | int64 | time.Duration](kind Kind, at func(*C) *N, low, high int64, show func(int64) string, parse func(string) (int64, error)) Value[C] {
	v := Value[C]{Kind: kind, copy: copies(at), Range: show(low) + " or more", get: func(c *C) string {
		if *at(c) == 0 && low > 0 {
			return ""
		}
		return show(int64(*at(c)))
	}}
	if high < math.MaxInt64 {
		v.Range = show(low) + " to " + show(high)
	}
	v.set = func(c *C, s string) error {
		if s == "" && low > 0 {
			*at(c) = 0
			return nil
		}
		n, err := parse(s)
		if err != nil {
			return err
		}
		if n < low || n > high {
			return errValue(fmt.Sprintf("%q is not in the range %s", s, v.Range))
		}
		*at(c) = N(n)
		return nil
	}
	return v
}

// zeroUnsets lets a value be 0 below its range, where that means no bound or what an unset one means.
func zeroUnsets[C any](v Value[C]) Value[C] {
	set := v.set
	v.Range = "0, " + v.Range
	v.set = func(c *C, s string) error {
		if slices.Contains([]string{"0", "0s", "0B"}, s) {
			s = ""
		}
		return set(c, s)
	}
	return v
}

func count[C any, N int | int64](at func(*C) *N, low, high int64) Value[C] {
	return number(Count, at, low, high, func(n int64) string { return strconv.FormatInt(n, 10) }, func(s string) (int64, error) {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return 0, errValue(fmt.Sprintf("%q is not a whole number", s))
		}
		return n, nil
	})
}

func size[C any](at func(*C) *int64, low int64) Value[C] {
	return number(Size, at, low, math.MaxInt64, showSize, func(s string) (int64, error) {
		n, err := units.RAMInBytes(s)
		if err != nil || n < 0 || strings.ContainsAny(s, "eExX_") {
			return 0, errValue(fmt.Sprintf("%q is not a size such as 64M or 1GiB", s))
		}
		return n, nil
	})
}

func duration[C any](at func(*C) *time.Duration, low time.Duration) Value[C] {
	show := func(n int64) string { return showDuration(time.Duration(n)) }
	return number(Duration, at, int64(low), math.MaxInt64, show, func(s string) (int64, error) {
		d, err := time.ParseDuration(s)
		if err != nil {
			return 0, errValue(fmt.Sprintf("%q is not a duration such as 1.5s, 10m or 24h", s))
		}
		return int64(d), nil
	})
}

// choice is one of a few words.
func choice[C any](at func(*C) *string, words ...string) Value[C] {
	all := strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
	return Value[C]{Kind: Choice, Range: all, copy: copies(at), get: func(c *C) string { return *at(c) }, set: func(c *C, s string) error {
		s = strings.ToLower(s)
		if !slices.Contains(words, s) {
			return errValue(fmt.Sprintf("%q is not %s", s, all))
		}
		*at(c) = s
		return nil
	}}
}

func level[C any](at func(*C) *slog.Level) Value[C] {
	words := choice(func(word *string) *string { return word }, "debug", "info", "warn", "error")
	return Value[C]{Kind: Choice, Range: words.Range, copy: copies(at), get: func(c *C) string { return strings.ToLower(at(c).String()) }, set: func(c *C, s string) error {
		var word string
		if err := words.set(&word, s); err != nil {
			return err
		}
		return at(c).UnmarshalText([]byte(word))
	}}
}

// list is words with commas between them. An unset one is nil.
func list[C any](at func(*C) *[]string) Value[C] {
	return Value[C]{Kind: List, copy: copies(at), get: func(c *C) string { return strings.Join(*at(c), ",") }, set: func(c *C, s string) error {
		if s == "" {
			*at(c) = nil
			return nil
		}
		words := strings.Split(s, ",")
		for i, w := range words {
			if words[i] = strings.TrimSpace(w); words[i] == "" {
				return errValue(fmt.Sprintf("%q has an empty part", s))
			}
			if slices.Contains(words[:i], words[i]) {
				return errValue(fmt.Sprintf("%q has %s twice", s, words[i]))
			}
		}
		*at(c) = words
		return nil
	}}
}

// imageRuntimes is a list of IMAGE=RUNTIME.
func imageRuntimes[C any](at func(*C) *[]sandbox.ImageRuntime) Value[C] {
	words := list(func(words *[]string) *[]string { return words })
	return Value[C]{Kind: List, Range: "IMAGE=RUNTIME", copy: copies(at), get: func(c *C) string {
		var pairs []string
		for _, u := range *at(c) {
			pairs = append(pairs, u.Image+"="+u.Runtime)
		}
		return words.get(&pairs)
	}, set: func(c *C, s string) error {
		var pairs []string
		if err := words.set(&pairs, s); err != nil {
			return err
		}
		var out []sandbox.ImageRuntime
		for _, pair := range pairs {
			image, runtime, ok := strings.Cut(pair, "=")
			if !ok || image == "" || runtime == "" {
				return errValue(fmt.Sprintf("%q is not IMAGE=RUNTIME", pair))
			}
			out = append(out, sandbox.ImageRuntime{Image: image, Runtime: runtime})
		}
		*at(c) = out
		return nil
	}}
}

// showSize is exact: the largest unit that divides n.
func showSize(n int64) string {
	suffixes := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	i := 0
	for n != 0 && n%1024 == 0 && i < len(suffixes)-1 {
		n, i = n/1024, i+1
	}
	return strconv.FormatInt(n, 10) + suffixes[i]
}

// showDuration leaves out the zeros that time.Duration writes: "10m", not "10m0s".
func showDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
