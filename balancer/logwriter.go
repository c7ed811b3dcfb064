package balancer

import (
	"io"
	"sync/atomic"

	"github.com/rs/zerolog"
	"github.com/rs/zerolog/diode"
)

// logQueue is how many lines may wait for a slow reader of the log before the oldest are dropped.
const logQueue = 16 << 10

// LogWriter writes log lines in a goroutine of its own, so that a stuck reader never stops a session.
// What does not fit its queue is dropped, and counted in a line.
type LogWriter struct {
	queue   diode.Writer
	dropped atomic.Uint64
}

// NewLogWriter returns a writer to out, which it does not close.
func NewLogWriter(out io.Writer) *LogWriter {
	notice := zerolog.New(out).With().Timestamp().Logger()
	w := new(LogWriter)
	w.queue = diode.NewWriter(onlyWriter{out}, logQueue, 0, func(missed int) {
		w.dropped.Add(uint64(missed))
		notice.Warn().Int("lines", missed).Msg("log lines were dropped: the log is read too slowly")
	})
	return w
}

// Dropped returns how many lines did not fit the queue, as far as that is noticed: it is when the next one
// is written.
func (w *LogWriter) Dropped() uint64 { return w.dropped.Load() }

// Write queues a line. It never blocks and never fails.
func (w *LogWriter) Write(line []byte) (int, error) { return w.queue.Write(line) }

// Flush writes what is queued, and ends the writer.
func (w *LogWriter) Flush() { w.queue.Close() }

// onlyWriter keeps diode from closing what it writes to.
type onlyWriter struct{ io.Writer }
