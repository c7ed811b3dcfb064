//go:build linux

package balancer_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/backend"
	"weir/backend/sockopt"
	"weir/frontend"
)

// first makes a pool try its backends in the order of the file.
const first = "strategy = \"first\"\n"

// touchy ejects any backend after one failure that it is to blame for.
const touchy = "[frontend.passive]\nfailures = 1\nmax_ejected = 100\n"

const neverEject = "[frontend.passive]\nfailures = 0\n"

// name is the key that names a backend.
func name(s string) string { return fmt.Sprintf("name = %q", s) }

func TestB20NextBackend(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		s := newServer(t)
		w := startWeir(t, engine, first, to(deadAddress(t), name("dead"))+to(s.addr(), name("alive"))+noProbes)
		client, server := open(t, w, s)
		finish(t, client, server)
		if line := w.wantEnd(frontend.Normal, "--"); line.Tries != 2 || line.Backend != "alive" {
			t.Errorf("served by %q after %d tries, want alive after 2", line.Backend, line.Tries)
		}
		w.wantFailed(0, backend.FailureRefused, 1)
		w.wantFailed(1, backend.FailureRefused, 0)
	})
}

// finish lets the client ask and the server answer, each to its end.
func finish(t *testing.T, client, server halfCloser) {
	t.Helper()
	send(t, client, "question")
	client.CloseWrite()
	expect(t, server, "question")
	expectEnd(t, server)
	send(t, server, "answer")
	server.CloseWrite()
	expect(t, client, "answer")
	expectEnd(t, client)
}

// halfCloser is a TCP or a unix socket.
type halfCloser interface {
	net.Conn
	CloseWrite() error
}

// wantFailed checks how many attempts to connect to backend i have failed for that reason.
func (w *weir) wantFailed(i int, why backend.Failure, want uint64) {
	w.t.Helper()
	if got := failed(w, i, why); got != want {
		w.t.Errorf("backend %d: %d attempts failed as %q, want %d", i, got, why, want)
	}
}

func failed(w *weir, i int, why backend.Failure) uint64 {
	return w.b.Pool("f").Snapshot()[i].Totals.Failed[why]
}

func TestB20AllRefuse(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		// Two tries at once, then again, with pauses that leave time to say something.
		w := startWeir(t, engine, first+"retries = 3",
			to(deadAddress(t), name("a"))+to(deadAddress(t), name("b"))+noProbes+neverEject)
		for _, words := range []string{"", "what was sent must not turn the end into a reset"} {
			client := w.dial()
			send(t, client, words)
			expectEnd(t, client)
			line := w.wantEnd(frontend.ConnectRefused, "SC")
			if line.Tries != 4 || line.Backend == "" || !strings.Contains(line.Error, "dial backend "+line.Backend+":") {
				t.Errorf("%d tries, the last of %q: %q; want 4, and an error that names the last", line.Tries, line.Backend, line.Error)
			}
		}
		if n := failed(w, 0, backend.FailureRefused) + failed(w, 1, backend.FailureRefused); n != 8 {
			t.Errorf("%d attempts were refused, want 8", n)
		}
	})
}

func TestB20AllRefuseReset(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		w := startWeir(t, engine, first+"retries = 1\non_no_backend = \"reset\"",
			to(deadAddress(t), name("a"))+to(deadAddress(t), name("b"))+noProbes)
		c, err := net.DialTimeout("tcp", w.addr, patience)
		if err == nil {
			_, err = patient(t, c).Read(make([]byte, 1))
		}
		if !errors.Is(err, syscall.ECONNRESET) { // it may come before we know that we are connected
			t.Errorf("the client got %v, want a reset", err)
		}
		if line := w.wantEnd(frontend.ConnectRefused, "SC"); line.Tries != 2 || line.Backend != "b" {
			t.Errorf("%d tries, the last of %q; want 2 and b", line.Tries, line.Backend)
		}
	})
}

