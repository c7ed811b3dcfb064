// Package relay moves bytes between the two sockets of a session until both sides are done.
//
// It carries the end of each stream faithfully: an end becomes a half-close, a reset becomes a reset
// once what was read before it is delivered. It chooses no backend, knows no timeouts and logs
// nothing: whoever runs a [Pair] may [Pair.Cut] it from outside.
//
// Each direction is an io.Copy from a source that implements io.WriterTo, as *net.TCPConn does. The
// source is our own because io.Copy between two *net.TCPConn cannot survive an urgent byte (RFC 9293
// §3.8.5): splice(2) stops in front of it for ever, and what follows is lost as if the stream had
// ended. It would also keep a pipe, two descriptors, for each direction of an idle connection. See
// half_linux.go; elsewhere than on Linux it is a plain io.Copy that counts.
//
// Start with [Pair.Run].
package relay

import (
	"errors"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Conn is a socket that can be half-closed: *net.TCPConn or *net.UnixConn.
type Conn interface {
	net.Conn
	syscall.Conn
	CloseWrite() error
}

// Side is one of the two peers of a session.
type Side uint8

// The sides.
const (
	Client Side = iota
	Backend
)

// End is how a relay ended, and by whom.
type End struct {
	// Err is nil when both sides finished: each stream was carried to its end.
	Err error
	// Side is who failed, when Err is not nil.
	Side Side
}

// Pair is the two sockets of one session and the two directions between them. It owns both sockets.
type Pair struct {
	// OnFirst, unless nil, is called when the first bytes of a side have been delivered to the other. It is
	// set before Run, and must not block.
	OnFirst func(from Side)
	// OnEarlyEnd, unless nil, is called in Run when the backend has ended its stream, or failed, before it had sent a
	// byte, while the client had sent some and not ended its own. It must not block.
	OnEarlyEnd func()

	conns    [2]Conn
	up, down half // up: from the client to the backend

	mu    sync.Mutex
	cut   bool
	ended *End // the first failure
}

// NewPair takes both sockets over. The stock may serve any number of pairs.
func NewPair(client, backend Conn, stock *Stock) *Pair {
	p := &Pair{conns: [2]Conn{client, backend}}
	p.up.init(p, Client, stock)
	p.down.init(p, Backend, stock)
	return p
}

// Run relays until both directions are done, closes the backend's socket and tells how it ended. The
// client's socket is left to [Pair.Close], which may have to wait for a slow client. Run is called once.
func (p *Pair) Run() End {
	go p.up.run()
	p.down.run()
	<-p.up.done
	p.closeSide(Backend)
	return p.end()
}

// Close ends the client's socket: with a reset if the backend failed, else with the end of stream
// that was sent already. Either way what was sent is delivered first, as long as the client takes it.
func (p *Pair) Close() { p.closeSide(Client) }

// Cut ends the pair at once, from any goroutine; reset says how the client learns of it.
func (p *Pair) Cut(reset bool) {
	p.mu.Lock()
	p.cut = true
	p.mu.Unlock()
	if reset {
		resetOnClose(p.conns[Client])
	}
	p.conns[Client].Close()
	p.conns[Backend].Close()
}

// Fail ends the pair from any goroutine because one side is gone: that socket is reset, and the other gets what was read
// for it, then a reset. It does nothing when the pair has ended already.
func (p *Pair) Fail(side Side, err error) {
	if p.record(side, err) {
		resetOnClose(p.conns[side])
		p.part(side)
	}
}

// Bytes returns how many bytes were delivered to the backend (up) and to the client (down) so far.
func (p *Pair) Bytes() (up, down int64) { return p.up.moved.Load(), p.down.moved.Load() }

// Finished says which sides have sent the end of their stream.
func (p *Pair) Finished() (client, backend bool) { return p.up.eof.Load(), p.down.eof.Load() }

// noteEnd is told that the backend has ended or failed.
func (p *Pair) noteEnd() {
	if p.OnEarlyEnd != nil && p.down.moved.Load() == 0 && p.up.begun.Load() && !p.up.eof.Load() {
		p.OnEarlyEnd()
	}
}

// Acknowledged returns a number that grows whenever either peer acknowledges bytes: with data stuck
// in our socket buffers this still moves while the peer reads, however slowly. 0 where it is not known.
func (p *Pair) Acknowledged() uint64 { return acked(p.conns[Client]) + acked(p.conns[Backend]) }

func (p *Pair) end() End {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended == nil {
		return End{}
	}
	return *p.ended
}

// fail records the first failure and lets both directions notice it. What fails later, or by our own
// closing, is only its echo.
func (p *Pair) fail(side Side, err error) {
	if !p.record(side, err) {
		return
	}
	if side == Backend {
		p.noteEnd()
	}
	p.part(side)
}

// record reports whether the failure is the first.
func (p *Pair) record(side Side, err error) (first bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if first = p.ended == nil && !p.cut; first {
		p.ended = &End{Err: err, Side: side}
	}
	return first
}

// part closes the socket of the side that failed, and wakes the direction that reads the other.
func (p *Pair) part(side Side) {
	p.conns[side].Close()
	// The other socket stays open, for it still has to deliver what was written to it: only the
	// direction that reads it is woken.
	p.conns[1-side].SetReadDeadline(longAgo)
}

var longAgo = time.Unix(1, 0)

// closeSide closes one socket so that its peer sees how the other side ended.
func (p *Pair) closeSide(side Side) {
	conn, end := p.conns[side], p.end()
	defer conn.Close()
	switch {
	case end.Err != nil && end.Side != side:
		waitDelivered(conn)
		resetOnClose(conn)
	case end.Err == nil && !p.from(side).eof.Load():
		discard(conn)
	}
}

// from returns the direction that reads that side.
func (p *Pair) from(side Side) *half {
	if side == Client {
		return &p.up
	}
	return &p.down
}

// half is one direction: it reads src and writes dst.
type half struct {
	pair     *Pair
	side     Side // of src
	src, dst Conn
	done     chan struct{}
	moved    atomic.Int64
	begun    atomic.Bool // src has sent something; known before dst has it
	eof      atomic.Bool // src has ended, and dst was told
	failed   error       // of writing to dst; to be read once done is closed
	mover
}

func (h *half) init(p *Pair, from Side, stock *Stock) {
	h.pair, h.side = p, from
	h.src, h.dst = p.conns[from], p.conns[1-from]
	h.done = make(chan struct{})
	h.stock = stock
}

// begin notes that src has sent something.
func (h *half) begin() {
	if !h.begun.Load() { // a load is cheaper than a store
		h.begun.Store(true)
	}
}

// account counts n bytes that were delivered.
func (h *half) account(n int) {
	if h.moved.Add(int64(n)) == int64(n) && n > 0 && h.pair.OnFirst != nil {
		h.pair.OnFirst(h.side)
	}
}

func (h *half) run() {
	defer close(h.done)
	defer h.contain()
	_, err := io.Copy(h.dst, h)
	var w *writeError
	switch {
	case errors.As(err, &w):
		h.refused(w.err)
	case err != nil:
		h.pair.fail(h.side, err)
	default:
		h.ended()
	}
}

// Read makes a direction the io.Reader that io.Copy asks for; io.Copy then calls WriteTo instead.
func (h *half) Read(p []byte) (int, error) { return h.src.Read(p) }

// contain turns a panic of one direction into the end of its session.
func (h *half) contain() {
	if r := recover(); r != nil {
		h.pair.fail(h.side, &PanicError{Value: r, Stack: debug.Stack()})
	}
}

// ended passes on the end of src, if an end is what it was.
func (h *half) ended() {
	if err := h.hiddenReset(); err != nil {
		h.pair.fail(h.side, err)
		return
	}
	if end := h.pair.end(); end.Err != nil && end.Side == h.side {
		return // the other direction was told of the reset, and has closed src since
	}
	if h.side == Backend {
		h.pair.noteEnd()
	}
	h.eof.Store(true)
	h.dst.CloseWrite() // fails only on a socket that is dead, which its own direction finds out
}

// refused takes note that dst takes no more. Its own last words may still be on their way, so the
// other direction goes on; it ends soon, for its source is dead.
func (h *half) refused(err error) {
	h.failed = err
	if h.side == Backend {
		// Whatever the client said before it left, it did not wait for the answer.
		h.pair.fail(Client, err)
	}
}

// other returns the opposite direction, which writes to our src.
func (h *half) other() *half { return h.pair.from(1 - h.side) }

// writeError marks an error as one of writing.
type writeError struct{ err error }

func (e *writeError) Error() string { return e.err.Error() }
func (e *writeError) Unwrap() error { return e.err }

// PanicError is a panic in the code that served one session.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }
