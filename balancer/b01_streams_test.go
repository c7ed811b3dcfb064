//go:build linux

package balancer_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/nettest"

	"weir/frontend"
)

func TestB01ClientHalfClose(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		w, client, server := through(t, engine, "")
		halfClose(t, client, server)
		if s := w.wantEnd(frontend.Normal, "--"); s.BytesUp != 10 || s.BytesDown != 50<<20 {
			t.Errorf("logged %d bytes up and %d down, want 10 and %d", s.BytesUp, s.BytesDown, 50<<20)
		}
	})
}

func TestB02BackendHalfClose(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		w, client, server := through(t, engine, "")
		halfClose(t, server, client)
		if s := w.wantEnd(frontend.Normal, "--"); s.BytesDown != 10 || s.BytesUp != 50<<20 {
			t.Errorf("logged %d bytes up and %d down, want %d and 10", s.BytesUp, s.BytesDown, 50<<20)
		}
	})
}

// halfClose lets one side finish after 10 bytes, and the other answer 50 MiB only then.
func halfClose(t *testing.T, first, second *net.TCPConn) {
	t.Helper()
	send(t, first, "ten bytes.")
	first.CloseWrite()
	expect(t, second, "ten bytes.")
	expectEnd(t, second)
	sent := make(chan [32]byte, 1)
	go func() {
		h := sha256.New()
		io.CopyN(io.MultiWriter(second, h), rand.NewChaCha8([32]byte{1}), 50<<20)
		second.CloseWrite()
		sent <- sum(h)
	}()
	h := sha256.New()
	n, err := io.Copy(h, first)
	if err != nil || n != 50<<20 {
		t.Fatalf("read %d bytes, then %v; want %d and the end", n, err, 50<<20)
	}
	if got, want := sum(h), <-sent; got != want {
		t.Errorf("the answer came out as %x, want %x", got, want)
	}
}

func sum(h hash.Hash) [32]byte { return [32]byte(h.Sum(nil)) }

func TestB03HalfClosedAndSilent(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		const limit = 1500 * time.Millisecond
		for _, side := range []string{"client", "backend"} {
			t.Run(side+" finishes", func(t *testing.T) {
				w, first, second := through(t, engine, `half_close_timeout = "1500ms"`)
				if side == "backend" {
					first, second = second, first
				}
				first.CloseWrite()
				expectEnd(t, second)
				// Traffic re-arms the limit: twice two thirds of it are more than the whole.
				began := time.Now()
				for range 2 {
					<-time.After(limit * 2 / 3)
					send(t, second, "x")
					expect(t, first, "x")
					began = time.Now()
				}
				expectClosed(t, first)
				expectClosed(t, second)
				within(t, "closed", time.Since(began), limit)
				if s := w.ended(); s.Outcome != "half-close timeout" || s.Code[1] != 'L' {
					t.Errorf("session ended with %q %q, want half-close timeout and L", s.Outcome, s.Code)
				}
			})
		}
	})
}

func TestB04ResetFromClient(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		w, client, server := through(t, engine, "")
		send(t, client, "before")
		expect(t, server, "before")
		began := time.Now()
		reset(client)
		expectReset(t, server)
		if took := time.Since(began); took > 100*time.Millisecond {
			t.Logf("the reset took %v, want at most 100ms on an idle machine", took)
		}
		w.wantEnd(frontend.ClientReset, "CD")
	})
}

// What was read before the reset is delivered before it, even to a backend that reads slowly.
func TestB04ResetFromClientAfterData(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		w, client, server := through(t, engine, "")
		data := strings.Repeat("0123456789abcdef", 1<<11)
		send(t, client, data)
		expect(t, server, data[:1])
		eventually(t, "all to be delivered", func() bool { return unread(t, server) == len(data)-1 })
		reset(client)
		expect(t, server, data[1:])
		expectReset(t, server)
		w.wantEnd(frontend.ClientReset, "CD")
	})
}

// The reset of a client that takes no more is told to the relay's write. Its read sees an end, which is none.
func TestB04ResetFromStuckClient(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		w, client, server := through(t, engine, "")
		full := make(chan struct{})
		go func() {
			flood(server)
			close(full)
		}()
		stalled(t, server)
		server.SetWriteDeadline(time.Now()) // so that its read is told, not its write
		<-full
		reset(client)
		expectReset(t, server)
		w.wantEnd(frontend.ClientReset, "CD")
	})
}

func TestB05ResetFromBackend(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		w, client, server := through(t, engine, "")
		const size = 1 << 20
		sent := make(chan [32]byte, 1)
		go func() {
			h := sha256.New()
			io.CopyN(io.MultiWriter(server, h), rand.NewChaCha8([32]byte{2}), size)
			for unacked(t, server) > 0 { // what weir's kernel has not got, a reset destroys at its source
				runtime.Gosched()
			}
			sent <- sum(h)
		}()
		h := sha256.New()
		io.CopyN(h, client, 1000) // starts late: the rest waits in weir and in the kernel
		want := <-sent
		reset(server)
		if n, err := io.CopyN(h, client, size-1000); err != nil {
			t.Fatalf("read %d bytes, then %v; want %d", n, err, size-1000)
		}
		expectReset(t, client)
		if got := sum(h); got != want {
			t.Errorf("the stream came out as %x, want %x", got, want)
		}
		w.wantEnd(frontend.BackendReset, "SD")
	})
}

