//go:build linux

package balancer_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"weir/backend"
	"weir/frontend"
)

const (
	// millionHeap is how much more memory of our own there may be after a million sessions than after
	// the first few: less than 9 bytes a session, so nothing of any session can have stayed.
	millionHeap = 8 << 20
	// stockPipes is how many descriptors the idle pipes of the stock are, at most.
	stockPipes = 2 * 8
)

// B48: a million short sessions, a third of which go wrong in one way or another.
func TestB48Million(t *testing.T) {
	sessions := 1_000_000
	if underRace {
		sessions /= 10
	}
	if testing.Short() {
		sessions /= 100
		t.Logf("short: %d sessions in place of %d", sessions, 100*sessions)
	}
	everyEngine(t, func(t *testing.T, engine string) {
		m := newMillion(t, engine)
		warm := min(sessions/10, 20_000)
		m.run(warm)
		before := m.measure()
		began := time.Now()
		m.run(sessions)
		took := time.Since(began)
		t.Logf("%d sessions in %v: %.0f a second", sessions, took.Round(time.Millisecond), float64(sessions)/took.Seconds())
		m.wantCounts(warm + sessions)
		m.wantBack(before)
	})
}

// fault is a kind of session.
type fault byte

// The kinds, by the first byte that the client sends.
const (
	goesWell      fault = 'e' // the backend echoes, both sides half-close in turn
	backendFirst  fault = 'h' // the backend finishes first, the client after it
	bulk          fault = 'b' // the backend sends enough for a pipe
	backendResets fault = 'r'
	clientResets  fault = 'c' // after the echo
	clientRuns    fault = 'x' // sends and resets, without waiting
	clientLeaves  fault = 0   // resets as soon as it has connected
)

// faultOf gives session n its kind: of each dozen four go wrong, and one in a thousand is bulk.
func faultOf(n int64) fault {
	if n%1000 == 0 {
		return bulk
	}
	return faults[n%int64(len(faults))]
}

var faults = [...]fault{goesWell, backendResets, goesWell, backendFirst, clientResets, goesWell,
	goesWell, clientRuns, goesWell, backendFirst, clientLeaves, goesWell}

const bulkSize = 256 << 10

// million is weir with its backends, and the clients' side of the test.
type million struct {
	*weir
	lines   atomic.Int64 // logged as errors
	next    atomic.Int64
	resets  atomic.Int64 // by backends
	addrs   []string
	serving sync.WaitGroup
}

// newMillion spreads both sides over several addresses, for the sake of ephemeral ports. One backend of
// six refuses, so every sixth session is tried again.
func newMillion(t *testing.T, engine string) *million {
	t.Helper()
	m := &million{}
	t.Cleanup(m.serving.Wait) // the last of all cleaning up: the servers are closed by then
	tables := to(deadAddress(t)) + noProbes + "[frontend.passive]\nfailures = 0\n"
	for i := range 5 {
		s := serverOn(t, fmt.Sprintf("127.0.48.%d:0", i+1))
		m.serving.Go(func() { m.serve(s) })
		tables = to(s.addr()) + tables
	}
	binds := `bind_on = ["127.0.0.1:0", "127.0.0.2:0", "127.0.0.3:0", "127.0.0.4:0"]`
	log := zerolog.New(lineFunc(func(line string) { m.lines.Add(1); t.Log(line) })).Level(zerolog.ErrorLevel)
	m.weir = startWeirTo(t, engine, binds, tables, newLogbook(), log)
	for _, a := range m.b.Addrs("f") {
		m.addrs = append(m.addrs, a.String())
	}
	return m
}

// run makes n sessions, several at a time.
func (m *million) run(n int) {
	m.t.Helper()
	last := m.next.Load() + int64(n)
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			buf := make([]byte, 64)
			for {
				i := m.next.Add(1)
				if i > last {
					return
				}
				if err := m.session(i, buf); err != nil {
					m.t.Errorf("session %d (%q): %v", i, faultOf(i), err)
					return
				}
			}
		})
	}
	all.Wait()
	m.next.Store(last)
}

// session is the client's part of one session.
func (m *million) session(i int64, buf []byte) error {
	conn, err := quickDialer(patience).Dial("tcp", m.addrs[i%int64(len(m.addrs))])
	if err != nil {
		return err
	}
	c := conn.(*net.TCPConn)
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	f := faultOf(i)
	if f == clientLeaves {
		return c.SetLinger(0)
	}
	said := append(append(buf[:0], byte(f)), "hello, hello"...)
	if _, err := c.Write(said); err != nil {
		return err
	}
	return m.finish(c, f, said)
}

func (m *million) finish(c *net.TCPConn, f fault, said []byte) error {
	switch f {
	case clientRuns:
		return c.SetLinger(0)
	case clientResets:
		if _, err := io.ReadFull(c, make([]byte, len(said))); err != nil {
			return err
		}
		return c.SetLinger(0)
	case backendResets:
		if _, err := c.Read(said); !errors.Is(err, syscall.ECONNRESET) {
			return fmt.Errorf("read until %v, want a reset", err)
		}
		return nil
	case backendFirst:
		if err := readAll(c, []byte("bye")); err != nil {
			return err
		}
		return c.CloseWrite()
	case bulk:
		c.CloseWrite()
		n, err := io.Copy(io.Discard, c)
		if err != nil || n != bulkSize {
			return fmt.Errorf("read %d bytes, then %v; want %d", n, err, bulkSize)
		}
		return nil
	}
	c.CloseWrite()
	return readAll(c, said)
}