func TestB20SameBackendAgain(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		w := startWeir(t, engine, "retries = 3", to(deadAddress(t), name("dead"))+noProbes)
		expectEnd(t, w.dial())
		line := w.wantEnd(frontend.ConnectRefused, "SC")
		if line.Tries != 4 || line.Backend != "dead" {
			t.Errorf("%d tries of %q, want 4 of dead", line.Tries, line.Backend)
		}
		if pauses := 100.0 + 200 + 400; line.TotalMS < pauses {
			t.Errorf("gave up after %v ms, want pauses of %v ms between the tries", line.TotalMS, pauses)
		}
		w.wantFailed(0, backend.FailureRefused, 4)
	})
}

// The only backend starts while a client waits for it.
func TestB20BackendReturns(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		path := filepath.Join(t.TempDir(), "b")
		w := startWeir(t, engine, "retries = 10", to("unix:"+path)+noProbes)
		client := w.dial()
		w.log.next(t, "trying another backend")
		l := listenUnix(t, path)
		finish(t, client, acceptUnix(t, l))
		if line := w.wantEnd(frontend.Normal, "--"); line.Tries < 2 {
			t.Errorf("served after %d tries, want more than 1", line.Tries)
		}
	})
}

// A backup takes over in the middle of a session's search.
func TestB20Backup(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		s := newServer(t)
		w := startWeir(t, engine, "", to(s.addr(), name("backup"), "backup = true")+to(deadAddress(t))+noProbes)
		client, server := open(t, w, s)
		finish(t, client, server)
		if line := w.wantEnd(frontend.Normal, "--"); line.Tries != 2 || line.Backend != "backup" {
			t.Errorf("served by %q after %d tries, want backup after 2", line.Backend, line.Tries)
		}
	})
}

// blackHole returns an address that never answers: its accept queue is full, so that the kernel drops
// every SYN.
func blackHole(t *testing.T) string {
	t.Helper()
	s := newServer(t)
	setBacklog(t, s, 0)
	d := net.Dialer{Timeout: 100 * time.Millisecond}
	for range 10 {
		c, err := d.Dial("tcp", s.addr())
		if err != nil {
			return s.addr()
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Fatal("the accept queue does not fill up")
	return ""
}

// setBacklog changes the length of the accept queue of a listening socket. 0 leaves room for one.
func setBacklog(t *testing.T, l syscall.Conn, n int) {
	t.Helper()
	if err := sockopt.SetBacklog(l, n); err != nil {
		t.Fatal(err)
	}
}

func TestB21BlackHole(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		s := newServer(t)
		w := startWeir(t, engine, first+`connect_timeout = "1s"`,
			to(blackHole(t), name("hole"))+to(s.addr(), name("alive"))+noProbes+neverEject)
		tried := uint64(0)
		timely(t, "served by the next backend", time.Second, func() []time.Duration {
			began := time.Now()
			client, server := open(t, w, s)
			took := time.Since(began)
			finish(t, client, server)
			if line := w.wantEnd(frontend.Normal, "--"); line.Tries != 2 || line.Backend != "alive" {
				t.Errorf("served by %q after %d tries, want alive after 2", line.Backend, line.Tries)
			}
			tried++
			w.wantFailed(0, backend.FailureTimeout, tried)
			return []time.Duration{took}
		})
	})
}

func TestB21BlackHoleAlone(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		w := startWeir(t, engine, "retries = 0\nconnect_timeout = \"1s\"", to(blackHole(t), name("hole"))+noProbes)
		timely(t, "closed, and logged a connect time", time.Second, func() []time.Duration {
			began := time.Now()
			expectEnd(t, w.dial())
			took := time.Since(began)
			line := w.wantEnd(frontend.ConnectTimeout, "sC")
			if line.Backend != "hole" || line.Tries != 1 {
				t.Errorf("%d tries, the last of %q; want 1 of hole", line.Tries, line.Backend)
			}
			return []time.Duration{took, milliseconds(line.ConnectMS)}
		})
	})
}

