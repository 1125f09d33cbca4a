package schema

import (
	"fmt"
	"net/http"
	"net/url"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
)

// Deprecation says that a method will go.
type Deprecation struct {
	Since  time.Time
	Sunset time.Time // zero while not decided
	Link   string    // what to use instead; may be empty
}

// DeprecationOf returns the deprecation of a method, nil for one that stays. A method is deprecated by the option of that
// name, its own or its service's; the dates are in its lifecycle, and an error where they are missing or wrong.
func DeprecationOf(m protoreflect.MethodDescriptor) (*Deprecation, error) {
	method, _ := m.Options().(*descriptorpb.MethodOptions)
	service, _ := m.Parent().Options().(*descriptorpb.ServiceOptions)
	if !method.GetDeprecated() && !service.GetDeprecated() {
		return nil, nil
	}
	l, _ := proto.GetExtension(m.Options(), pb.E_Lifecycle).(*pb.Lifecycle)
	d := &Deprecation{Link: l.GetLink()}
	var err error
	if d.Since, err = time.Parse(time.DateOnly, l.GetSince()); err != nil {
		return nil, fmt.Errorf("%s is deprecated and has no day since when in its lifecycle: %w", m.FullName(), err)
	}
	if l.GetSunset() != "" {
		d.Sunset, err = time.Parse(time.DateOnly, l.GetSunset())
		if err != nil || d.Sunset.Before(d.Since) {
			return nil, fmt.Errorf("%s: its sunset %q is no day after %s", m.FullName(), l.GetSunset(), l.GetSince())
		}
	}
	if u, err := url.Parse(d.Link); err != nil || d.Link != "" && (!u.IsAbs() || u.Host == "") {
		return nil, fmt.Errorf("%s: its link %q is no absolute URL", m.FullName(), d.Link)
	}
	return d, nil
}

// Announce sets the headers of RFC 9745 and RFC 8594.
func (d *Deprecation) Announce(h http.Header) {
	h.Set("Deprecation", fmt.Sprintf("@%d", d.Since.Unix()))
	if !d.Sunset.IsZero() {
		h.Set("Sunset", d.Sunset.UTC().Format(http.TimeFormat))
	}
	if d.Link != "" {
		h.Add("Link", fmt.Sprintf("<%s>; rel=\"deprecation\"", d.Link))
	}
}
