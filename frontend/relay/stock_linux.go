package relay

import (
	"sync"

	"golang.org/x/sys/unix"
)

const (
	bufferSize = 32 << 10
	// pipeSize is what a pipe is asked to hold: the most that an unprivileged process may ask for.
	pipeSize = 1 << 20
	// MaxPipes is how many pipes of that size an unprivileged user may have at one time
	// (pipe-user-pages-soft, pipe(7)); later ones would hold 8 KiB and be slow.
	MaxPipes = 64
	// idlePipes is how many unused pipes are kept open.
	idlePipes = 8
)

type buffer [bufferSize]byte

// Pipe is a kernel buffer that splice(2) fills and empties.
type Pipe struct {
	R, W int // its two ends, owned by the stock
	N    int // bytes in it
	Size int
}

// Stock lends buffers and pipes to all pairs of a process. A pipe that is not to be had is no error:
// the bytes are copied.
type Stock struct {
	buffers sync.Pool

	mu     sync.Mutex
	idle   []*Pipe
	open   int
	most   int
	closed bool
}

// NewStock returns a stock of at most maxPipes pipes, two descriptors each. 0: none, all is copied.
func NewStock(maxPipes int) *Stock {
	s := &Stock{most: maxPipes}
	s.buffers.New = func() any { return new(buffer) }
	return s
}

// Close closes the pipes nobody uses, and the others as they come back.
func (s *Stock) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, p := range s.idle {
		s.drop(p)
	}
	s.idle = nil
}

func (s *Stock) buffer() *buffer     { return s.buffers.Get().(*buffer) }
func (s *Stock) putBuffer(b *buffer) { s.buffers.Put(b) }

// Pipe returns an empty pipe to be given back with PutPipe, or nil.
func (s *Stock) Pipe() *Pipe {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.idle); n > 0 {
		p := s.idle[n-1]
		s.idle = s.idle[:n-1]
		return p
	}
	if s.open >= s.most {
		return nil
	}
	p := openPipe()
	if p != nil {
		s.open++
	}
	return p
}

// PutPipe takes a pipe back. One that still holds bytes of a dead session is of no use to another.
func (s *Stock) PutPipe(p *Pipe) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.N > 0 || s.closed || len(s.idle) >= idlePipes {
		s.drop(p)
		return
	}
	s.idle = append(s.idle, p)
}

func (s *Stock) drop(p *Pipe) {
	unix.Close(p.R)
	unix.Close(p.W)
	s.open--
}

// openPipe returns nil when no descriptor, or only a small pipe, is to be had.
func openPipe() *Pipe {
	var fds [2]int
	if unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK) != nil {
		return nil
	}
	p := &Pipe{R: fds[0], W: fds[1]}
	// An error leaves the size it has.
	unix.FcntlInt(uintptr(p.W), unix.F_SETPIPE_SZ, pipeSize)
	p.Size, _ = unix.FcntlInt(uintptr(p.W), unix.F_GETPIPE_SZ, 0)
	if p.Size < bufferSize {
		unix.Close(p.R)
		unix.Close(p.W)
		return nil
	}
	return p
}