// A unix socket whose queue is full answers at once, and tells so.
func TestB21UnixQueueFull(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		path := filepath.Join(t.TempDir(), "busy")
		busy := listenUnix(t, path)
		setBacklog(t, busy, 0)
		waiting := dialUnix(t, path)
		s := newServer(t)
		w := startWeir(t, engine, first, to("unix:"+path)+to(s.addr(), name("alive"))+noProbes)
		client, server := open(t, w, s)
		finish(t, client, server)
		if line := w.wantEnd(frontend.Normal, "--"); line.Tries != 2 || line.Backend != "alive" {
			t.Errorf("served by %q after %d tries, want alive after 2", line.Backend, line.Tries)
		}
		w.wantOnlyFailed(0, backend.FailureTimeout)
		finish(t, waiting, acceptUnix(t, busy))
	})
}

// connecting returns a client for which weir is trying to connect, in vain and for long.
func connecting(t *testing.T, engine string) (*weir, *net.TCPConn) {
	t.Helper()
	w := startWeir(t, engine, `connect_timeout = "15s"`, to(blackHole(t))+noProbes+touchy)
	client := w.dial()
	eventually(t, "weir to connect", func() bool { return w.b.Pool("f").Snapshot()[0].Active == 1 })
	return w, client
}

func TestB24ClientLeaves(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		for _, what := range []string{"before a word", "after some words"} {
			t.Run(what, func(t *testing.T) {
				w, client := connecting(t, engine)
				if what == "after some words" {
					send(t, client, "hello")
				}
				reset(client)
				w.wantLeft()
				w.wantFailed(0, backend.FailureCanceled, 1)
			})
		}
	})
}

// wantLeft checks that the only session is over because its client left, long before the connect
// timeout, and that nobody else is blamed for it.
func (w *weir) wantLeft() {
	w.t.Helper()
	line := w.wantEnd(frontend.ClientLeft, "CC")
	if line.TotalMS > 5000 {
		w.t.Errorf("the client's leaving was noticed after %v ms", line.TotalMS)
	}
	if s := w.b.Pool("f").Snapshot()[0]; s.Active != 0 || s.State != backend.Up {
		w.t.Errorf("the backend is %s with %d sessions, want up with none", s.State, s.Active)
	}
}

func TestB24ClientLeavesInPause(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		w := startWeir(t, engine, "retries = 100", to(deadAddress(t))+noProbes)
		client := w.dial()
		w.log.next(t, "trying another backend")
		reset(client)
		w.wantLeft()
	})
}

func TestB24UnixClientLeaves(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		path := filepath.Join(t.TempDir(), "f")
		w := startWeir(t, engine, fmt.Sprintf("connect_timeout = \"15s\"\nbind_on = %q", "unix:"+path),
			to(blackHole(t))+noProbes)
		client := dialUnix(t, path)
		eventually(t, "weir to connect", func() bool { return w.b.Pool("f").Snapshot()[0].Active == 1 })
		client.Close()
		w.wantLeft()
	})
}

// Whoever only stops sending waits for an answer.
func TestB24HalfCloseIsNotLeaving(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		for _, words := range []string{"", "some words"} {
			t.Run(fmt.Sprintf("%d bytes", len(words)), func(t *testing.T) {
				s := newServer(t)
				w := startWeir(t, engine, first+`connect_timeout = "300ms"`, to(blackHole(t))+to(s.addr())+noProbes)
				client := w.dial()
				io.WriteString(client, words)
				client.CloseWrite()
				server := s.accept()
				expect(t, server, words)
				expectEnd(t, server)
				send(t, server, "answer")
				server.CloseWrite()
				expect(t, client, "answer")
				expectEnd(t, client)
				if line := w.wantEnd(frontend.Normal, "--"); line.Tries != 2 {
					t.Errorf("%d tries, want 2", line.Tries)
				}
			})
		}
	})
}
