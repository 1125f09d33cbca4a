// Command go shows SoulBox's generated Connect client.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"

	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
	"github.com/soulbox/soulbox/rpc/soulboxpb/soulboxpbconnect"
)

// withKey sends every request with a key.
type withKey struct {
	key  string
	next http.RoundTripper
}

func (w withKey) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+w.key)
	return w.next.RoundTrip(r)
}

func main() {
	// Streams that go both ways need HTTP/2, here without TLS.
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	h := &http.Client{Transport: withKey{os.Getenv("SOULBOX_API_KEY"), transport}}
	if err := tour(context.Background(), h, os.Getenv("SOULBOX_URL")); err != nil {
		log.Fatal(err)
	}
}

func tour(ctx context.Context, h *http.Client, url string) error {
	// A program, from its start to its end.
	executions := soulboxpbconnect.NewExecutionServiceClient(h, url)
	result, err := executions.ExecuteCode(ctx, &pb.ExecuteCodeRequest{Language: "python", Code: "print(6 * 7)"})
	if err != nil {
		return err
	}
	fmt.Printf("the program printed %s, verdict %s\n", strings.TrimSpace(result.GetStdout()), result.GetVerdict())

	// A sandbox lives until it is deleted, or for its timeout.
	sandboxes := soulboxpbconnect.NewSandboxServiceClient(h, url)
	box, err := sandboxes.CreateSandbox(ctx, &pb.CreateSandboxRequest{Timeout: &durationpb.Duration{Seconds: 60}})
	if err != nil {
		return err
	}
	err = errors.Join(files(ctx, sandboxes, box.GetId()), command(ctx, sandboxes, box.GetId()))
	box, derr := sandboxes.DeleteSandbox(ctx, &pb.DeleteSandboxRequest{Id: box.GetId()})
	fmt.Println("the sandbox is gone:", box.GetState())
	return errors.Join(err, derr)
}

// files writes a file, and reads it.
func files(ctx context.Context, sandboxes soulboxpbconnect.SandboxServiceClient, id string) error {
	up, err := sandboxes.WriteFile(ctx)
	if err != nil {
		return err
	}
	open := &pb.WriteFileRequest{Message: &pb.WriteFileRequest_Open{Open: &pb.OpenFile{Id: id, Path: "note.txt"}}}
	data := &pb.WriteFileRequest{Message: &pb.WriteFileRequest_Data{Data: []byte("hello")}}
	if err := errors.Join(up.Send(open), up.Send(data)); err != nil {
		return err
	}
	if _, err := up.CloseAndReceive(); err != nil {
		return err
	}
	down, err := sandboxes.ReadFile(ctx, &pb.ReadFileRequest{Id: id, Path: "note.txt"})
	if err != nil {
		return err
	}
	var content []byte
	for down.Receive() {
		content = append(content, down.Msg().GetData()...) // the first message has none: it describes the file
	}
	fmt.Printf("note.txt holds %s\n", content)
	return errors.Join(down.Err(), down.Close())
}

// command runs a command and prints its output as it comes.
func command(ctx context.Context, sandboxes soulboxpbconnect.SandboxServiceClient, id string) error {
	stream, err := sandboxes.StreamExec(ctx)
	if err != nil {
		return err
	}
	start := &pb.StartProcess{Id: id, Shell: "for i in 1 2 3; do echo line $i; sleep 0.1; done; exit 3"}
	if err := stream.Send(&pb.StreamExecRequest{Message: &pb.StreamExecRequest_Start{Start: start}}); err != nil && !errors.Is(err, io.EOF) {
		return err // at io.EOF Receive says why
	}
	for {
		event, err := stream.Receive()
		if err != nil {
			return err
		}
		os.Stdout.Write(event.GetStdout())
		if exited := event.GetExited(); exited != nil {
			fmt.Println("the command's exit code is", exited.GetExitCode())
			return errors.Join(stream.CloseRequest(), stream.CloseResponse())
		}
	}
}