// The kernel reports a reset once. Here the relay's write is told of it, not its read.
func TestB05ResetFromBackendWhileClientSends(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		w, client, server := through(t, engine, "")
		told := make(chan error, 2)
		go func() {
			for {
				if _, err := client.Write(make([]byte, 1000)); err != nil {
					told <- err
					return
				}
			}
		}()
		io.CopyN(io.Discard, server, 1<<20)
		reset(server)
		_, err := io.Copy(io.Discard, client)
		told <- err
		if a, b := <-told, <-told; !errors.Is(a, syscall.ECONNRESET) && !errors.Is(b, syscall.ECONNRESET) {
			t.Errorf("the client's read and write saw %v and %v, want a reset in one of them", a, b)
		}
		w.wantEnd(frontend.BackendReset, "SD")
	})
}

func TestB06CloseWithUnreadInput(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		for _, leaveUnread := range []bool{false, true} {
			t.Run(fmt.Sprintf("unread=%v", leaveUnread), func(t *testing.T) {
				w, client, server := through(t, engine, "")
				reply := strings.Repeat("the whole reply ", 8<<10)
				stop := make(chan struct{})
				var sending sync.WaitGroup
				sending.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
						}
						if _, err := client.Write([]byte("more and more")); err != nil {
							return
						}
					}
				})
				expect(t, server, "more and more")
				if leaveUnread {
					eventually(t, "unread input", func() bool { return unread(t, server) > 0 })
				}
				send(t, server, reply)
				server.CloseWrite()
				if !leaveUnread {
					go io.Copy(io.Discard, server)
				}
				eventually(t, "the reply to be with weir", func() bool { return unacked(t, server) == 0 })
				server.Close()
				expect(t, client, reply)
				close(stop)
				sending.Wait()
				client.CloseWrite()
				expectClosed(t, client)
				if s := w.ended(); s.BytesDown != int64(len(reply)) {
					t.Errorf("delivered %d bytes, want %d", s.BytesDown, len(reply))
				}
			})
		}
	})
}

func TestB08UrgentByte(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		for _, way := range []string{"up", "down"} {
			for _, before := range []int{4, 4 << 20} { // copied, and spliced
				t.Run(fmt.Sprintf("%s after %d bytes", way, before), func(t *testing.T) {
					w, from, to := through(t, engine, "")
					if way == "down" {
						from, to = to, from
					}
					urgent(t, from, to, before)
					from.CloseWrite()
					expectEnd(t, to)
					to.CloseWrite()
					w.wantEnd(frontend.Normal, "--")
				})
			}
		}
	})
}

func urgent(t *testing.T, from, to *net.TCPConn, before int) {
	t.Helper()
	want := strings.Repeat("A", before) + "U" + "BBBB" + "CCCC"
	go func() {
		io.WriteString(from, want[:before])
		oob(from, "U")
		io.WriteString(from, "BBBB")
	}()
	expect(t, to, want[:before+5]) // without waiting for the end of the stream
	send(t, to, "back")
	expect(t, from, "back")
	send(t, from, "CCCC")
	expect(t, to, "CCCC")
}

func oob(c *net.TCPConn, text string) {
	rc, _ := c.SyscallConn()
	rc.Write(func(fd uintptr) bool {
		return syscall.Sendto(int(fd), []byte(text), syscall.MSG_OOB, nil) != syscall.EAGAIN
	})
}

func TestB09ServerSpeaksFirst(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		w, client, server := through(t, engine, "")
		send(t, server, "220 welcome\r\n")
		expect(t, client, "220 welcome\r\n")
		server.Close()
		expectEnd(t, client)
		client.Close()
		w.wantEnd(frontend.Normal, "--")
	})
}

func TestB10OddChunking(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		w, client, server := through(t, engine, "")
		var both sync.WaitGroup
		var sent, got [2]odd
		for i, c := range []*net.TCPConn{client, server} {
			both.Go(func() { sent[i] = sendOddly(c, uint64(i), 400) })
			both.Go(func() {
				h := sha256.New()
				n, _ := io.Copy(h, c)
				got[1-i] = odd{sum(h), n}
			})
		}
		both.Wait()
		if got != sent {
			t.Errorf("streams came out as %x, want %x", got, sent)
		}
		s := w.wantEnd(frontend.Normal, "--")
		if up, down := sent[0].n, sent[1].n; s.BytesUp != up || s.BytesDown != down {
			t.Errorf("logged %d bytes up and %d down, want %d and %d", s.BytesUp, s.BytesDown, up, down)
		}
	})
}

