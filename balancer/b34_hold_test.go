//go:build linux

package balancer_test

import (
	"fmt"
	"net"
	"testing"
	"time"

	"weir/backend"
	"weir/frontend"
)

// holding keeps clients while no backend is usable.
const holding = "on_no_backend = \"hold\"\n"

const noBackendLeft = `"message":"no backend is left"`

// B34: who comes while every backend is down is held, and goes on when the probes bring one back. There is
// one alarm an episode, however many clients there are.
func TestB34HoldUntilUp(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		const clients = 50
		a := echoOn(t, "127.0.0.31:0", "a")
		w := startWeir(t, engine, holding, to(a.addr())+queueTable(clients)+probes("5s", "20ms", 1, 1))
		for episode := 1; episode <= 2; episode++ {
			a.Close()
			w.state(0, backend.Down)
			var held []*net.TCPConn
			for range clients {
				held = append(held, w.dial())
			}
			w.wantQueued(clients)
			expectEnd(t, w.dial())
			w.wantEnd(frontend.QueueFull, "PQ")
			a = echoOn(t, a.addr(), "a")
			for _, c := range held {
				w.served(c, "a", 1)
			}
			if got := w.log.count(noBackendLeft); got != episode {
				t.Errorf("%d alarms in %d episodes", got, episode)
			}
		}
	})
}

// served checks that an echo server serves a client that was held, after that many tries.
func (w *weir) served(c *net.TCPConn, name string, tries int) {
	w.t.Helper()
	if got, err := ask(c); got != name || err != nil {
		w.t.Fatalf("a client got %q, %v; want to be served by %s", got, err, name)
	}
	c.CloseWrite()
	expectEnd(w.t, c)
	if line := w.wantEnd(frontend.Normal, "--"); line.Tries != tries || line.WaitedMS <= 0 {
		w.t.Errorf("served with %d tries after %v ms, want %d, and more than 0 ms", line.Tries, line.WaitedMS, tries)
	}
}

// B34: the same with backends that clients' attempts have ejected: they are tried again when their time out
// is over, and no probe is needed for it.
func TestB34HoldUntilEjectionEnds(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		const out = 3 * time.Second
		a := echoOn(t, "127.0.0.31:0", "a")
		a.Close()
		w := startWeir(t, engine, holding, to(a.addr())+queueTable(100)+noProbes+touchy+`eject_for = "3s"`)
		unlucky := w.dial()
		w.log.next(t, "backend is ejected")
		began := time.Now()
		w.wantQueued(1) // it has kept its place
		held := w.dial()
		w.wantQueued(2)
		echoOn(t, a.addr(), "a")
		w.served(unlucky, "a", 2)
		within(t, "served again", time.Since(began), out)
		w.served(held, "a", 1)
		if got := w.log.count(noBackendLeft); got != 1 {
			t.Errorf("%d alarms, want one", got)
		}
	})
}

// B34: nobody is held for longer than the queue's timeout.
func TestB34HoldTimeout(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		const timeout = 2 * time.Second
		w := startWeir(t, engine, holding+`on_refuse = "reset"`, to(deadAddress(t))+
			queueTable(100, `timeout = "2s"`)+probes("5s", "20ms", 1, 1)+"initial = \"down\"\n")
		began := time.Now()
		c := w.dial()
		w.wantQueued(1)
		expectReset(t, c)
		within(t, "let go", time.Since(began), timeout)
		if line := w.wantEnd(frontend.QueueTimeout, "sQ"); line.Tries != 0 || line.Backend != "" {
			t.Errorf("%d tries, of %q; want none", line.Tries, line.Backend)
		}
		w.wantQueued(0)
	})
}

// B23 again: who was tried to be served in vain, is held, and leaves then, leaves the queue.
func TestB34HeldAfterAFailureLeaves(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		dead := deadAddress(t)
		w := startWeir(t, engine, holding, to(dead)+queueTable(100)+noProbes+touchy+`eject_for = "1h"`)
		c := w.dial()
		w.wantQueued(1)
		reset(c)
		if line := w.wantEnd(frontend.ClientLeft, "CQ"); line.Tries != 1 || line.Backend != dead {
			t.Errorf("%d tries, the last of %q; want one of %s", line.Tries, line.Backend, dead)
		}
		w.wantQueued(0)
	})
}

// Those who wait for a slot when the last backend goes down are held with "hold", and else refused at once.
func TestB34DownWhileQueued(t *testing.T) {
	for _, c := range []struct {
		how  string
		hold bool
	}{{"refuse", false}, {"close", false}, {"hold", true}} {
		t.Run(c.how, func(t *testing.T) {
			everyEngine(t, func(t *testing.T, engine string) {
				a := echoOn(t, "127.0.0.31:0", "a")
				w := startWeir(t, engine, fmt.Sprintf("on_no_backend = %q", c.how),
					to(a.addr(), "max_connections = 1")+queueTable(100)+probes("5s", "20ms", 1, 1))
				holder := w.dialTo("a")
				waiting := []*net.TCPConn{w.dial(), w.dial()}
				w.wantQueued(2)
				a.Close() // the session that it has goes on
				w.state(0, backend.Down)
				if !c.hold {
					for _, c := range waiting {
						expectEnd(t, c)
						w.wantEnd(frontend.NoBackend, "SC")
					}
				}
				ping(t, holder)
				holder.CloseWrite()
				expectEnd(t, holder)
				w.wantEnd(frontend.Normal, "--")
				if !c.hold {
					w.wantQueued(0)
					return
				}
				w.wantQueued(2) // the slot is free, but it is that of a backend which is down
				echoOn(t, a.addr(), "a")
				served := make(chan *net.TCPConn, 2)
				for _, c := range waiting {
					go func() {
						if got, _ := ask(c); got == "a" {
							c.CloseWrite()
						}
						served <- c
					}()
				}
				for range waiting {
					expectEnd(t, next(t, served))
					w.wantEnd(frontend.Normal, "--")
				}
			})
		})
	}
}
