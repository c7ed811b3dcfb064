//go:build linux

package balancer_test

import (
	"io"
	"net"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weir/frontend"
)

// timely holds what is measured to the limit of a row. Nothing may ever come early; it may come late
// because the machine is busy, so the best of three counts.
func timely(t *testing.T, what string, want time.Duration, measure func() []time.Duration) {
	t.Helper()
	for left := 2; ; left-- {
		got := measure()
		early, late := slices.Min(got) < want*9/10, slices.Max(got) > want*11/10
		if late && !early && left > 0 {
			continue
		}
		if early || late {
			t.Errorf("%s after %v, want %v ± 10 %%", what, got, want)
		}
		return
	}
}

// One session never moves a byte, two move bytes one way only.
func TestB14Idle(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		const limit = time.Second
		s := newServer(t)
		w := startWeir(t, engine, `idle_timeout = "1s"`, to(s.addr())+noProbes)
		timely(t, "closed a silent session, one that had sent and one that had received", limit, func() []time.Duration {
			silent := w.dial()
			silentSince, silentEnd := time.Now(), end(silent)
			s.accept()
			upClient, upServer := open(t, w, s)
			downClient, downServer := open(t, w, s)
			var last time.Time
			for range 9 { // nine quarters of the limit
				<-time.After(limit / 4)
				last = time.Now()
				send(t, upClient, "up")
				send(t, downServer, "down")
				expect(t, upServer, "up")
				expect(t, downClient, "down")
			}
			upEnd, downEnd := end(upClient), end(downClient)
			for range 3 {
				w.wantEnd(frontend.IdleTimeout, "cD")
			}
			return []time.Duration{(<-silentEnd).Sub(silentSince), (<-upEnd).Sub(last), (<-downEnd).Sub(last)}
		})
	})
}

// open returns both ends of one more session with s.
func open(t *testing.T, w *weir, s *server) (client, server *net.TCPConn) {
	t.Helper()
	client = w.dial()
	send(t, client, "x")
	server = s.accept()
	expect(t, server, "x")
	return client, server
}

// end tells when a connection has ended, in whatever way. What still comes is read and forgotten.
func end(c net.Conn) <-chan time.Time {
	at := make(chan time.Time, 1)
	go func() {
		io.Copy(io.Discard, c)
		at <- time.Now()
	}()
	return at
}

// In one session the client stops reading, in the other the backend.
func TestB15StuckReader(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		const limit = 2 * time.Second
		s := newServer(t)
		w := startWeir(t, engine, `idle_timeout = "2s"`, to(s.addr())+noProbes)
		timely(t, "closed both", limit, func() []time.Duration {
			client1, server1 := open(t, w, s)
			client2, server2 := open(t, w, s)
			began := time.Now()
			go flood(client1)
			go flood(server2)
			for range 2 {
				w.wantEnd(frontend.IdleTimeout, "cD")
			}
			took := time.Since(began) // the last byte that moved went a few milliseconds after the first
			for _, reader := range []*net.TCPConn{server1, client2} {
				if unread(t, reader) == 0 {
					t.Error("no data was stuck")
				}
				expectClosed(t, reader)
			}
			expectClosed(t, client1)
			expectClosed(t, server2)
			return []time.Duration{took}
		})
	})
}

// flood writes until it no longer can.
func flood(c net.Conn) {
	chunk := make([]byte, 64<<10)
	for {
		if _, err := c.Write(chunk); err != nil {
			return
		}
	}
}

// A reader may be so slow that weir itself cannot write for longer than the limit: its socket is full,
// and the little that goes out of it makes no room worth waking for. The reader lives, and so it stays.
// In one session it is the client that reads slowly, in the other the backend.
func TestB15SlowReader(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		const limit = 2 * time.Second
		s := newServer(t)
		control(t, s, smallBuffer)
		w := startWeir(t, engine, `idle_timeout = "2s"`, to(s.addr())+noProbes)
		var slow [2]slowReader
		for i := range slow {
			client := dialWith(t, w.addr, smallBuffer)
			send(t, client, "x")
			server := s.accept()
			expect(t, server, "x")
			slow[i] = slowReader{to: client, from: server}
			if i == 1 {
				slow[i] = slowReader{to: server, from: client}
			}
			go flood(slow[i].from)
		}
		for range 36 {
			<-time.After(limit / 16)
			for i := range slow {
				slow[i].read(t)
			}
		}
		for i, want := range []frontend.Outcome{frontend.ClientReset, frontend.BackendReset} {
			// The kernel takes from the sender what weir takes from the kernel.
			if slow[i].quiet < limit {
				t.Errorf("weir took data at least every %v, want it kept from that for %v", slow[i].quiet, limit)
			}
			reset(slow[i].to)
			w.wantEnd(want, []string{"CD", "SD"}[i]) // and not of idleness, before
		}
	})
}

// slowReader reads an endless stream a little at a time.
type slowReader struct {
	to, from *net.TCPConn

	left  int           // what the sender still has
	since time.Time     // when that changed
	quiet time.Duration // the longest that it has not changed
}

func (r *slowReader) read(t *testing.T) {
	t.Helper()
	if _, err := io.CopyN(io.Discard, r.to, 8<<10); err != nil {
		t.Fatalf("a slow reader was ended: %v", err)
	}
	if now := unacked(t, r.from); now != r.left || r.since.IsZero() {
		r.left, r.since = now, time.Now()
	}
	r.quiet = max(r.quiet, time.Since(r.since))
}

// smallBuffer keeps the receive window small, if it is called before there is one. The kernel opens the
// window in steps of half the buffer: in larger steps a slow reader looks like one that is stuck.
func smallBuffer(fd uintptr) {
	unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 8<<10)
}

