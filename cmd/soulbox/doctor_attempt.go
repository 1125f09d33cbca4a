package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"
)

// attemptCommandName is the hidden command that [tryNamespace] starts in a new namespace.
const attemptCommandName = "doctor-attempt"

// attemptTime bounds the attempt.
const attemptTime = 10 * time.Second

// attempt is what became of making a namespace. Each field is an error's text, empty where it worked.
type attempt struct {
	Namespace string `json:"-"`
	Mount     string `json:"mount"`
	Overlay   string `json:"overlay"`
}

// tryNamespace makes a user and a mount namespace, and mounts in there: what switches and profiles forbid cannot be told
// from files alone.
func tryNamespace(ctx context.Context) attempt {
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", attemptCommandName)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return attempt{Namespace: strings.TrimSpace(err.Error() + " " + stderr.String())}
	}
	var a attempt
	if err := json.Unmarshal(stdout.Bytes(), &a); err != nil {
		return attempt{Namespace: fmt.Sprintf("the attempt answered %q: %v", stdout.String(), err)}
	}
	return a
}

// attemptCommand is the other end of tryNamespace.
func attemptCommand() *cli.Command {
	return &cli.Command{
		Name:   attemptCommandName,
		Hidden: true,
		Action: func(c *cli.Context) error {
			if c.NArg() > 0 {
				return errors.New("this command is part of soulbox doctor")
			}
			return json.NewEncoder(c.App.Writer).Encode(tryMounts("/tmp"))
		},
	}
}

// tryMounts mounts a tmpfs over dir and an overlay in it. Called in the namespaces that tryNamespace makes: their end
// unmounts everything. Nothing may be mounted on the host, so it refuses where more ids than the one are mapped.
func tryMounts(dir string) attempt {
	ids, err := os.ReadFile("/proc/self/uid_map")
	if f := strings.Fields(string(ids)); err != nil || len(f) != 3 || f[2] != "1" {
		return attempt{Mount: "not in a user namespace of its own"}
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return attempt{Mount: "make mounts private: " + err.Error()}
	}
	if err := unix.Mount("soulbox-doctor", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=1m,mode=0700"); err != nil {
		return attempt{Mount: "mount tmpfs: " + err.Error()}
	}
	for _, d := range []string{"lower", "upper", "work", "merged"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			return attempt{Mount: err.Error()}
		}
	}
	options := fmt.Sprintf("lowerdir=%[1]s/lower,upperdir=%[1]s/upper,workdir=%[1]s/work,userxattr", dir)
	if err := unix.Mount("soulbox-doctor", filepath.Join(dir, "merged"), "overlay", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		return attempt{Overlay: "mount overlay: " + err.Error()}
	}
	return attempt{}
}
