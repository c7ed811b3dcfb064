package reactor

import (
	"testing"

	"golang.org/x/sys/unix"

	"weir/frontend/reactor/loop"
)

// on runs f on the server's only loop and waits for it.
func on(t testing.TB, s *Server, f func(p *port)) {
	t.Helper()
	s.reactor.each(t.Context(), func(i int, _ *core) { f(s.ports[i]) })
}

// Sessions that follow each other use one socket towards the backend, whoever closes first.
func TestSocketIsUsedAgain(t *testing.T) {
	r := newRaw(t)
	at, s := serving(t, r.addr)
	weir := inetSockaddr(at)
	used := make(map[int]bool)
	for i := range 20 {
		client, server := r.exchange(t, weir)
		if i%2 == 0 {
			r.closeInTurn(t, client, server)
		} else {
			r.closeInTurn(t, server, client)
		}
		for open := true; open; {
			on(t, s, func(p *port) { open = p.sessions != nil })
		}
		on(t, s, func(p *port) {
			if len(p.resting) != 1 {
				t.Fatalf("%d sockets rest between two sessions, want 1", len(p.resting))
			}
			used[p.resting[0].fd] = true
		})
	}
	if len(used) != 1 {
		t.Errorf("%d different sockets were used one after the other, want 1", len(used))
	}
}

// connection returns both ends of a loopback connection.
func (r *raw) connection(t *testing.T) (client, server int) {
	t.Helper()
	client, _ = loop.Socket(unix.AF_INET)
	loop.Connect(client, inetSockaddr(r.addr))
	r.wait(t, r.fd)
	server, errno := loop.Accept(r.fd, &r.sa)
	if errno != 0 {
		t.Fatal(errno)
	}
	return client, server
}

// lay makes fd rest since that turn.
func (p *port) lay(fd int, turn uint64) *resting {
	r := p.takeResting()
	r.port, r.fd, r.family, r.turn = p, fd, unix.AF_INET, turn
	r.key, _ = p.Add(fd, events, r)
	p.resting = append(p.resting, r)
	p.rest.Arm(&r.timer, r, restTime)
	return r
}

// A socket is not used again in the turn in which it came to rest: what was told of its last connection
// would be taken for news of the next.
func TestRestLastsATurn(t *testing.T) {
	r := newRaw(t)
	_, s := serving(t, r.addr)
	client, server := r.connection(t)
	loop.ShutdownWrite(client)
	loop.Close(server)
	on(t, s, func(p *port) {
		p.lay(client, p.Turn())
		if got := p.rouse(unix.AF_INET); got != nil {
			t.Error("a socket was used again in the turn in which it came to rest")
		}
		p.resting[0].turn--
		if got := p.rouse(unix.AF_INET6); got != nil {
			t.Error("an IPv4 socket was given to who wanted IPv6")
		}
		got := p.rouse(unix.AF_INET)
		if got == nil || got.fd != client {
			t.Fatalf("got %v for a socket that has rested a turn", got)
		}
		if errno := loop.Connect(client, inetSockaddr(r.addr)); errno != unix.EINPROGRESS {
			t.Errorf("connecting it once more: %v", errno)
		}
		got.close()
	})
}

// A socket whose backend has not acknowledged its end may have to say it again.
func TestUnacknowledgedSocketRests(t *testing.T) {
	r := newRaw(t)
	_, s := serving(t, r.addr)
	client, server := r.connection(t)
	defer loop.Close(server)
	on(t, s, func(p *port) {
		p.lay(client, p.Turn()-1)
		if got := p.rouse(unix.AF_INET); got != nil {
			t.Error("a connected socket was used again")
		}
		if len(p.resting) != 1 {
			t.Error("it does not rest any more")
		}
	})
}

// A socket that is told of an error while it rests is closed: the error would be taken for the next
// connection's.
func TestFailedSocketRestsNoMore(t *testing.T) {
	r := newRaw(t)
	_, s := serving(t, r.addr)
	client, server := r.connection(t)
	on(t, s, func(p *port) { p.lay(client, p.Turn()) })
	loop.ResetOnClose(server)
	loop.Close(server)
	for left := 1; left > 0; {
		on(t, s, func(p *port) { left = len(p.resting) })
	}
}
