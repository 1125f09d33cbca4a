package sandbox

import (
	"fmt"
	"os"
	"slices"
	"sync"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// The layout of ids, in the wide namespace and in a sandbox.
const (
	sharedBase  = 1    // wide ids 1..1000 are 0..999 in every sandbox, so that images are stored once
	sharedCount = 1000 //
	nobodyID    = 65534
	wideNobody  = sharedBase + sharedCount // 65534 in every sandbox
	blockBase   = wideNobody + 1           // block k starts at blockBase + BlockSize*k

	BlockSize  = 32                          // ids that one sandbox has for itself
	ProgramID  = sharedCount                 // what programs run as, in the sandbox
	LauncherID = sharedCount + BlockSize - 1 // what the launcher runs as, in the sandbox
)

// Blocks returns how many blocks there are where the wide namespace maps the ids 1..count.
func Blocks(count uint32) int {
	return int(max(int64(count)-(blockBase-1), 0) / BlockSize)
}

// Block is the span of ids that one sandbox has for itself.
type Block struct {
	Index int // from 0
}

// Base returns the first id of b in the wide namespace, which is [ProgramID] in the sandbox.
func (b Block) Base() uint32 { return uint32(blockBase + BlockSize*b.Index) }

// UIDMappings returns a sandbox's user id map, for a sandbox whose parent is the wide namespace.
func (b Block) UIDMappings() []specs.LinuxIDMapping {
	return []specs.LinuxIDMapping{
		{ContainerID: 0, HostID: sharedBase, Size: sharedCount},
		{ContainerID: sharedCount, HostID: b.Base(), Size: BlockSize},
		{ContainerID: nobodyID, HostID: wideNobody, Size: 1},
	}
}

// GIDMappings returns a sandbox's group id map, which is the same as its user id map.
func (b Block) GIDMappings() []specs.LinuxIDMapping { return b.UIDMappings() }

// Owns reports whether id, in the wide namespace, is one of b's own.
func (b Block) Owns(id uint32) bool { return id >= b.Base() && id-b.Base() < BlockSize }

// IDPool gives out blocks. A block that it gave out is locked host-wide, as the block's byte of a lock file, so that
// no two sandboxes of one range of subordinate ids ever share one, whichever daemons they belong to.
//
// The lock belongs to the open file description, which the daemon inherits from its supervisor: it outlives the daemon,
// as its sandboxes do, and ends with the supervisor, as they do.
type IDPool struct {
	lock *os.File

	mu    sync.Mutex
	taken []bool // by this pool, of each block
	next  int    // where the search starts: what was freed last comes last
}

// NewIDPool returns a pool of the given number of blocks, see [Blocks]. lock is the file that [OpenLockFile] opened; it
// stays the caller's. A daemon that follows another on the same description calls [IDPool.Adopt] for what still lives,
// or [IDPool.Reset] when nothing does.
func NewIDPool(lock *os.File, blocks int) *IDPool {
	return &IDPool{lock: lock, taken: make([]bool, blocks)}
}

// Acquire locks a block that nobody has. When there is none it returns an [*Error] of [KindExhausted].
func (p *IDPool) Acquire() (Block, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := lockFilePresent(p.lock); err != nil {
		return Block{}, &Error{Op: "sandbox.Acquire", Kind: KindUnavailable, Reason: "IDS_LOCK_LOST",
			Msg: "the server's id lock is gone; it has to be restarted", Err: err}
	}
	for i := range p.taken {
		k := (p.next + i) % len(p.taken)
		if p.taken[k] {
			continue
		}
		ok, err := lockBlocks(p.lock, k, 1)
		if err != nil {
			return Block{}, &Error{Op: "sandbox.Acquire", Kind: KindInternal, Reason: "INTERNAL", Msg: "ids could not be locked",
				Err: fmt.Errorf("lock block %d: %w", k, err)}
		}
		if ok {
			p.taken[k], p.next = true, k+1
			return Block{Index: k}, nil
		}
	}
	return Block{}, &Error{Op: "sandbox.Acquire", Kind: KindExhausted, Reason: "IDS_EXHAUSTED",
		Msg: "every block of ids is in use; try again later", RetryAfter: minRetry}
}

// Adopt takes b, which a sandbox of an earlier daemon has.
func (p *IDPool) Adopt(b Block) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b.Index < 0 || b.Index >= len(p.taken) || p.taken[b.Index] {
		return &Error{Op: "sandbox.Adopt", Kind: KindInternal, Reason: "INTERNAL", Msg: "ids are in use twice",
			Err: fmt.Errorf("block %d of %d is out of range or taken", b.Index, len(p.taken))}
	}
	ok, err := lockBlocks(p.lock, b.Index, 1)
	if err == nil && !ok {
		err = fmt.Errorf("another daemon has it")
	}
	if err != nil {
		return &Error{Op: "sandbox.Adopt", Kind: KindInternal, Reason: "INTERNAL", Msg: "ids could not be locked",
			Err: fmt.Errorf("lock block %d: %w", b.Index, err)}
	}
	p.taken[b.Index] = true
	return nil
}

// Release gives b back. Nothing may run under its ids any more, and no file may have them.
func (p *IDPool) Release(b Block) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b.Index < 0 || b.Index >= len(p.taken) || !p.taken[b.Index] {
		return nil
	}
	if err := unlockBlocks(p.lock, b.Index, 1); err != nil {
		return fmt.Errorf("unlock block %d: %w", b.Index, err) // and it stays taken: never shared
	}
	p.taken[b.Index] = false
	return nil
}

// Reset gives back every block that is locked through this description, by this pool or by an earlier daemon, except
// those to keep, which were adopted. It is called when everything that ran under the others has been reaped.
func (p *IDPool) Reset(keep ...Block) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := make([]bool, len(p.taken))
	for _, b := range keep {
		kept[b.Index] = true
	}
	for i := 0; i < len(kept); {
		n := 0
		for i+n < len(kept) && !kept[i+n] {
			n++
		}
		if n == 0 {
			i++
			continue
		}
		if err := unlockBlocks(p.lock, i, n); err != nil {
			return fmt.Errorf("unlock %d blocks from %d on: %w", n, i, err)
		}
		clear(p.taken[i : i+n])
		i += n
	}
	return nil
}

// InUse returns how many blocks this pool has given out.
func (p *IDPool) InUse() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(slices.DeleteFunc(slices.Clone(p.taken), func(t bool) bool { return !t }))
}
