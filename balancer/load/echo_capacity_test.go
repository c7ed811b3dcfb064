package load

import (
	"bytes"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"
)

// serveEcho starts an echo server and returns it, with its address.
func serveEcho(t *testing.T, o EchoOptions) (*Echo, Address) {
	t.Helper()
	e, err := ListenEcho(t.Context(), []Address{{"tcp", "127.0.0.1:0"}}, o)
	if err != nil {
		t.Fatal(err)
	}
	var g errgroup.Group
	g.Go(e.Serve)
	t.Cleanup(func() {
		e.Close()
		if err := g.Wait(); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return e, Address{"tcp", e.Addrs()[0].String()}
}

// ask connects, asks, and reports whether an answer came.
func ask(t *testing.T, a Address) (bool, error) {
	c, err := net.DialTimeout(a.Network, a.Address, testLimit)
	if errors.Is(err, syscall.ECONNRESET) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(testLimit))
	return served(c)
}

// wantOverload connects and wants to be reset.
func wantOverload(t *testing.T, a Address) {
	t.Helper()
	if got, err := ask(t, a); got || err != nil {
		t.Fatalf("served: got %v, %v; want a reset", got, err)
	}
}

// served asks and reports whether an answer comes; a reset is none, anything else an error.
func served(c net.Conn) (bool, error) {
	_, err := c.Write([]byte{1})
	if err == nil {
		_, err = io.ReadFull(c, make([]byte, 1))
	}
	if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return false, nil
	}
	return err == nil, err
}

func wantServed(t *testing.T, c net.Conn) {
	t.Helper()
	if got, err := served(c); !got || err != nil {
		t.Fatalf("served: got %v, %v; want an answer", got, err)
	}
}

// wantStats leaves out the times.
func wantStats(t *testing.T, got, want EchoStats) {
	t.Helper()
	got.Busy, got.Asked = 0, 0
	if got != want {
		t.Errorf("stats: got %+v, want %+v", got, want)
	}
}

func TestEchoCapacityOneByOne(t *testing.T) {
	eachEcho(t, func(t *testing.T, o EchoOptions) {
		o.Capacity, o.Log = 3, zerolog.Nop()
		e, a := serveEcho(t, o)
		var conns []net.Conn
		for range 3 {
			c := dialEcho(t, a)
			wantServed(t, c)
			conns = append(conns, c)
		}
		for range 4 {
			wantOverload(t, a)
		}
		for _, c := range conns { // those notice nothing
			wantServed(t, c)
		}
		if got := say(t, conns[1], "bye"); got != "bye" { // it has read the end: the place is free
			t.Errorf("got %q, want bye", got)
		}
		wantServed(t, dialEcho(t, a))
		wantOverload(t, a)
		wantStats(t, e.Stats(), EchoStats{Capacity: 3, Served: 4, Most: 3, Overloads: 5})
	})
}

