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
	var unmount []string
	flag.Func("unmount", "a `directory` on which nothing is to be mounted; can be given again", func(dir string) error {
		unmount = append(unmount, dir)
		return nil
	})
	flag.Parse()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := agent.Serve(context.Background(), agent.Options{Dir: *dir, Log: log, TrimDevices: *trim, Unmount: unmount}); err != nil {
		log.Error("agent", "err", err)
		os.Exit(1)
	}
}
