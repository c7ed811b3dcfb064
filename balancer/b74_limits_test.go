//go:build linux

package balancer_test

import (
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weir/frontend"
)

// fileOf is a file with one frontend on one backend, as startWeir makes it.
func fileOf(engine, keys, tables string) string {
	return "[frontend]\nname = \"f\"\nengine = \"" + engine + "\"\nbind_on = \"127.0.0.1:0\"\n" + keys + "\n" + tables + "\n"
}

// Sessions that say nothing hear of a limit that a reload makes shorter: one that has been silent for longer than that,
// which ends at once, and one that has just begun. There are more of them than are told in one turn.
func TestB74TimeLimitsByReload(t *testing.T) {
	const limit, sessions = time.Second, 300
	for _, tc := range []struct {
		name, before, after string
		half                bool
		outcome             frontend.Outcome
		code                string
	}{
		{"idle", `idle_timeout = "1h"`, `idle_timeout = "1s"`, false, frontend.IdleTimeout, "cD"},
		{"idle, none before", `idle_timeout = "0"`, `idle_timeout = "1s"`, false, frontend.IdleTimeout, "cD"},
		{"half-close", `half_close_timeout = "1h"`, `half_close_timeout = "1s"`, true, frontend.HalfCloseTimeout, "cL"},
		{"half-close, none before", `half_close_timeout = "0"`, `half_close_timeout = "1s"`, true, frontend.HalfCloseTimeout, "cL"},
		{"session", `session_timeout = "1h"`, `session_timeout = "1s"`, false, frontend.SessionTimeout, "PD"},
		{"session, none before", `session_timeout = "0"`, `session_timeout = "1s"`, false, frontend.SessionTimeout, "PD"},
		{"session, with jitter", "session_timeout = \"1h\"\nsession_jitter = 1", "session_timeout = \"1s\"\nsession_jitter = 100", false, frontend.SessionTimeout, "PD"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			everyEngine(t, func(t *testing.T, engine string) {
				s := newServer(t)
				tables := to(s.addr()) + noProbes
				w := startWeirFile(t, fileOf(engine, tc.before, tables))
				begin := func() {
					client, server := open(t, w, s)
					if tc.half {
						client.CloseWrite()
						expectEnd(t, server)
					}
				}
				for range sessions {
					begin()
				}
				<-time.After(limit)
				last := time.Now()
				begin()
				w.mustReload(fileOf(engine, tc.after, tables))
				reloaded := time.Now()
				for i := range sessions + 1 {
					w.wantEnd(tc.outcome, tc.code)
					if took := time.Since(reloaded); i == sessions-1 && took > 2*limit {
						t.Errorf("sessions that were over the new limit at the reload ended %v after it", took)
					}
				}
				// A last look may be a quarter of the limit late, and a busy machine later than that.
				if took := time.Since(last); tc.outcome != frontend.SessionTimeout && took < limit*9/10 || took > 3*limit {
					t.Errorf("the session that had just begun ended after %v, want about %v", took, limit)
				}
			})
		})
	}
}

// A longer limit holds as well: nobody is ended by the one that was.
func TestB74LongerTimeLimitsByReload(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		s := newServer(t)
		tables := to(s.addr()) + noProbes
		w := startWeirFile(t, fileOf(engine, "idle_timeout = \"1s\"\nsession_timeout = \"1s\"", tables))
		client, server := open(t, w, s)
		w.mustReload(fileOf(engine, "idle_timeout = \"1h\"\nsession_timeout = \"0\"", tables))
		<-time.After(1500 * time.Millisecond)
		send(t, client, "still here")
		expect(t, server, "still here")
		finishBoth(t, client, server)
		w.wantEnd(frontend.Normal, "--")
	})
}

