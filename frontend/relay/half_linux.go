package relay

import (
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// BulkAfter is how many full buffers in a row turn a direction to splice(2): for small messages
	// it is no cheaper than read and write.
	BulkAfter = 2
	// BulkFloor is the least one splice must bring, in bytes, for a direction to stay with it.
	BulkFloor = 16 << 10
)

// mover moves the bytes of one direction: small ones through a buffer, bulk through a pipe with
// splice(2). Both are borrowed from the stock only while bytes are in them, so an idle direction
// holds neither.
type mover struct {
	stock    *Stock
	from, to syscall.RawConn

	buf  *buffer // holds n bytes that were read
	n    int
	err  error // of the last read
	pipe *Pipe // holds pipe.N bytes that were spliced
	full int   // full buffers in a row
	bulk bool
}

func (h *half) prepare() error {
	var err error
	if h.from, err = h.src.SyscallConn(); err != nil {
		return err
	}
	if h.to, err = h.dst.SyscallConn(); err != nil {
		return &writeError{err}
	}
	return nil
}

// WriteTo moves src to dst until src ends. Errors of writing are *writeError.
func (h *half) WriteTo(io.Writer) (int64, error) {
	if err := h.prepare(); err != nil {
		return 0, err
	}
	defer h.release()
	fill, drain := h.fill, h.drain // bound once: a method value allocates
	for {
		if err := h.from.Read(fill); err != nil {
			return h.moved.Load(), err
		}
		switch {
		case h.err != nil:
			return h.moved.Load(), os.NewSyscallError("read", h.err)
		case h.spliced():
			if err := h.to.Write(drain); err != nil || h.err != nil {
				return h.moved.Load(), &writeError{firstOf(err, os.NewSyscallError("splice", h.err))}
			}
		case h.n > 0:
			if err := h.write(); err != nil {
				return h.moved.Load(), &writeError{err}
			}
		default:
			return h.moved.Load(), nil
		}
	}
}

// fill takes what src has; it reports false, holding nothing, while src has nothing.
func (h *half) fill(fd uintptr) bool {
	if h.bulk && h.fillPipe(int(fd)) {
		return true
	}
	return h.fillBuffer(int(fd))
}

// fillPipe splices what src has into a pipe. When splice says that there is nothing, or the end, there
// may be an urgent byte in front (SO_OOBINLINE): only read tells the truth. An error it tells but once.
func (h *half) fillPipe(fd int) bool {
	if h.pipe == nil {
		if h.pipe = h.stock.Pipe(); h.pipe == nil {
			h.bulk = false
			return false
		}
	}
	n, err := splice(fd, h.pipe.W, h.pipe.Size)
	if err != nil && err != unix.EAGAIN {
		h.n, h.err = 0, err
		return true
	}
	if n <= 0 {
		return false
	}
	h.pipe.N = n
	h.bulk = n >= BulkFloor
	h.full = 0
	return true
}

func (h *half) fillBuffer(fd int) bool {
	if h.buf == nil {
		h.buf = h.stock.buffer()
	}
	n, err := read(fd, h.buf[:])
	if err == unix.EAGAIN {
		h.release()
		return false
	}
	h.n, h.err = n, err
	if h.n < len(h.buf) {
		h.full = 0
	} else if h.full++; h.full >= BulkAfter {
		h.bulk = true
	}
	return true
}

func (h *half) spliced() bool { return h.pipe != nil && h.pipe.N > 0 }

// write sends what is in the buffer. It blocks as long as dst takes nothing, and so does src.
func (h *half) write() error {
	h.begin()
	n, err := h.dst.Write(h.buf[:h.n])
	h.account(n)
	h.n = 0
	return err
}

// drain empties the pipe into dst; it reports false while dst takes nothing.
func (h *half) drain(fd uintptr) bool {
	for h.pipe.N > 0 {
		n, err := splice(h.pipe.R, int(fd), h.pipe.N)
		if err == unix.EAGAIN {
			return false
		}
		if h.err = err; err != nil {
			return true
		}
		h.pipe.N -= n
		h.account(n)
	}
	return true
}

// release gives back what was borrowed.
func (h *half) release() {
	if h.buf != nil {
		h.stock.putBuffer(h.buf)
		h.buf = nil
	}
	if h.pipe != nil {
		h.stock.PutPipe(h.pipe)
		h.pipe = nil
	}
}

func splice(from, to, most int) (int, error) {
	for {
		n, err := unix.Splice(from, nil, to, nil, most, unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		if err != unix.EINTR {
			return int(n), err
		}
	}
}

func read(fd int, buf []byte) (int, error) {
	for {
		n, err := unix.Read(fd, buf)
		if err != unix.EINTR {
			return max(n, 0), err
		}
	}
}

func firstOf(a, b error) error {
	if a != nil {
		return a
	}
	return b
}
