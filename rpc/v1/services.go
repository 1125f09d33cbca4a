package v1

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"buf.build/go/protovalidate"
	"connectrpc.com/connect"
	"connectrpc.com/validate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/soulbox/soulbox/rpc/codec"
	"github.com/soulbox/soulbox/rpc/errs"
	"github.com/soulbox/soulbox/rpc/schema"
	"github.com/soulbox/soulbox/rpc/soulboxpb/soulboxpbconnect"
)

// Options configure [New]. Engine, Keys and Caller must be set.
type Options struct {
	Engine Engine
	Keys   Keys
	// Sandboxes keeps sandboxes that live on; nil: there are none.
	Sandboxes Sandboxes
	// Images keeps what sandboxes start from; nil: only the host's own.
	Images Images
	// Caller tells who asks from a request's context; false means that nobody does, and is refused.
	Caller func(context.Context) (Caller, bool)
	// MaxBody bounds a message, in bytes; default 16 MiB.
	MaxBody int
	// Log gets the causes of internal errors; default [slog.Default].
	Log *slog.Logger
}

// Services are the services of soulbox.v1.
type Services struct {
	o         Options
	validator protovalidate.Validator
}

// New returns the services.
func New(o Options) (*Services, error) {
	if o.Engine == nil || o.Keys == nil || o.Caller == nil {
		return nil, errors.New("make the services of soulbox.v1: Engine, Keys and Caller must be set")
	}
	if o.MaxBody == 0 {
		o.MaxBody = 16 << 20
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	// Compiled now, so that a faulty rule is an error at start and the first request is as fast as others.
	var requests []protoreflect.MessageDescriptor
	for _, m := range schema.Methods() {
		requests = append(requests, m.Input())
	}
	validator, err := protovalidate.New(protovalidate.WithMessageDescriptors(requests...))
	if err != nil {
		return nil, fmt.Errorf("compile the rules of soulbox.v1: %w", err)
	}
	return &Services{o: o, validator: validator}, nil
}

// Register adds the Connect handlers to mux, each under "/soulbox.v1.<Service>/", and returns the options that they have,
// for others that are to read and fail as they do.
func (s *Services) Register(mux *http.ServeMux) connect.HandlerOption {
	opts := connect.WithHandlerOptions(
		connect.WithCodec(codec.Deferred{}),
		connect.WithCodec(codec.Deferred{JSON: codec.JSON{As: codec.NameJSONUTF8}}),
		connect.WithReadMaxBytes(s.o.MaxBody),
		connect.WithCompressMinBytes(1024),
		// The first is the outermost: what the validator refuses is worded by the error table too.
		connect.WithInterceptors(&table{s}, validate.NewInterceptor(validate.WithValidator(s.validator))),
	)
	mux.Handle(soulboxpbconnect.NewExecutionServiceHandler(s.Execution(), opts))
	mux.Handle(soulboxpbconnect.NewLanguageServiceHandler(s.Language(), opts))
	mux.Handle(soulboxpbconnect.NewSystemServiceHandler(s.System(), opts))
	mux.Handle(soulboxpbconnect.NewKeyServiceHandler(s.Key(), opts))
	mux.Handle(soulboxpbconnect.NewSandboxServiceHandler(s.Sandbox(), opts))
	mux.Handle(soulboxpbconnect.NewImageServiceHandler(s.Image(), opts))
	return opts
}

// Execution returns the service that runs programs.
func (s *Services) Execution() *ExecutionService { return &ExecutionService{s: s} }

// Language returns the service that lists languages.
func (s *Services) Language() *LanguageService { return &LanguageService{s: s} }

// System returns the service that describes the host.
func (s *Services) System() *SystemService { return &SystemService{s: s} }

// Key returns the service that manages keys.
func (s *Services) Key() *KeyService { return &KeyService{s: s} }

// Sandbox returns the service of sandboxes that live on.
func (s *Services) Sandbox() *SandboxService { return &SandboxService{s: s} }

// Image returns the service of images.
func (s *Services) Image() *ImageService { return &ImageService{s: s} }

// Validate checks a message against the rules in its protobuf file, for calls that do not come through Connect.
func (s *Services) Validate(m proto.Message) error { return s.validator.Validate(m) }

// Error returns what the client is told of err, nil for nil.
func (s *Services) Error(ctx context.Context, err error) *connect.Error {
	return errs.From(ctx, s.o.Log, err)
}

// caller returns who asks.
func (s *Services) caller(ctx context.Context) (Caller, error) {
	c, ok := s.o.Caller(ctx)
	if !ok {
		return Caller{}, errs.New(connect.CodeUnauthenticated, errs.ReasonUnauthenticated, "no API key")
	}
	return c, nil
}
