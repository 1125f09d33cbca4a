package library

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"time"

	"github.com/cenkalti/backoff/v5"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// openFunc opens content from an offset on, or from the beginning: at says where.
type openFunc func(ctx context.Context, offset int64) (r io.ReadCloser, at int64, err error)

func (l *Library) openBlob(h v1.Hash) (*os.File, error) {
	f, err := os.Open(l.path(blobsDir, h.Hex))
	if err != nil {
		return nil, fmt.Errorf("open blob %s: %w", h, err)
	}
	return f, nil
}

// small stores content that is at hand.
func (l *Library) small(h v1.Hash, content []byte) error {
	there, err := exists(l.path(blobsDir, h.Hex))
	if err != nil || there {
		return err
	}
	return l.writeWhole(blobsDir+"/"+h.Hex, content)
}

// blob makes sure that the content of d is stored. What an earlier attempt got is kept, and goes on from there.
func (l *Library) blob(ctx context.Context, d v1.Descriptor, retries int, report Report, open openFunc) error {
	name := blobsDir + "/" + d.Digest.Hex
	unlock, err := l.locks.lock(ctx, "blob "+d.Digest.Hex)
	if err != nil {
		return err
	}
	defer unlock()
	there, err := exists(l.path(name))
	if err != nil || there {
		report(Progress{Stage: StageDownload, Digest: d.Digest.String(), Done: d.Size, Total: d.Size})
		return err
	}
	part := &partial{d: d, report: report, sum: sha256.New()}
	path := l.path(partialDir, d.Digest.Hex)
	if err := part.open(path); err != nil {
		return err
	}
	defer part.file.Close()
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = 100*time.Millisecond, 5*time.Second
	for try := 0; ; try++ {
		before := part.done
		err = part.fetch(ctx, open)
		if err == nil || errors.Is(err, ErrContent) || ctx.Err() != nil || try >= retries {
			break
		}
		if part.done > before {
			try = 0 // it moves on
		}
		select {
		case <-time.After(wait.NextBackOff()):
		case <-ctx.Done():
		}
	}
	if ctx.Err() != nil {
		return fmt.Errorf("get %s: %w", d.Digest, context.Cause(ctx))
	}
	if errors.Is(err, ErrContent) {
		return errors.Join(err, os.Remove(path)) // none of it is worth keeping
	}
	if err != nil {
		return err
	}
	if err := part.file.Sync(); err != nil {
		return fmt.Errorf("write blob %s: %w", d.Digest, err)
	}
	return l.place(path, name)
}

// partial is content of which a part is on disk.
type partial struct {
	d      v1.Descriptor
	file   *os.File
	done   int64
	sum    hash.Hash // of what is done
	report Report
}

// open opens what an earlier attempt left, and hashes it.
func (p *partial) open(path string) (err error) {
	if p.file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return fmt.Errorf("write blob %s: %w", p.d.Digest, err)
	}
	p.done, err = io.Copy(p.sum, io.LimitReader(p.file, p.d.Size))
	if err != nil {
		return errors.Join(fmt.Errorf("read what there is of blob %s: %w", p.d.Digest, err), p.file.Close())
	}
	return nil
}

// restart drops what there is.
func (p *partial) restart() error {
	p.sum.Reset()
	p.done = 0
	_, err := p.file.Seek(0, io.SeekStart)
	if err := errors.Join(err, p.file.Truncate(0)); err != nil {
		return fmt.Errorf("write blob %s: %w", p.d.Digest, err)
	}
	return nil
}

// fetch gets what is missing and checks the whole.
func (p *partial) fetch(ctx context.Context, open openFunc) error {
	if p.done < p.d.Size || p.d.Size == 0 {
		if err := p.more(ctx, open); err != nil {
			return err
		}
	}
	if got := hex.EncodeToString(p.sum.Sum(nil)); got != p.d.Digest.Hex {
		return fmt.Errorf("%w: %s has the digest sha256:%s", ErrContent, p.d.Digest, got)
	}
	return nil
}

// more reads the rest, and not a byte beyond it.
func (p *partial) more(ctx context.Context, open openFunc) error {
	r, at, err := open(ctx, p.done)
	if err != nil {
		return err
	}
	defer r.Close()
	if at != p.done {
		if err := p.restart(); err != nil {
			return err
		}
	}
	buf := make([]byte, 256<<10)
	for p.done < p.d.Size {
		n, err := r.Read(buf[:min(int64(len(buf)), p.d.Size-p.done)])
		if n > 0 {
			if _, err := p.file.WriteAt(buf[:n], p.done); err != nil {
				return fmt.Errorf("write blob %s: %w", p.d.Digest, err)
			}
			p.sum.Write(buf[:n])
			p.done += int64(n)
			p.report(Progress{Stage: StageDownload, Digest: p.d.Digest.String(), Done: p.done, Total: p.d.Size})
		}
		if err != nil && p.done < p.d.Size {
			return fmt.Errorf("read %s: it broke off after %d of %d bytes: %w", p.d.Digest, p.done, p.d.Size, err)
		}
	}
	if n, _ := r.Read(buf[:1]); n > 0 {
		return fmt.Errorf("%w: %s has more than %d bytes", ErrContent, p.d.Digest, p.d.Size)
	}
	return nil
}