// control calls f with a socket's descriptor.
func control(t *testing.T, c syscall.Conn, f func(fd uintptr)) {
	t.Helper()
	rc, err := c.SyscallConn()
	if err == nil {
		err = rc.Control(f)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// dialWith connects a client whose socket f has been called with.
func dialWith(t *testing.T, addr string, f func(fd uintptr)) *net.TCPConn {
	t.Helper()
	d := net.Dialer{
		Timeout: patience,
		Control: func(_, _ string, c syscall.RawConn) error { return c.Control(f) },
	}
	c, err := d.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return patient(t, c).(*net.TCPConn)
}

// In one session the client is far away, in the other the backend, and then the wire is cut.
func TestB16PeerVanishes(t *testing.T) {
	if !inNetns(t) {
		return
	}
	const userTimeout = "user_timeout = \"1s\"\n[frontend.keepalive]\nidle = \"0s\"\n"
	const keepalive = "user_timeout = \"0s\"\n[frontend.keepalive]\nidle = \"1s\"\ninterval = \"1s\"\ncount = 2\n"
	everyEngine(t, func(t *testing.T, engine string) {
		for _, tc := range []struct {
			name, keys string
			lost       string // sent when nobody is there any more
			arpFails   bool   // before the time is up; the kernel then reports that
			after      time.Duration
		}{
			{"data unacknowledged", userTimeout, "lost", false, time.Second},
			{"data unacknowledged and no neighbour", userTimeout, "lost", true, time.Second},
			{"idle", keepalive, "", false, 3 * time.Second},
		} {
			t.Run(tc.name, func(t *testing.T) {
				f := newFar(t)
				if tc.arpFails {
					failARP(t)
				}
				nearBackend, farBackend := newServer(t), f.server()
				w := startWeir(t, engine, first+`bind_on = "`+near+`:0"`,
					tc.keys+to(nearBackend.addr(), "max_connections = 1")+to(farBackend.addr())+noProbes)
				farClient := f.dial(w.addr)
				nearServer := nearBackend.accept()
				settled(t, nearServer, farClient)
				nearClient := w.dial()
				settled(t, nearClient, farBackend.accept())

				f.vanish()
				vanished := time.Now()
				send(t, nearServer, tc.lost)
				send(t, nearClient, tc.lost)
				one, other := w.ended(), w.ended()
				if took := time.Since(vanished); took < tc.after*9/10 {
					t.Errorf("the last session ended after %v, want %v at least", took, tc.after)
				}
				if one.Outcome > other.Outcome {
					one, other = other, one
				}
				if got := [...]string{one.Outcome, one.Code, other.Outcome, other.Code}; got !=
					[...]string{"backend timed out", "sD", "client timed out", "cD"} {
					t.Errorf("sessions ended with %q (errors %q and %q), want a backend and a client timed out", got, one.Error, other.Error)
				}
				expectReset(t, nearServer)
				expectReset(t, nearClient)
			})
		}
	})
}

// settled exchanges some bytes such that nothing which was sent to there waits for acknowledgement.
func settled(t *testing.T, here, there net.Conn) {
	t.Helper()
	send(t, here, "over")
	expect(t, there, "over")
	send(t, there, "out") // its segment acknowledges all before
	expect(t, here, "out")
}

func TestB19SessionTimeout(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		s := newServer(t)
		w := startWeir(t, engine, `session_timeout = "1s"`, to(s.addr())+noProbes)
		timely(t, "closed", time.Second, func() []time.Duration {
			client := w.dial()
			began := time.Now()
			ended := end(client)
			go flood(client)
			server := s.accept()
			go sendBack(server)
			took := (<-ended).Sub(began)
			line := w.wantEnd(frontend.SessionTimeout, "PD")
			if line.BytesUp == 0 || line.BytesDown == 0 {
				t.Errorf("logged %d bytes up and %d down, want traffic both ways", line.BytesUp, line.BytesDown)
			}
			expectClosed(t, server)
			return []time.Duration{took}
		})
	})
}

func TestB19SessionTimeoutWhileConnecting(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		w := startWeir(t, engine, `session_timeout = "1s"
			connect_timeout = "15s"`, to(blackHole(t))+noProbes)
		timely(t, "closed", time.Second, func() []time.Duration {
			client := w.dial()
			began := time.Now()
			expectEnd(t, client)
			took := time.Since(began)
			w.wantEnd(frontend.SessionTimeout, "PC")
			return []time.Duration{took}
		})
	})
}

func TestB19Jitter(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		const sessions, limit = 20, time.Second
		s := newServer(t)
		w := startWeir(t, engine, "session_timeout = \"1s\"\nsession_jitter = 50", to(s.addr())+noProbes)
		timely(t, "closed the last session", limit, func() []time.Duration {
			for range sessions {
				open(t, w, s)
			}
			shortest, longest := time.Hour, time.Duration(0)
			for range sessions {
				took := milliseconds(w.wantEnd(frontend.SessionTimeout, "PD").TotalMS)
				shortest, longest = min(shortest, took), max(longest, took)
			}
			if shortest < limit/2 {
				t.Errorf("a session lasted only %v, want %v at least", shortest, limit/2)
			}
			// That 20 of them fall into a fifth of the time by chance has a probability of 10⁻¹².
			if longest-shortest < limit/10 {
				t.Errorf("all sessions lasted %v to %v, want them spread", shortest, longest)
			}
			return []time.Duration{max(longest, limit)}
		})
	})
}

// milliseconds reads a duration in a log line.
func milliseconds(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }
