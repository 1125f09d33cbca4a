package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/soulbox/soulbox/images"
)

// prepared returns the directory with what a recipe prepares, empty when it prepares nothing. The first call for a
// version makes it, in a sandbox; meanwhile others wait, also those of other daemons with the same cache.
func (e *Engine) prepared(ctx context.Context, r *images.Recipe, g ground) (string, error) {
	if cmd, err := r.PrepareCommand(); cmd == nil || err != nil {
		return "", err
	}
	select {
	case <-e.langs.detected:
	case <-ctx.Done():
		return "", canceled(ctx, "sandbox.Prepare")
	}
	key, err := e.prepareKey(r, g)
	if err != nil {
		return "", err
	}
	parent := filepath.Join(e.o.CacheDir, "prepared")
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return "", fmt.Errorf("prepare %s: %w", r.Name, err)
	}
	// What others could put there would be part of every program.
	if !ownDirectory(parent, os.Getuid()) {
		return "", fmt.Errorf("prepare %s: %s must be a directory of the daemon's user that only it can write to", r.Name, parent)
	}
	dir := filepath.Join(parent, r.Name+"-"+key)
	if exists(dir) {
		return dir, nil
	}
	done := e.prepare.DoChan(dir, func() (any, error) { return nil, e.prepareOnce(r, g, dir) })
	select {
	case res := <-done:
		return dir, res.Err
	case <-ctx.Done():
		return "", canceled(ctx, "sandbox.Prepare")
	}
}

// prepareOnce makes dir under a lock that other processes respect. It runs on the engine's time, not on a caller's:
// who waits for it may go away.
func (e *Engine) prepareOnce(r *images.Recipe, g ground, dir string) (err error) {
	lock, err := os.OpenFile(dir+".lock", os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("prepare %s: %w", r.Name, err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("prepare %s: lock: %w", r.Name, err)
	}
	if exists(dir) {
		return nil
	}
	tmp := dir + ".new" // of a prepare that was cut off: the lock is ours
	if err := os.RemoveAll(tmp); err != nil {
		return fmt.Errorf("prepare %s: %w", r.Name, err)
	}
	if err := os.Mkdir(tmp, 0o755); err != nil {
		return fmt.Errorf("prepare %s: %w", r.Name, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(tmp))
		}
	}()
	if err := e.fillPrepared(r, g, tmp); err != nil {
		return fmt.Errorf("prepare %s: %w", r.Name, err)
	}
	if err := os.Rename(tmp, dir); err != nil {
		return fmt.Errorf("prepare %s: %w", r.Name, err)
	}
	return nil
}

// fillPrepared runs the recipe's command with dir writable, then gives what it made to an owner no sandbox maps.
func (e *Engine) fillPrepared(r *images.Recipe, g ground, dir string) (err error) {
	ctx := e.ctx
	cmd, err := r.PrepareCommand()
	if err != nil {
		return err
	}
	g.apply(cmd)
	limits := fromImages(r.Prepare)
	b, err := e.openBox(ctx, boxSpec{memory: limits.Memory, processes: limits.Processes + 4, recipe: r, prepared: dir, writable: true, ground: g})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close(ctx)) }()
	a := &active{log: &eventLog{}}
	_, step, err := e.step(ctx, a, b, stepSpec{name: "prepare", command: *cmd, limits: limits,
		fill: func(context.Context, *slot) error { return nil }, outOfMemory: r.OutOfMemory})
	if err != nil {
		return err
	}
	if step.Verdict != VerdictOK {
		return fmt.Errorf("the recipe's prepare command ended with exit code %d, signal %q, limits %v: %s", step.ExitCode, step.Signal, step.LimitsHit, step.Stderr)
	}
	e.log.Info("prepared a language", "lang", r.Name, "wall", step.Usage.Wall)
	return chownTree(dir, sharedOwner)
}

// chownTree gives a tree to one id of the wide namespace. Links are not followed.
func chownTree(dir string, id int) error {
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, id, id)
	})
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// writeCoverage writes what the agent handed out under names that go tool covdata knows.
func writeCoverage(dir string, meta, counters []byte) error {
	const hashAt, hashLen = 24, 16 // internal/coverage.MetaFileHeader: magic, version, length, entries, hash
	if len(meta) < hashAt+hashLen {
		return errors.New("coverage meta data is cut off")
	}
	hash := fmt.Sprintf("%x", meta[hashAt:hashAt+hashLen])
	if err := os.WriteFile(filepath.Join(dir, "covmeta."+hash), meta, 0o644); err != nil {
		return fmt.Errorf("write coverage: %w", err)
	}
	name := "covcounters." + hash + "." + strconv.Itoa(os.Getpid()) + "." + strconv.FormatInt(time.Now().UnixNano(), 10)
	return writeNew(filepath.Join(dir, name), counters, 0o644)
}
