package balancer

import (
	"bytes"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

const (
	// logQueue is how many bytes of lines may wait for a slow reader of the log before further lines are
	// dropped. Twice as much may be held: those that are being written as well.
	logQueue = 4 << 20
	// logBatch is how many bytes of lines are written at once: a pipe takes that much whole (PIPE_BUF in
	// pipe(7)), so that lines of two processes that share it are not mixed.
	logBatch = 4096
	// logPause is the least time between the beginnings of two batches. A line after a silence does not
	// wait; under load it is what lets several lines share a write and a wake-up.
	logPause = 5 * time.Millisecond
)

// LogWriter writes log lines in a goroutine of its own, so that a stuck reader never stops a session.
// What does not fit its queue is dropped, and counted in a line.
//
// It is not zerolog's diode: that one may miss the last line before a silence and write it with the next,
// or has to look for lines a hundred times a second; and it writes each line by itself.
type LogWriter struct {
	out     io.Writer
	dropped atomic.Uint64
	queued  chan struct{} // has one when there may be lines
	ending  chan struct{} // closed by Flush
	ended   chan struct{}
	end     sync.Once

	mu    sync.Mutex
	lines []byte // that wait
}

// NewLogWriter returns a writer to out, which it does not close. out is given one line, or several whole
// ones, at a time.
func NewLogWriter(out io.Writer) *LogWriter {
	w := &LogWriter{out: out, queued: make(chan struct{}, 1), ending: make(chan struct{}), ended: make(chan struct{})}
	go w.run()
	return w
}

// Dropped returns how many lines did not fit the queue.
func (w *LogWriter) Dropped() uint64 { return w.dropped.Load() }

// Write queues a line. It never waits for the reader of the log and never fails.
func (w *LogWriter) Write(line []byte) (int, error) {
	w.mu.Lock()
	first := len(w.lines) == 0
	fits := first || len(w.lines)+len(line) <= logQueue
	if fits {
		w.lines = append(w.lines, line...)
	}
	w.mu.Unlock()
	if !fits {
		w.dropped.Add(1)
	} else if first {
		select {
		case w.queued <- struct{}{}:
		default:
		}
	}
	return len(line), nil
}

// Flush writes what is queued, and ends the writer. What is written later goes nowhere.
func (w *LogWriter) Flush() {
	w.end.Do(func() { close(w.ending) })
	<-w.ended
}

func (w *LogWriter) run() {
	defer close(w.ended)
	var (
		spare []byte
		told  uint64
		last  time.Time
	)
	pause := time.NewTimer(logPause)
	for ending := false; !ending; {
		select {
		case <-w.queued:
			if since := time.Since(last); since < logPause {
				pause.Reset(logPause - since)
				select {
				case <-pause.C:
				case <-w.ending:
				}
			}
		case <-w.ending:
			ending = true
		}
		last = time.Now()
		lines := w.take(spare)
		told = w.tell(told)
		w.write(lines)
		spare = lines[:0]
	}
}

// take returns the lines that wait, and leaves that space for the next ones.
func (w *LogWriter) take(space []byte) []byte {
	if cap(space) > logQueue/8 { // of a time when the log was stuck
		space = nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	lines := w.lines
	w.lines = space
	return lines
}

// write writes lines, as many at once as a batch may have.
func (w *LogWriter) write(lines []byte) {
	for len(lines) > 0 {
		n := len(lines)
		if n > logBatch {
			n = 1 + bytes.LastIndexByte(lines[:logBatch], '\n')
			if n == 0 { // one line that is longer
				n = 1 + bytes.IndexByte(lines, '\n')
			}
			if n == 0 {
				n = len(lines)
			}
		}
		w.out.Write(lines[:n])
		lines = lines[n:]
	}
}

// tell writes how many lines were dropped since that was told last.
func (w *LogWriter) tell(told uint64) uint64 {
	dropped := w.dropped.Load()
	if dropped > told {
		notice := zerolog.New(w.out).With().Timestamp().Logger()
		notice.Warn().Uint64("lines", dropped-told).Msg("log lines were dropped: the log is read too slowly")
	}
	return dropped
}