// readAll reads exactly that, and the end.
func readAll(c net.Conn, want []byte) error {
	got := make([]byte, 64)
	n, err := io.ReadFull(c, got)
	if err != io.ErrUnexpectedEOF || !bytes.Equal(got[:n], want) {
		return fmt.Errorf("read %q, then %v; want %q and the end", got[:n], err, want)
	}
	return nil
}

// serve is a backend.
func (m *million) serve(s *server) {
	var all sync.WaitGroup
	defer all.Wait()
	for {
		c, err := s.AcceptTCP()
		if err != nil {
			return
		}
		all.Go(func() { m.answer(c) })
	}
}

// answer is the backend's part of one session.
func (m *million) answer(c *net.TCPConn) {
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	buf := make([]byte, 64)
	n, err := c.Read(buf)
	if err != nil {
		return
	}
	switch fault(buf[0]) {
	case backendResets:
		m.resets.Add(1)
		c.SetLinger(0)
		return
	case backendFirst:
		io.WriteString(c, "bye")
		c.CloseWrite()
	case bulk:
		c.Write(make([]byte, bulkSize))
	}
	for ; err == nil; n, err = c.Read(buf) {
		if f := fault(buf[0]); f == goesWell || f == clientResets {
			c.Write(buf[:n])
		}
	}
}

// wantCounts compares what weir has counted with what was done.
func (m *million) wantCounts(sessions int) {
	m.t.Helper()
	c := m.b.Counters("f")
	eventually(m.t, "the last sessions to end", func() bool { return c.Closed.Load() == uint64(sessions) })
	resets, leaves := uint64(m.resets.Load()), uint64(0)
	for i := range int64(sessions) {
		if f := faultOf(i + 1); f == clientResets || f == clientRuns || f == clientLeaves {
			leaves++
		}
	}
	if got := c.Of(frontend.BackendReset); got != resets {
		m.t.Errorf("%d sessions were reset by the backend, want %d", got, resets)
	}
	if got := c.Of(frontend.ClientReset) + c.Of(frontend.ClientLeft); got != leaves {
		m.t.Errorf("%d sessions were reset by the client, want %d", got, leaves)
	}
	if got, want := c.Of(frontend.Normal), uint64(sessions)-resets-leaves; got != want {
		m.t.Errorf("%d sessions went well, want %d", got, want)
	}
	refused := uint64(0)
	for _, s := range m.b.Pool("f").Snapshot() {
		refused += s.Totals.Failed[backend.FailureRefused]
	}
	if refused < uint64(sessions/10) {
		m.t.Errorf("%d dials were refused, want every sixth", refused)
	}
	if n := m.lines.Load(); n > 0 {
		m.t.Errorf("%d errors logged, want none", n)
	}
	m.t.Logf("normal %d, reset by backend %d, by client %d, left %d; dials refused %d",
		c.Of(frontend.Normal), c.Of(frontend.BackendReset), c.Of(frontend.ClientReset), c.Of(frontend.ClientLeft), refused)
}

// holdings is what this process holds.
type holdings struct {
	goroutines, pipes, others int
	heap                      int64
}

// measure waits until no session runs.
func (m *million) measure() (h holdings) {
	m.t.Helper()
	c := m.b.Counters("f")
	eventually(m.t, "all sessions to end", func() bool { return c.Closed.Load() == c.Opened.Load() })
	last := 0
	eventually(m.t, "the backends to finish", func() bool {
		was := last
		last = runtime.NumGoroutine()
		return was == last
	})
	runtime.GC()
	h.heap = heap()
	h.goroutines = runtime.NumGoroutine()
	h.pipes, h.others = descriptors()
	return h
}

// wantBack makes sure that nothing has stayed since before.
func (m *million) wantBack(before holdings) {
	m.t.Helper()
	eventually(m.t, "goroutines to return", func() bool { return runtime.NumGoroutine() <= before.goroutines })
	eventually(m.t, "descriptors to return", func() bool {
		pipes, others := descriptors()
		return others <= before.others && pipes <= max(before.pipes, stockPipes)
	})
	now := m.measure()
	m.t.Logf("before %+v, after %+v", before, now)
	if grown := now.heap - before.heap; grown > millionHeap {
		m.t.Errorf("the heap grew by %d bytes, want at most %d", grown, millionHeap)
	}
}

// descriptors counts this process's descriptors.
func descriptors() (pipes, others int) {
	list, _ := os.ReadDir("/proc/self/fd")
	for _, d := range list {
		if to, _ := os.Readlink("/proc/self/fd/" + d.Name()); strings.HasPrefix(to, "pipe:") {
			pipes++
		} else {
			others++
		}
	}
	return pipes, others
}
