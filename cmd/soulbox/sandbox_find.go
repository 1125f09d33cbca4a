package main

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/soulbox/soulbox/rpc/client"
	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
)

// wholeID tells a whole id of a sandbox from the beginning of one.
func wholeID(text string) bool { return regexp.MustCompile(`^i[a-z0-9]{20}$`).MatchString(text) }

// listSandboxes follows the pages of a listing to its end.
func listSandboxes(ctx context.Context, daemon *client.Client, req *pb.ListSandboxesRequest) ([]*pb.Sandbox, error) {
	var list []*pb.Sandbox
	for {
		req.PageSize = pageSize
		page, err := daemon.Sandboxes.ListSandboxes(ctx, req)
		if err != nil {
			return nil, err
		}
		list = append(list, page.GetSandboxes()...)
		if req.PageToken = page.GetNextPageToken(); req.PageToken == "" {
			return list, nil
		}
	}
}

// findSandbox returns the id of the sandbox that a user means: by its id, its name, or the beginning of its id. With
// ended those are found too that have ended, when none that lives is meant.
func findSandbox(ctx context.Context, daemon *client.Client, text string, ended bool) (string, error) {
	ids, err := findSandboxes(ctx, daemon, []string{text}, ended)
	if err != nil {
		return "", err
	}
	return ids[0], nil
}

// findSandboxes is [findSandbox] for several, with one listing for all.
func findSandboxes(ctx context.Context, daemon *client.Client, texts []string, ended bool) ([]string, error) {
	var alive, all []*pb.Sandbox
	ids := make([]string, 0, len(texts))
	for _, text := range texts {
		if wholeID(text) {
			ids = append(ids, text)
			continue
		}
		var err error
		if alive == nil {
			if alive, err = listSandboxes(ctx, daemon, &pb.ListSandboxesRequest{Alive: true}); err != nil {
				return nil, err
			}
		}
		id, err := meant(text, alive)
		if id == "" && err == nil && ended {
			if all == nil {
				if all, err = listSandboxes(ctx, daemon, &pb.ListSandboxesRequest{}); err != nil {
					return nil, err
				}
			}
			id, err = meant(text, all)
		}
		if err != nil {
			return nil, err
		}
		if id == "" {
			return nil, fmt.Errorf("no sandbox has the id or the name %q; soulbox sandbox list shows those there are", text)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// meant picks the sandbox with a name, else the one whose id begins with text; "" is none.
func meant(text string, list []*pb.Sandbox) (string, error) {
	var named, begin []string
	for _, s := range list {
		if s.GetLabels()[nameLabel] == text {
			named = append(named, s.GetId())
		}
		if strings.HasPrefix(s.GetId(), text) {
			begin = append(begin, s.GetId())
		}
	}
	found := named
	if len(found) == 0 {
		found = begin
	}
	switch {
	case len(found) == 0 || text == "":
		return "", nil
	case len(found) == 1:
		return found[0], nil
	}
	const shown = 5
	more := ""
	if len(found) > shown {
		more = fmt.Sprintf(" and %d more", len(found)-shown)
	}
	return "", fmt.Errorf("%q could be %d sandboxes: %s%s; say more of the id", text, len(found), strings.Join(found[:min(len(found), shown)], ", "), more)
}
