//go:build linux

package frontend_test

import (
	"context"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"weir/backend/contain"
	"weir/frontend"
	"weir/frontend/rate"
)

// mine is a backend's socket that panics when a sweep asks the kernel about it, as long as it is armed.
type mine struct {
	*net.TCPConn
	armed *atomic.Bool
}

func (m mine) SyscallConn() (syscall.RawConn, error) {
	if m.armed.Load() {
		panic("the mine went off")
	}
	return m.TCPConn.SyscallConn()
}

// reports keeps what a guard contained.
func reports() (*contain.Guard, chan contain.Panic) {
	got := make(chan contain.Panic, 1000)
	return contain.New(func(p contain.Panic) { got <- p }), got
}

func wantPanic(t *testing.T, got <-chan contain.Panic, what, value string) {
	t.Helper()
	select {
	case p := <-got:
		if text, _ := p.Value.(string); p.What != what || value != "" && text != value || !strings.Contains(string(p.Stack), "panic") {
			t.Errorf("reported %q, %v and a stack of %d bytes; want %q, %s", p.What, p.Value, len(p.Stack), what, value)
		}
	case <-time.After(patience):
		t.Fatal("no panic was reported")
	}
}

// B72: a session at which the sweep panics is ended, and keeps no other from its limits, neither the one before it in the
// roster nor the one behind it.
func TestB72PanicInTheSweep(t *testing.T) {
	guard, got := reports()
	armed := new(atomic.Bool)
	f := startFrontendWith(t, frontend.Options{Guard: guard, Rules: frontend.Rules{IdleTimeout: 200 * time.Millisecond}},
		func(n int, c net.Conn) (net.Conn, error) {
			if n == 1 {
				return mine{c.(*net.TCPConn), armed}, nil
			}
			return c, nil
		})
	watching, unwatch := context.WithCancel(context.Background())
	watched := make(chan struct{})
	clients := make([]net.Conn, 3)
	for i := range clients {
		clients[i] = f.dial(t)
		io.WriteString(clients[i], "ping")
		if _, err := io.ReadFull(clients[i], make([]byte, 4)); err != nil {
			t.Fatal(err)
		}
	}
	armed.Store(true)
	go func() { f.Watch(watching); close(watched) }()
	ended := map[string]int{}
	for range clients {
		ended[f.log.next(t).Outcome]++
	}
	if ended[frontend.IdleTimeout.String()] != 2 || ended[frontend.InternalError.String()] != 1 {
		t.Errorf("sessions ended with %v, want two idle timeouts and an internal error", ended)
	}
	wantPanic(t, got, "the sweep of frontend f", "the mine went off")
	armed.Store(false)
	unwatch()
	<-watched
	f.stop(t)
}

// B72: a panic about a client that comes ends nothing but that client, and gives back its slot.
func TestB72PanicAtTheDoor(t *testing.T) {
	guard, got := reports()
	rules := frontend.Rules{MaxSessions: 1}
	f := startFrontendWith(t, frontend.Options{Guard: guard, Rules: rules}, func(_ int, c net.Conn) (net.Conn, error) { return c, nil })
	broken := rules
	broken.Admission.Clients = new(rate.Clients) // not one that was made
	f.SetRules(broken)
	if c, err := net.DialTimeout("tcp", f.Addrs()[0].String(), patience); err == nil { // or it was reset even before
		c.SetDeadline(time.Now().Add(patience))
		if n, err := io.Copy(io.Discard, c); n > 0 || err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("the client got %d bytes and %v", n, err)
		}
		c.Close()
	}
	wantPanic(t, got, "letting in a client of frontend f", "")
	f.SetRules(rules)
	c := f.dial(t)
	io.WriteString(c, "ping")
	if _, err := io.ReadFull(c, make([]byte, 4)); err != nil {
		t.Fatalf("the next client: %v", err)
	}
	c.Close()
	f.stop(t)
}
