//go:build linux

package balancer_test

import (
	"io"
	"net"
	"testing"
	"time"

	"weir/frontend"
)

// In one session the client pauses, in the other the backend, with data waiting for it, for many times as long as a
// peer that is gone would last.
func TestB75ReaderPauses(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		const limit, size = time.Second, 8 << 20
		s := newServer(t)
		control(t, s, smallBuffer)
		w := startWeir(t, engine, `dead_peer_timeout = "1s"`, to(s.addr())+noProbes)
		var pausing [2]slowReader
		for i := range pausing {
			client := dialWith(t, w.addr, smallBuffer)
			send(t, client, "x")
			server := s.accept()
			expect(t, server, "x")
			pausing[i] = slowReader{to: client, from: server}
			if i == 1 {
				pausing[i] = slowReader{to: server, from: client}
			}
			go func() {
				pausing[i].from.Write(make([]byte, size))
				pausing[i].from.CloseWrite()
			}()
		}
		<-time.After(7 * limit)
		for i := range pausing {
			if waits := unread(t, pausing[i].to); waits == 0 {
				t.Error("no data was waiting")
			}
			if got, err := io.Copy(io.Discard, pausing[i].to); err != nil || got != size {
				t.Errorf("after the pause %d of %d bytes arrived, then %v", got, size, err)
			}
			pausing[i].to.Close()
			w.wantEnd(frontend.Normal, "--")
		}
	})
}

// In one session the client is far away, in the other the backend, and then the wire is cut: with data on it, with data
// that is sent every now and then, and while a peer that pauses has closed its window.
func TestB76PeerIsGone(t *testing.T) {
	if !inNetns(t) {
		return
	}
	const limit = 2 * time.Second
	everyEngine(t, func(t *testing.T, engine string) {
		for _, tc := range []struct {
			name   string
			before func(t *testing.T, sender, gone *net.TCPConn)
			after  func(t *testing.T, sender net.Conn)
			most   time.Duration
			end    func(t *testing.T, c net.Conn) // who writes all the while may be told of a reset by that
		}{
			{"data unacknowledged", settle, func(t *testing.T, c net.Conn) { send(t, c, "lost") }, limit * 12 / 10, expectReset},
			{"data now and then", settle, sendNowAndThen, limit * 12 / 10, expectClosed},
			{"window closed", closeWindow, func(*testing.T, net.Conn) {}, limit*12/10 + 4*time.Second, expectClosed},
		} {
			t.Run(tc.name, func(t *testing.T) {
				f := newFar(t)
				nearBackend, farBackend := newServer(t), f.server()
				w := startWeir(t, engine, first+`bind_on = "`+near+`:0"
					dead_peer_timeout = "2s"`, to(nearBackend.addr(), "max_connections = 1")+to(farBackend.addr())+noProbes)
				farClient := f.dial(w.addr)
				nearServer := nearBackend.accept()
				tc.before(t, nearServer, farClient)
				nearClient := w.dial()
				tc.before(t, nearClient, farBackend.accept())

				f.vanish()
				vanished := time.Now()
				tc.after(t, nearServer)
				tc.after(t, nearClient)
				one, other := w.ended(), w.ended()
				if took := time.Since(vanished); took < limit*9/10 || took > tc.most {
					t.Errorf("the last session ended after %v, want %v to %v", took, limit*9/10, tc.most)
				}
				if one.Outcome > other.Outcome {
					one, other = other, one
				}
				if got := [...]string{one.Outcome, one.Code, other.Outcome, other.Code}; got !=
					[...]string{"backend timed out", "sD", "client timed out", "cD"} {
					t.Errorf("sessions ended with %q (errors %q and %q), want a backend and a client timed out", got, one.Error, other.Error)
				}
				tc.end(t, nearServer)
				tc.end(t, nearClient)
			})
		}
	})
}

func settle(t *testing.T, sender, gone *net.TCPConn) { settled(t, sender, gone) }

// sendNowAndThen goes on until it can no longer.
func sendNowAndThen(_ *testing.T, c net.Conn) {
	go func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for range tick.C {
			if _, err := c.Write([]byte("lost")); err != nil {
				return
			}
		}
	}()
}

// closeWindow sends until nothing moves any more.
func closeWindow(t *testing.T, sender, gone *net.TCPConn) {
	settled(t, sender, gone)
	go flood(sender)
	left, since := -1, time.Now()
	eventually(t, "the window to be closed", func() bool {
		if now := unacked(t, sender); now != left {
			left, since = now, time.Now()
		}
		return left > 0 && time.Since(since) > time.Second
	})
}