// odd is what came through a stream.
type odd struct {
	sum [32]byte
	n   int64
}

// sendOddly sends 500 single bytes, then chunks of 1 to 65537 bytes, then the end.
func sendOddly(c *net.TCPConn, seed uint64, chunks int) odd {
	r := rand.New(rand.NewPCG(seed, 7))
	buf := make([]byte, 65537)
	rand.NewChaCha8([32]byte{byte(seed)}).Read(buf)
	h, n := sha256.New(), int64(0)
	for i := range 500 + chunks {
		p := buf[:1]
		if i >= 500 {
			p = buf[:1+r.IntN(len(buf))]
		}
		buf[r.IntN(len(p))]++
		h.Write(p)
		c.Write(p)
		n += int64(len(p))
	}
	c.CloseWrite()
	return odd{sum(h), n}
}

func TestB11BackPressure(t *testing.T) {
	const size = 1 << 30
	const bound = 1 << 20 // of our own memory for one session: two buffers, and noise
	everyEngine(t, func(t *testing.T, engine string) {
		w, client, server := through(t, engine, "")
		send(t, server, "x")
		expect(t, client, "x")
		before := heap()
		sent := make(chan [32]byte, 1)
		go func() { sent <- sendPattern(server, size) }()
		stalled(t, server)
		if grown := heap() - before; grown > bound {
			t.Errorf("weir's memory grew by %d bytes, want at most %d", grown, bound)
		}
		h := sha256.New()
		if n, err := io.CopyBuffer(h, struct{ io.Reader }{client}, make([]byte, 1<<20)); err != nil || n != size {
			t.Fatalf("read %d bytes, then %v; want %d and the end", n, err, size)
		}
		if got, want := sum(h), <-sent; got != want {
			t.Errorf("the stream came out as %x, want %x", got, want)
		}
		client.CloseWrite()
		w.wantEnd(frontend.Normal, "--")
	})
}

// sendPattern sends size bytes that repeat after a prime number of them.
func sendPattern(c *net.TCPConn, size int) [32]byte {
	buf := make([]byte, 1000003)
	rand.NewChaCha8([32]byte{3}).Read(buf)
	h := sha256.New()
	for size > 0 {
		p := buf[:min(len(buf), size)]
		h.Write(p)
		c.Write(p)
		size -= len(p)
	}
	c.CloseWrite()
	return sum(h)
}

// stalled waits until the peer of c takes no more: the send queue is full and does not move.
func stalled(t *testing.T, c *net.TCPConn) {
	t.Helper()
	last, same := -1, 0
	eventually(t, "the sender to stall", func() bool {
		now := unacked(t, c)
		if now == last && now > 0 {
			same++
		} else {
			last, same = now, 0
		}
		return same > 300
	})
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

func TestB12ConnConformance(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		s := newServer(t)
		w := startWeir(t, engine, "", to(s.addr())+noProbes)
		nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
			if c1, err = net.Dial("tcp", w.addr); err != nil {
				return nil, nil, nil, err
			}
			s.SetDeadline(time.Now().Add(patience))
			if c2, err = s.Accept(); err != nil {
				return nil, nil, nil, err
			}
			return c1, c2, func() { c1.Close(); c2.Close() }, nil
		})
	})
}

// unacked returns how much of what was written to c the peer's kernel does not have.
func unacked(t *testing.T, c *net.TCPConn) int { return queue(t, c, syscall.TIOCOUTQ) }

// unread returns how much has arrived at c that nobody has read.
func unread(t *testing.T, c *net.TCPConn) int { return queue(t, c, syscall.TIOCINQ) }

func TestB57CountersAfterRandomWorkload(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		s := newServer(t)
		w := startWeir(t, engine, "", to(s.addr())+noProbes)
		const sessions = 50
		var up, down atomic.Int64
		var both sync.WaitGroup
		for i := range sessions {
			client, server := w.dial(), s.accept()
			both.Go(func() { down.Add(sendOddly(server, uint64(i), i%20).n) })
			both.Go(func() { up.Add(sendOddly(client, uint64(i+sessions), 20-i%20).n) })
			both.Go(func() { io.Copy(io.Discard, server) })
			both.Go(func() { io.Copy(io.Discard, client) })
		}
		both.Wait()
		for range sessions {
			w.wantEnd(frontend.Normal, "--")
		}
		c := w.b.Counters("f")
		if got := [...]uint64{c.Opened.Load(), c.Closed.Load(), c.Of(frontend.Normal), c.BytesUp.Load(), c.BytesDown.Load()}; got !=
			[...]uint64{sessions, sessions, sessions, uint64(up.Load()), uint64(down.Load())} {
			t.Errorf("opened, closed, normal, up, down = %d, want %d %d %d %d %d", got, sessions, sessions, sessions, up.Load(), down.Load())
		}
	})
}