// All come at once, and stay until each knows what has become of it.
func TestEchoCapacityBurst(t *testing.T) {
	const capacity, beyond = 20, 60
	eachEcho(t, func(t *testing.T, o EchoOptions) {
		o.Capacity, o.Log = capacity, zerolog.Nop()
		e, a := serveEcho(t, o)
		answers := make(chan bool, capacity+beyond)
		var g errgroup.Group
		for range capacity + beyond {
			g.Go(func() error {
				ok, err := ask(t, a)
				answers <- ok
				return err
			})
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		n := 0
		for range capacity + beyond {
			if <-answers {
				n++
			}
		}
		if n != capacity {
			t.Errorf("%d were served, want %d", n, capacity)
		}
		wantStats(t, e.Stats(), EchoStats{Capacity: capacity, Served: capacity, Most: capacity, Overloads: beyond})
	})
}

// One after the other, as fast as they come, never fills more than one place: an end or a reset that has
// arrived is not outrun by the next connection, whichever loop it meets.
func TestEchoCapacityNobodyIsOutrun(t *testing.T) {
	if EchoLoops() == 0 {
		t.Skip("goroutines may be outrun")
	}
	for name, c := range map[string]struct {
		delay time.Duration
		visit func(*testing.T, *net.TCPConn)
	}{
		"end":                           {0, func(t *testing.T, c *net.TCPConn) { wantWelcome(t, c); wantServed(t, c); c.Close() }},
		"reset":                         {0, func(t *testing.T, c *net.TCPConn) { wantWelcome(t, c); wantServed(t, c); hangUp(c) }},
		"reset while the answer is due": {time.Hour, func(t *testing.T, c *net.TCPConn) { wantWelcome(t, c); c.Write([]byte{1}); hangUp(c) }},
		"end without a question":        {0, func(t *testing.T, c *net.TCPConn) { c.Close() }},
		"reset before it is taken in":   {0, func(t *testing.T, c *net.TCPConn) { hangUp(c) }},
	} {
		t.Run(name, func(t *testing.T) {
			eachEcho(t, func(t *testing.T, o EchoOptions) {
				if o.Loops == 0 {
					return
				}
				o.Capacity, o.Name, o.Delay, o.Log = 1, "x", c.delay, zerolog.Nop()
				e, a := serveEcho(t, o)
				for range 200 {
					c.visit(t, dialEcho(t, a).(*net.TCPConn))
				}
				wantWelcome(t, dialEcho(t, a))
				if s := e.Stats(); s.Overloads != 0 || s.Most != 1 {
					t.Errorf("got %v, want no overload", s)
				}
			})
		})
	}
}

// wantWelcome reads the greeting: the server has taken the connection in.
func wantWelcome(t *testing.T, c net.Conn) {
	t.Helper()
	got := make([]byte, 2)
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "x\n" {
		t.Fatalf("greeting: got %q, %v", got, err)
	}
}

func hangUp(c *net.TCPConn) { c.SetLinger(0); c.Close() }

// An answer that is still owed keeps its place: a client may end its stream and wait.
func TestEchoCapacityAnswerOwed(t *testing.T) {
	eachEcho(t, func(t *testing.T, o EchoOptions) {
		o.Capacity, o.Name, o.Delay, o.Log = 1, "x", time.Hour, zerolog.Nop()
		e, a := serveEcho(t, o)
		c := dialEcho(t, a).(*net.TCPConn)
		wantWelcome(t, c)
		c.Write([]byte{1})
		c.CloseWrite()
		for range 20 {
			wantOverload(t, a)
		}
		wantStats(t, e.Stats(), EchoStats{Capacity: 1, Served: 1, Most: 1, Overloads: 20})
	})
}

// Through the lock with a clock of its own: what the log says, and how often.
func TestGuestsTellOnceASecond(t *testing.T) {
	var log bytes.Buffer
	g := newGuests(&EchoOptions{Capacity: 1, Log: zerolog.New(&log)})
	now := time.Duration(0)
	g.now = func() time.Duration { return now }
	one, _ := g.enter(-1)
	for _, at := range []time.Duration{0, 1, overloadEvery - 1, overloadEvery, overloadEvery + 1, 3 * overloadEvery} {
		now = at
		if _, ok := g.enter(-1); ok {
			t.Fatal("there was room for two")
		}
	}
	g.leave(one)
	g.leave(one) // once is enough
	const text = `,"message":"overloaded: a connection beyond the capacity was reset"}` + "\n"
	want := `{"level":"warn","capacity":1,"overloads":1` + text +
		`{"level":"warn","capacity":1,"overloads":4` + text +
		`{"level":"warn","capacity":1,"overloads":6` + text
	if got := log.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if got, want := g.stats(), (EchoStats{Capacity: 1, Served: 1, Most: 1, Overloads: 6, Busy: 3 * time.Second, Asked: 3 * time.Second}); got != want {
		t.Errorf("stats: got %+v, want %+v", got, want)
	}
}

func TestEchoWithoutCapacityCountsNothing(t *testing.T) {
	eachEcho(t, func(t *testing.T, o EchoOptions) {
		o.Log = zerolog.Nop()
		e, a := serveEcho(t, o)
		wantServed(t, dialEcho(t, a))
		if got := e.Stats(); got != (EchoStats{}) {
			t.Errorf("got %+v, want nothing", got)
		}
	})
}