// Those who wait in the queue when its timeout changes go by the new one, counted from when they began to wait.
func TestB74QueueTimeoutByReload(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		s := newServer(t)
		tables := func(timeout string) string {
			return to(s.addr(), "max_connections = 1") + queueTable(9, `timeout = "`+timeout+`"`) + noProbes
		}
		w := startWeirFile(t, fileOf(engine, "", tables("1h")))
		open(t, w, s)
		for range 3 {
			w.session(w.dial(), frontend.PhaseQueued)
		}
		w.mustReload(fileOf(engine, "", tables("1s")))
		for range 3 {
			if line := w.wantEnd(frontend.QueueTimeout, "sQ"); line.WaitedMS < 900 || line.WaitedMS > 1500 {
				t.Errorf("waited %v ms, want about 1000", line.WaitedMS)
			}
		}
	})
}

// A session that waits, is being refused, or has left the queue relays nothing, and no limit of silence holds for it. All
// the while the limits that hold for others are looked at.
func TestSessionsWithoutABackendAreLookedAt(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		s := newServer(t)
		w := startWeir(t, engine, "idle_timeout = \"100ms\"\nhalf_close_timeout = \"100ms\"\non_refuse = \"speak\"\nprotocol = \"postgres\"",
			to(s.addr(), "max_connections = 1")+queueTable(9, `timeout = "500ms"`)+noProbes)
		client, server := open(t, w, s)
		stop := talk(t, client, server, 10*time.Millisecond)
		for range 3 { // each waits, is refused, and says nothing until its time for that is over
			w.dial()
		}
		for range 3 {
			if line := w.wantEnd(frontend.QueueTimeout, "sQ"); line.TotalMS < 2000 {
				t.Errorf("a client that was to be told why was let go after %v ms", line.TotalMS)
			}
		}
		stop()
		finishBoth(t, client, server)
		w.wantEnd(frontend.Normal, "--")
	})
}

// talk has the client of a session say a word every now and then, until stop.
func talk(t *testing.T, client, server net.Conn, every time.Duration) (stop func()) {
	t.Helper()
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				client.Write([]byte("x"))
				server.Read(make([]byte, 1))
			case <-end:
				return
			}
		}
	}()
	return func() { close(end); <-ended }
}

// While the process is stopped nobody is silent: a session that had time left has it afterwards, whether its client said
// something meanwhile or says it then. What is limited is a session's time as a whole.
func TestPauseOfTheProcessIsNoSilence(t *testing.T) {
	const limit = time.Second
	everyEngine(t, func(t *testing.T, engine string) {
		s := newServer(t)
		c, addr := startChildWeir(t, engine, 200, "idle_timeout = \"1s\"\nhalf_close_timeout = \"1s\"", to(s.addr())+noProbes)
		w := &weir{t: t, log: c.log, addr: addr}
		type pair struct{ client, server *net.TCPConn }
		var spoke, speaks, half []pair
		begin := func() pair {
			client, server := open(t, w, s)
			return pair{client, server}
		}
		for range 6 {
			spoke, speaks, half = append(spoke, begin()), append(speaks, begin()), append(half, begin())
		}
		for _, p := range half {
			p.client.CloseWrite()
			expectEnd(t, p.server)
		}
		silent := begin()
		<-time.After(limit / 2)
		if n := c.log.count("served connection"); n > 0 {
			t.Fatalf("%d sessions ended before half their time was over", n)
		}
		c.signal(unix.SIGSTOP)
		for _, p := range spoke {
			send(t, p.client, "while")
		}
		<-time.After(3 * limit)
		c.signal(unix.SIGCONT)
		goesOn := time.Now()
		for _, p := range spoke {
			expect(t, p.server, "while")
		}
		for _, p := range speaks {
			send(t, p.client, "after")
			expect(t, p.server, "after")
		}
		for _, p := range half {
			send(t, p.server, "after")
			expect(t, p.client, "after")
		}
		expectClosed(t, silent.client)
		if took := time.Since(goesOn); took < limit/4 || took > limit*3/2 {
			t.Errorf("a silent session ended %v after the pause, want it to have the %v that it had left", took, limit/2)
		}
		for range 3*6 + 1 {
			w.ended()
		}
		if got := c.log.count(`"outcome":"idle timeout"`); got != 13 {
			t.Errorf("%d sessions ended as idle, want 13 in the end", got)
		}
	})
}

