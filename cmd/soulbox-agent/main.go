// Command soulbox-agent is PID 1 of a sandbox; see package sandbox/agent.
package main

import (
	"context"
	"flag"
	"log/slog"
	"os"

	"github.com/soulbox/soulbox/sandbox/agent"
)

func main() {
	dir := flag.String("dir", "/.soul", "the channel `directory`")
	trim := flag.Bool("trim-devices", false, "remove what is in /dev beside the harmless devices")
	flag.Parse()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := agent.Serve(context.Background(), agent.Options{Dir: *dir, Log: log, TrimDevices: *trim}); err != nil {
		log.Error("agent", "err", err)
		os.Exit(1)
	}
}
