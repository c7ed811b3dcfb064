package run

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settled is how long nothing may happen beside the file before it is read: editors and tools write in steps.
const settled = 300 * time.Millisecond

// watch reloads when the file says something else than before, until ctx ends. It watches the directory, for
// files are replaced more often than written, and in a container it is a link that changes.
func (r *runner) watch(ctx context.Context) {
	w, err := fsnotify.NewWatcher()
	if err == nil {
		defer w.Close()
		err = w.Add(filepath.Dir(r.file))
	}
	if err != nil {
		r.log.Error().Err(err).Msg("cannot watch the configuration")
		return
	}
	last, _ := os.ReadFile(r.file)
	quiet := time.NewTimer(settled) // what changed before it was watched counts
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case _, ok := <-w.Events:
			if !ok {
				return
			}
			quiet.Reset(settled)
		case err := <-w.Errors:
			r.log.Warn().Err(err).Msg("watching the configuration")
		case <-quiet.C:
			now, err := os.ReadFile(r.file)
			if err == nil && !bytes.Equal(now, last) {
				last = now
				r.reload(ctx)
			}
		}
	}
}