func TestPauseOfTheProcessCountsForSessionTimeout(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		s := newServer(t)
		c, addr := startChildWeir(t, engine, 200, `session_timeout = "2s"`, to(s.addr())+noProbes)
		w := &weir{t: t, log: c.log, addr: addr}
		client, _ := open(t, w, s)
		c.signal(unix.SIGSTOP)
		<-time.After(2500 * time.Millisecond)
		c.signal(unix.SIGCONT)
		goesOn := time.Now()
		expectClosed(t, client)
		w.wantEnd(frontend.SessionTimeout, "PD")
		if took := time.Since(goesOn); took > time.Second {
			t.Errorf("ended %v after a pause in which its time was over", took)
		}
	})
}

// signal sends the child a signal.
func (c *child) signal(s syscall.Signal) {
	c.t.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		c.t.Fatal(err)
	}
}

// A client that gets no backend may go on sending for a time, but not as much as it likes.
func TestRefusedClientThatSends(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		k := takenWeir(t, engine, "on_refuse = \"speak\"\nprotocol = \"redis\"", "")
		if sent := sendAll(k.dial()); sent > frontend.RefusalBytes+kernelBuffers {
			t.Errorf("sent %d bytes, want %d at most, and what the kernel has room for", sent, frontend.RefusalBytes)
		}
	})
}

// Nor does one whose backend has said all, and hears nothing any more.
func TestClientThatSendsToNobody(t *testing.T) {
	const most = 64 << 20
	everyEngine(t, func(t *testing.T, engine string) {
		_, client, server := through(t, engine, "")
		send(t, server, "bye")
		server.Close() // what comes now is answered with a reset
		expect(t, client, "bye")
		expectEnd(t, client)
		if sent := sendAll(client); sent > most+kernelBuffers {
			t.Errorf("sent %d bytes, want %d at most, and what the kernel has room for", sent, most)
		}
	})
}

// kernelBuffers is more than the buffers of both ends of a connection take (tcp_rmem, tcp_wmem: tcp(7)).
const kernelBuffers = 32 << 20

// sendAll sends until it no longer can, and returns how much it was.
func sendAll(c net.Conn) (sent int) {
	chunk := make([]byte, 64<<10)
	for {
		n, err := c.Write(chunk)
		sent += n
		if err != nil {
			return sent
		}
	}
}

// New clients get the keepalive of a reload, and none when it says so.
func TestKeepaliveByReload(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		s := newServer(t)
		keepalive := func(idle string) string {
			return fileOf(engine, "", fmt.Sprintf("[frontend.keepalive]\nidle = %q\n", idle)+to(s.addr())+noProbes)
		}
		w := startWeirFile(t, keepalive("77s"))
		for _, tc := range []struct {
			idle string
			on   int
			secs int
		}{{"77s", 1, 77}, {"99s", 1, 99}, {"0", 0, 99}, {"55s", 1, 55}} {
			w.mustReload(keepalive(tc.idle))
			client, _ := open(t, w, s)
			fd := socketWithPeer(t, client.LocalAddr().String())
			on, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE)
			secs, err2 := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE)
			if err != nil || err2 != nil || on != tc.on || tc.on == 1 && secs != tc.secs {
				t.Errorf("with idle = %q a client's socket has keepalive %d after %d s (%v, %v)", tc.idle, on, secs, err, err2)
			}
		}
	})
}

// socketWithPeer returns the descriptor of this process that is connected to that address: weir's, for the test's own has
// it at its other end.
func socketWithPeer(t *testing.T, addr string) int {
	t.Helper()
	for fd := range 4096 {
		sa, err := unix.Getpeername(fd)
		if a, ok := sa.(*unix.SockaddrInet4); ok && err == nil && addr == fmt.Sprintf("127.0.0.1:%d", a.Port) {
			return fd
		}
	}
	t.Fatalf("no socket is connected to %s", addr)
	return -1
}
