package v1

import (
	"context"
	"slices"

	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
	"github.com/soulbox/soulbox/sandbox"
)

// LanguageService implements soulbox.v1.LanguageService.
type LanguageService struct{ s *Services }

// ListLanguages answers all languages.
func (l *LanguageService) ListLanguages(
	ctx context.Context, _ *pb.ListLanguagesRequest,
) (*pb.ListLanguagesResponse, error) {
	all, err := l.s.o.Engine.Languages(ctx)
	if err != nil {
		return nil, err
	}
	out := &pb.ListLanguagesResponse{}
	for _, lang := range all {
		out.Languages = append(out.Languages, language(lang))
	}
	return out, nil
}

// GetLanguage answers the language of a name or alias.
func (l *LanguageService) GetLanguage(ctx context.Context, m *pb.GetLanguageRequest) (*pb.Language, error) {
	all, err := l.s.o.Engine.Languages(ctx)
	if err != nil {
		return nil, err
	}
	for _, lang := range all {
		if lang.Name == m.GetName() || slices.Contains(lang.Aliases, m.GetName()) {
			return language(lang), nil
		}
	}
	return nil, &sandbox.Error{Op: "v1.GetLanguage", Kind: sandbox.KindNotFound, Reason: "UNKNOWN_LANGUAGE",
		Msg: "no such language; GET /v1/languages lists them"}
}

func language(l sandbox.Language) *pb.Language {
	return &pb.Language{
		Name:          l.Name,
		Title:         l.Title,
		Aliases:       l.Aliases,
		Extensions:    l.Extensions,
		Entrypoint:    l.Entrypoint,
		Compiled:      l.Compiled,
		Available:     l.Available,
		Version:       valid(l.Version),
		Missing:       l.Missing,
		Install:       l.Install,
		Limits:        limitsProto(l.Limits),
		CompileLimits: limitsProto(l.Compile),
		Interactive:   l.Interactive,
	}
}
