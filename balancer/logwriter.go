package balancer

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"weir/backend/contain"
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
	// tellAgain is how often it is tried to tell of missing lines while nobody logs anything.
	tellAgain = time.Second
	// flushTime is how long the end of the process waits for a log that nobody reads.
	flushTime = 5 * time.Second
)

// LogWriter writes log lines in a goroutine of its own, so that a stuck reader never stops a session, and one that is
// gone ends nothing. What does not fit its queue is dropped, what cannot be written is lost; either is counted, and
// told in a line as soon as one can be written.
//
// It is not zerolog's diode: that one may miss the last line before a silence and write it with the next,
// or has to look for lines a hundred times a second; and it writes each line by itself.
type LogWriter struct {
	out           io.Writer
	guard         *contain.Guard // of out
	dropped, lost atomic.Uint64
	queued        chan struct{} // has one when there may be lines
	ending        chan struct{} // closed by Flush
	ended         chan struct{}
	end           sync.Once

	// Of the goroutine that writes.
	toldDropped, toldLost uint64
	failure               error  // the last
	stack                 []byte // of it, if it was a panic

	mu    sync.Mutex
	lines []byte // that wait
}

// NewLogWriter returns a writer to out, which it does not close. out is given one line, or several whole
// ones, at a time. With an error it says how many bytes of whole lines it took.
func NewLogWriter(out io.Writer) *LogWriter {
	w := &LogWriter{out: out, queued: make(chan struct{}, 1), ending: make(chan struct{}), ended: make(chan struct{})}
	w.guard = contain.New(w.panicked)
	go w.run()
	return w
}

// Dropped returns how many lines did not fit the queue.
func (w *LogWriter) Dropped() uint64 { return w.dropped.Load() }

// Lost returns how many lines could not be written.
func (w *LogWriter) Lost() uint64 { return w.lost.Load() }

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

// Flush writes what is queued, and ends the writer. What is written later goes nowhere. A reader that is stuck cannot
// hold it up for longer than flushTime.
func (w *LogWriter) Flush() {
	w.end.Do(func() { close(w.ending) })
	late := time.NewTimer(flushTime)
	defer late.Stop()
	select {
	case <-w.ended:
	case <-late.C:
	}
}

func (w *LogWriter) run() {
	defer close(w.ended)
	var (
		spare []byte
		last  time.Time
	)
	pause, again := time.NewTimer(logPause), time.NewTimer(tellAgain)
	defer pause.Stop()
	defer again.Stop()
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
		case <-again.C: // nobody logs anything, but there is something to be told
		case <-w.ending:
			ending = true
		}
		last = time.Now()
		lines := w.take(spare)
		w.tell()
		w.write(lines)
		spare = lines[:0]
		if again.Stop(); w.owes() {
			again.Reset(tellAgain)
		}
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
		batch := lines[:n]
		if took := w.put(batch); took < len(batch) {
			w.lost.Add(uint64(bytes.Count(batch[took:], newline)))
		}
		lines = lines[n:]
	}
}

var newline = []byte{'\n'}

// put hands lines to out, and returns how many bytes of whole lines it took.
func (w *LogWriter) put(lines []byte) (took int) {
	w.guard.Do("writing the log", func() {
		n, err := w.out.Write(lines)
		if err != nil {
			w.failure, w.stack = err, nil
			took = max(0, min(n, len(lines)))
			return
		}
		took = len(lines)
	})
	return took
}

// panicked takes note of a panic of out: it cannot be logged now.
func (w *LogWriter) panicked(p contain.Panic) {
	w.failure, w.stack = fmt.Errorf("panic: %v", p.Value), p.Stack
}

// owes says whether lines are missing of which no line tells yet.
func (w *LogWriter) owes() bool {
	return w.dropped.Load() > w.toldDropped || w.lost.Load() > w.toldLost
}

// tell writes how many lines are missing since that was told last, if it can be written.
func (w *LogWriter) tell() {
	if n := w.dropped.Load(); n > w.toldDropped && w.notice(n-w.toldDropped, "log lines were dropped: the log is read too slowly", nil) {
		w.toldDropped = n
	}
	why := func(e *zerolog.Event) {
		if e.Err(w.failure); w.stack != nil {
			e.Bytes("stack", w.stack)
		}
	}
	if n := w.lost.Load(); n > w.toldLost && w.notice(n-w.toldLost, "log lines were lost: they could not be written", why) {
		w.toldLost = n
	}
}

// notice writes a line about missing lines at once, and reports whether that worked.
func (w *LogWriter) notice(lines uint64, message string, why func(*zerolog.Event)) bool {
	var line bytes.Buffer
	log := zerolog.New(&line).With().Timestamp().Logger()
	event := log.Warn().Uint64("lines", lines)
	if why != nil {
		event.Func(why)
	}
	event.Msg(message)
	return w.put(line.Bytes()) == line.Len()
}
