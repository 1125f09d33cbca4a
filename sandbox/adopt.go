package sandbox

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// AgentProtocol changes with whatever makes that a daemon could not adopt the sandboxes of an earlier one: the agent's
// services, the layout of the run directory, the ids and control groups of sandboxes.
const AgentProtocol = 1

// adoptedBox is a sandbox of an earlier daemon that lives on.
type adoptedBox struct {
	box *box
	rec Sandbox
}

// adopt takes over the sandboxes that an earlier daemon of this supervisor left running or paused. The records of those
// that do not live any more are closed; what is left of them is reaped with the rest.
func (e *Engine) adopt(ctx context.Context) (_ []adoptedBox, err error) {
	if e.boxes.o.Journal == nil {
		return nil, nil
	}
	boxes := map[ID]BoxRecord{}
	err = e.o.Journal.Boxes(ctx, func(b BoxRecord) error {
		boxes[b.ID] = b
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("adopt: read the journal: %w", err)
	}
	var records []Sandbox
	err = e.boxes.o.Journal.LivingSandboxes(ctx, func(s *Sandbox) error {
		records = append(records, *s)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("adopt: read the journal: %w", err)
	}
	var adopted []adoptedBox
	for _, rec := range records {
		b, err := e.adoptOne(ctx, boxes[rec.ID], rec)
		if err == nil {
			adopted = append(adopted, adoptedBox{b, rec})
			continue
		}
		e.log.Info("a sandbox of an earlier daemon does not live any more", "id", rec.ID, "err", err)
		rec.State, rec.EndedAt, rec.Reason = SandboxStopped, time.Now().UTC(), "the daemon that kept it ended"
		rec.note(LogInfo, "it ended: "+rec.Reason)
		if err := e.boxes.o.Journal.PutSandbox(ctx, &rec); err != nil {
			return nil, fmt.Errorf("adopt: journal the end of sandbox %s: %w", rec.ID, err)
		}
	}
	return adopted, nil
}

// errUnfinished is why a sandbox is not adopted that was still being made.
var errUnfinished = errors.New("it was still being made")

// adoptOne takes over one sandbox and brings it into the state that its record says.
func (e *Engine) adoptOne(ctx context.Context, record BoxRecord, rec Sandbox) (*box, error) {
	if rec.State == SandboxCreating || record.ID == "" {
		return nil, errUnfinished
	}
	b, err := e.adoptSession(ctx, record, rec.ImageDigest)
	if err != nil {
		return nil, err
	}
	// Between freezing it and journalling that, or the other way about, the earlier daemon may have died.
	l := &living{s: e.boxes, box: b}
	if err := errors.Join(e.o.IDs.Adopt(b.block), l.freeze(ctx, rec.State == SandboxPaused)); err != nil {
		if b.image != nil {
			b.image.Release()
		}
		return nil, errors.Join(fmt.Errorf("adopt sandbox %s: %w", rec.ID, err), b.agent.Close())
	}
	return b, nil
}

// keepAdopted starts to keep the time of what was adopted.
func (s *Sandboxes) keepAdopted(adopted []adoptedBox) {
	for _, a := range adopted {
		a.rec.note(LogInfo, "the daemon was restarted") // on disk with the next change
		l := s.live(a.box, a.rec)
		l.setFrozen(a.rec.State == SandboxPaused)
		s.mu.Lock()
		s.byID[a.rec.ID] = l
		s.mu.Unlock()
		s.e.log.Info("adopted a sandbox of an earlier daemon", "id", a.rec.ID)
	}
}
