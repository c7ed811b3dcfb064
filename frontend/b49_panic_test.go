package frontend_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"weir/backend"
	"weir/frontend"
	"weir/frontend/relay"
)

const patience = 20 * time.Second

// bomb is a backend's socket whose Write panics when the client says "bomb".
type bomb struct{ *net.TCPConn }

func (b bomb) Write(p []byte) (int, error) {
	if string(p) == "bomb" {
		panic("the bomb went off")
	}
	return b.TCPConn.Write(p)
}

// B49: a panic in the code of one session ends that session, and no other. It is logged with its stack,
// and what the session held is given back.
func TestB49Panic(t *testing.T) {
	for _, c := range []struct {
		name  string
		first func(net.Conn) (net.Conn, error) // what becomes of the first session's dialled connection
		says  string                           // the first client
		code  string
	}{
		{"while connecting", func(c net.Conn) (net.Conn, error) { c.Close(); panic("the bomb went off") }, "", "LC"},
		{"while relaying", func(c net.Conn) (net.Conn, error) { return bomb{c.(*net.TCPConn)}, nil }, "bomb", "LD"},
	} {
		t.Run(c.name, func(t *testing.T) {
			defer goleak.VerifyNone(t)
			before := openDescriptors()
			f := startFrontend(t, c.first)
			victim := f.dial(t)
			io.WriteString(victim, c.says)
			if _, err := io.Copy(io.Discard, victim); err != nil && !strings.Contains(err.Error(), "reset") {
				t.Errorf("the client of the session that panicked read until %v, want an end or a reset", err)
			}
			victim.Close()
			line := f.log.next(t)
			if line.Level != "error" || line.Outcome != frontend.InternalError.String() || line.Code != c.code ||
				line.Error != "panic: the bomb went off" || !strings.Contains(line.Stack, "b49_panic_test.go") {
				t.Errorf("logged %+v, want an error with code %s, the panic and its stack", line, c.code)
			}
			other := f.dial(t) // with MaxSessions 1: the slot must be back
			for range 3 {
				io.WriteString(other, "ping")
				if _, err := io.ReadFull(other, make([]byte, 4)); err != nil {
					t.Fatalf("another session: %v", err)
				}
			}
			other.Close()
			if line := f.log.next(t); line.Outcome != frontend.Normal.String() {
				t.Errorf("the other session ended with %q, want %q", line.Outcome, frontend.Normal)
			}
			f.stop(t)
			if n := f.Counters().Of(frontend.InternalError); n != 1 || f.Counters().Closed.Load() != f.Counters().Opened.Load() {
				t.Errorf("%d internal errors, %d of %d sessions closed; want 1, and all",
					n, f.Counters().Closed.Load(), f.Counters().Opened.Load())
			}
			if got := f.Pool.Snapshot()[0].Active; got != 0 {
				t.Errorf("%d leases are still out, want none", got)
			}
			if now := openDescriptors(); now > before {
				t.Errorf("%d descriptors, want the %d of before", now, before)
			}
		})
	}
}

// running is a frontend of the copy engine with an echo server behind it.
type running struct {
	*frontend.Copy
	log    *log
	echo   *net.TCPListener
	echoes sync.WaitGroup
	end    context.CancelFunc
	done   chan error
}

func startFrontend(t *testing.T, first func(net.Conn) (net.Conn, error)) *running {
	t.Helper()
	return startFrontendWith(t, frontend.Options{Rules: frontend.Rules{MaxSessions: 1}}, func(n int, c net.Conn) (net.Conn, error) {
		if n == 0 {
			return first(c)
		}
		return c, nil
	})
}

// startFrontendWith has each make of the n-th connection to the echo server what it likes.
func startFrontendWith(t *testing.T, o frontend.Options, each func(n int, c net.Conn) (net.Conn, error)) *running {
	t.Helper()
	r := &running{log: newLog(), done: make(chan error, 1)}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.echo = l.(*net.TCPListener)
	r.echoes.Go(r.serveEcho)
	pool, err := backend.NewPool(backend.PoolOptions{Strategy: "cyclic", Backends: []backend.Options{
		{Name: "b", Network: "tcp", Address: l.Addr().String(), Weight: 1, Up: true},
	}})
	if err != nil {
		t.Fatal(err)
	}
	var dialled atomic.Int64
	o.Name, o.Bind, o.Pool = "f", []frontend.Bind{{Network: "tcp", Address: "127.0.0.1:0"}}, pool
	o.Stock, o.Log = relay.NewStock(0), zerolog.New(r.log)
	o.Dial = func(ctx context.Context, b *backend.Backend) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, b.Network(), b.Address())
		if err != nil {
			return nil, err
		}
		return each(int(dialled.Add(1))-1, c)
	}
	r.Copy, err = frontend.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	r.end = end
	go func() { r.done <- r.Serve(ctx) }()
	return r
}

func (r *running) serveEcho() {
	for {
		c, err := r.echo.Accept()
		if err != nil {
			return
		}
		r.echoes.Go(func() {
			defer c.Close()
			c.SetDeadline(time.Now().Add(patience))
			io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c})
		})
	}
}

func (r *running) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.DialTimeout("tcp", r.Addrs()[0].String(), patience)
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { c.Close() })
	return c
}

// stop must find that every session has ended already, or ends by itself.
func (r *running) stop(t *testing.T) {
	t.Helper()
	r.end()
	if err := <-r.done; err != nil {
		t.Errorf("Serve: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r.Drain(ctx)
	if ctx.Err() != nil {
		t.Error("the sessions had to be cut, want them to end")
	}
	r.echo.Close()
	r.echoes.Wait()
}

// log hands out the lines about sessions that ended.
type log struct{ ended chan served }

type served struct{ Level, Message, Outcome, Code, Error, Stack string }

func newLog() *log { return &log{make(chan served, 10)} }

func (l *log) Write(p []byte) (int, error) {
	var line served
	if json.NewDecoder(bytes.NewReader(p)).Decode(&line) == nil && line.Message == "served connection" {
		l.ended <- line
	}
	return len(p), nil
}

func (l *log) next(t *testing.T) served {
	t.Helper()
	select {
	case line := <-l.ended:
		return line
	case <-time.After(patience):
		t.Fatal("no session ended")
		return served{}
	}
}

func openDescriptors() int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return -1
	}
	return len(list)
}
