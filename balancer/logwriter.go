package balancer

import (
	"io"
	"sync"
	"sync/atomic"

	"github.com/rs/zerolog"
)

// logQueue is how many lines may wait for a slow reader of the log before further ones are dropped: some
// 6 MB of them.
const logQueue = 16 << 10

// LogWriter writes log lines in a goroutine of its own, so that a stuck reader never stops a session.
// What does not fit its queue is dropped, and counted in a line.
//
// It is not zerolog's diode: that one may miss the last line before a silence and write it with the next,
// or has to look for lines a hundred times a second.
type LogWriter struct {
	out     io.Writer
	lines   chan *[]byte
	dropped atomic.Uint64
	ending  chan struct{} // closed by Flush
	ended   chan struct{}
	end     sync.Once
}

// buffers are lines that have been written.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// NewLogWriter returns a writer to out, which it does not close.
func NewLogWriter(out io.Writer) *LogWriter {
	w := &LogWriter{out: out, lines: make(chan *[]byte, logQueue), ending: make(chan struct{}), ended: make(chan struct{})}
	go w.run()
	return w
}

// Dropped returns how many lines did not fit the queue.
func (w *LogWriter) Dropped() uint64 { return w.dropped.Load() }

// Write queues a line. It never blocks and never fails.
func (w *LogWriter) Write(line []byte) (int, error) {
	b := buffers.Get().(*[]byte)
	*b = append((*b)[:0], line...)
	select {
	case w.lines <- b:
	default:
		w.dropped.Add(1)
		buffers.Put(b)
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
	told := uint64(0)
	for {
		select {
		case b := <-w.lines:
			told = w.write(b, told)
		case <-w.ending:
			for len(w.lines) > 0 {
				told = w.write(<-w.lines, told)
			}
			w.tell(told)
			return
		}
	}
}

// write writes a line, and before it how many were dropped since that was told last.
func (w *LogWriter) write(b *[]byte, told uint64) uint64 {
	told = w.tell(told)
	w.out.Write(*b)
	buffers.Put(b)
	return told
}

func (w *LogWriter) tell(told uint64) uint64 {
	dropped := w.dropped.Load()
	if dropped > told {
		notice := zerolog.New(w.out).With().Timestamp().Logger()
		notice.Warn().Uint64("lines", dropped-told).Msg("log lines were dropped: the log is read too slowly")
	}
	return dropped
}
