package balancer

import (
	"bytes"
	"errors"
	"io"
	"os"
)

// wholeLines hands lines to out. When out took only the beginning of one, as a disk that is full does, that is ended
// before the next, so that it does not spoil that as well.
type wholeLines struct {
	out  io.Writer
	torn bool // out has the beginning of a line
}

// Write returns with an error how many bytes of whole lines were taken.
func (w *wholeLines) Write(lines []byte) (n int, err error) {
	if w.torn {
		if _, err := w.out.Write(newline); err != nil {
			return 0, err
		}
		w.torn = false
	}
	n, err = w.out.Write(lines)
	if err == nil {
		return n, nil
	}
	whole := 1 + bytes.LastIndexByte(lines[:n], newline[0])
	w.torn = n > whole
	return whole, err
}

// Lines returns what writes whole lines to f, which is stderr or stdout. One that was closed when this process was
// started cannot be written to, for the file that has its number by now is not meant.
func Lines(f *os.File) io.Writer {
	if nowhere(f) {
		return &wholeLines{out: closed{}}
	}
	return &wholeLines{out: f}
}

// closed is a file that is not there.
type closed struct{}

var errClosed = errors.New("write the log: it was closed when weir was started")

func (closed) Write([]byte) (int, error) { return 0, errClosed }
