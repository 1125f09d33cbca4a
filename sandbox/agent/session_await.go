package agent

import (
	"slices"
	"time"
)

// follow reads what p prints and waits for its end.
func (s *session) follow(p *process, io stdio, spec startSpec) {
	p.outputs = io.read
	kinds := []stream{streamStdout, streamStderr}
	if p.terminal {
		kinds = []stream{streamPTY}
	}
	for i, f := range io.read {
		p.readers.Go(func() {
			p.read(f, kinds[i])
			if !p.terminal {
				_ = f.Close() // read to its end
			}
		})
	}
	s.mu.Lock()
	s.live[p.pid] = p
	s.ended = slices.DeleteFunc(s.ended, func(old *process) bool { return old.pid == p.pid }) // the number is another's now
	s.mu.Unlock()
	s.watching.Go(func() { s.await(p) })
	s.watching.Go(func() { p.feed(spec.input, spec.stdin) })
}

// await waits for the end of p and for the end of its output.
func (s *session) await(p *process) {
	l := s.slot.launcher
	defer l.forget(p.reports)
	select {
	case p.exit = <-p.reports.exited:
	case <-l.dead:
		l.done.Wait()
		select {
		case p.exit = <-p.reports.exited:
		default:
			p.exit = killedReport()
		}
	}
	close(p.ended)
	s.bury(p)
	printed := make(chan struct{})
	go func() {
		p.readers.Wait()
		close(printed)
	}()
	select {
	case <-printed:
	case <-time.After(lateOutput):
	}
	close(p.quiet)
	p.mu.Lock()
	if !p.terminal {
		_ = p.dropInputLocked() // nobody reads it
	}
	p.mu.Unlock()
	select {
	case <-printed:
	case <-l.dead: // what holds the other end lies outside the slot
		p.stopReading()
		<-printed
	}
	p.output.close()
	p.mu.Lock()
	_ = p.dropInputLocked()
	p.mu.Unlock()
}

// bury moves p to those that have ended, and forgets the oldest of them beyond the bounds.
func (s *session) bury(p *process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.live, p.pid)
	s.ended = append(s.ended, p)
	kept := int64(0)
	for i := len(s.ended) - 1; i >= 0; i-- {
		start, end := s.ended[i].output.span()
		if kept += end - start; kept > keepEndedBytes || len(s.ended)-i > keepEnded {
			for _, old := range s.ended[:i+1] {
				if old != p {
					old.output.forget()
				}
			}
			s.ended = slices.Clone(s.ended[min(i+1, len(s.ended)-1):])
			return
		}
	}
}
