package library

import (
	"io/fs"
	"path/filepath"
	"syscall"
)

// diskUsed adds up the blocks of a tree, in bytes. Hard links count once; what vanishes does not count.
func diskUsed(dir string) (bytes int64) {
	const unit = 512 // of st_blocks, see stat(2)
	seen := map[uint64]bool{}
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // see above
		}
		info, err := d.Info()
		if err != nil {
			return nil //nolint:nilerr // see above
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && !seen[st.Ino] {
			seen[st.Ino] = st.Nlink > 1
			bytes += st.Blocks * unit
		}
		return nil
	})
	return bytes
}
