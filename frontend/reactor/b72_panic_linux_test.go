package reactor

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"weir/backend"
	"weir/backend/contain"
	"weir/frontend"
	"weir/frontend/rate"
)

const b72Patience = 20 * time.Second

// echoes is a server that sends back what it gets.
func echoes(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { io.Copy(c, c); c.Close() }()
		}
	}()
	return netip.MustParseAddrPort(l.Addr().String())
}

func call(t *testing.T, at netip.AddrPort) (reply string, err error) {
	t.Helper()
	c, err := net.DialTimeout("tcp", at.String(), b72Patience)
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(b72Patience))
	io.WriteString(c, "ping")
	got := make([]byte, 4)
	n, err := io.ReadFull(c, got)
	return string(got[:n]), err
}

func mustCall(t *testing.T, at netip.AddrPort) {
	t.Helper()
	if got, err := call(t, at); got != "ping" || err != nil {
		t.Fatalf("got %q and %v, want ping", got, err)
	}
}

func (s *Server) alive(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), b72Patience)
	defer cancel()
	if !s.reactor.Alive(ctx) {
		t.Fatal("a loop does not answer")
	}
}

// B72: what is posted to a loop, by a walk, a cut, a look-up, ends neither the loop nor whoever waits for it.
func TestB72PanicOnALoop(t *testing.T) {
	got := make(chan contain.Panic, 100)
	guard := contain.New(func(p contain.Panic) { got <- p })
	at, s := servingWith(t, echoes(t), guard)
	mustCall(t, at)
	for _, what := range []struct {
		name string
		do   func() error
	}{
		{"posted", func() error { s.ports[0].Post(func() { panic("posted") }); return nil }},
		{"asked of every core", func() error {
			s.reactor.each(t.Context(), func(int, *core) { panic("asked of every core") })
			return nil
		}},
		{"a step of a walk", func() error {
			return s.ports[0].newWalk(frontend.Inspect{}).on(t.Context(), func() { panic("a step of a walk") })
		}},
	} {
		if err := what.do(); what.name == "a step of a walk" && err != errPanicked {
			t.Errorf("%s: got %v, want %v", what.name, err, errPanicked)
		}
		select {
		case p := <-got:
			if p.Value != what.name || !bytes.Contains(p.Stack, []byte("b72_panic_linux_test.go")) {
				t.Errorf("%s: reported %v", what.name, p.Value)
			}
		case <-time.After(b72Patience):
			t.Fatalf("%s: no panic was reported", what.name)
		}
		s.alive(t)
		mustCall(t, at)
	}
}

// B72: a panic about a client that comes ends nothing but that client. The listener pauses, and goes on.
func TestB72PanicAtTheDoor(t *testing.T) {
	guard := contain.New(nil)
	at, s := servingWith(t, echoes(t), guard)
	mustCall(t, at)
	rules := *s.Current()
	broken := rules
	broken.Admission.Clients = new(rate.Clients) // not one that was made
	s.SetRules(broken)
	if got, err := call(t, at); got != "" || err == nil {
		t.Errorf("got %q and %v, want that the client is sent away", got, err)
	}
	if guard.Count() == 0 {
		t.Error("no panic was counted")
	}
	s.alive(t)
	s.SetRules(rules)
	for range 5 {
		mustCall(t, at)
	}
}

// B72: a look-up that panics is an address that cannot be had.
func TestB72PanicOfALookUp(t *testing.T) {
	guard := contain.New(nil)
	_, s := servingWith(t, echoes(t), guard)
	pool, err := backend.NewPool(backend.PoolOptions{
		Strategy: "cyclic", Backends: []backend.Options{{Name: "b", Network: "tcp", Address: "localhost:1", Weight: 1, Up: true}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var broken struct{ context.Context } // panics whatever it is asked
	if found, err := s.ports[0].resolve(broken, pool.Backends()[0]); found != nil || !errors.Is(err, errResolve) || guard.Count() != 1 {
		t.Errorf("got %v and %v, with %d panics", found, err, guard.Count())
	}
}
