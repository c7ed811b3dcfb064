//go:build linux

package balancer_test

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"weir/backend"
	"weir/frontend"
)

func TestB22Unreachable(t *testing.T) {
	if !inNetns(t) {
		return
	}
	f := newFar(t)
	failARP(t)
	routes := []struct{ what, backend string }{
		{"unreachable", "10.98.0.1:1"},
		{"prohibited", "10.98.0.2:1"},
		{"black hole", "10.98.0.3:1"},
		{"no route", "10.98.0.4:1"},
		{"no neighbour", "10.99.0.99:1"},
		{"router says unreachable", "10.97.0.1:1"},
		{"router says prohibited", "10.97.0.2:1"},
	}
	ip(t, "route", "add", "unreachable", "10.98.0.1")
	ip(t, "route", "add", "prohibit", "10.98.0.2")
	ip(t, "route", "add", "blackhole", "10.98.0.3")
	ip(t, "route", "add", "10.97.0.0/24", "via", there)
	f.do(func() error { // the far end is a router
		return errors.Join(setSysctl("ipv4/ip_forward", "1"), setSysctl("ipv4/icmp_ratelimit", "0"),
			runIP("route", "add", "unreachable", "10.97.0.1"), runIP("route", "add", "prohibit", "10.97.0.2"))
	})

	everyEngine(t, func(t *testing.T, engine string) {
		for _, r := range routes {
			t.Run(r.what, func(t *testing.T) {
				w := startWeir(t, engine, "retries = 0", to(r.backend, name("far"))+noProbes)
				expectEnd(t, w.dial())
				if line := w.wantEnd(frontend.ConnectUnreachable, "SC"); line.Backend != "far" || line.Tries != 1 {
					t.Errorf("%d tries, the last of %q; want 1 of far", line.Tries, line.Backend)
				}
				w.wantOnlyFailed(0, backend.FailureUnreachable)
			})
		}
		t.Run("all of them, then one that is not", func(t *testing.T) {
			s := newServer(t)
			backends := ""
			for _, r := range routes {
				backends += to(r.backend)
			}
			w := startWeir(t, engine, first+"retries = 10", backends+to(s.addr(), name("alive"))+noProbes)
			client, server := open(t, w, s)
			finish(t, client, server)
			if line := w.wantEnd(frontend.Normal, "--"); line.Backend != "alive" || line.Tries != len(routes)+1 {
				t.Errorf("served by %q after %d tries, want alive after %d", line.Backend, line.Tries, len(routes)+1)
			}
			for i := range routes {
				w.wantOnlyFailed(i, backend.FailureUnreachable)
			}
		})
	})
}

// wantOnlyFailed checks that one attempt to connect to backend i has failed, for that reason.
func (w *weir) wantOnlyFailed(i int, why backend.Failure) {
	w.t.Helper()
	s := w.b.Pool("f").Snapshot()[i]
	var want backend.Totals
	want.Sessions, want.Failed[why] = s.Totals.Sessions, 1
	if s.Totals != want {
		w.t.Errorf("backend %s: attempts failed %v times, by reason; want once, as %q", s.Backend.Name(), s.Totals.Failed, why)
	}
}

const ports = 10

// fewPorts leaves the namespace that many ephemeral ports. Servers and clients need others.
func fewPorts(t *testing.T) {
	t.Helper()
	sysctl(t, "ipv4/ip_local_port_range", fmt.Sprintf("%d %d", 40000, 40000+ports-1))
}

// unixWeir is a weir whose clients need no port, and which ejects a backend after one failure that the
// backend is to blame for.
func unixWeir(t *testing.T, engine, frontendKeys, backends string) *weir {
	t.Helper()
	bind := fmt.Sprintf("bind_on = %q\n", "unix:"+filepath.Join(t.TempDir(), "f"))
	return startWeir(t, engine, bind+frontendKeys, backends+noProbes+touchy)
}

// hold returns both ends of one more session with s, for a weir on a unix socket.
func hold(t *testing.T, w *weir, s *server) (client net.Conn, server *net.TCPConn) {
	t.Helper()
	client = dialUnix(t, w.addr)
	send(t, client, "x")
	server = s.accept()
	expect(t, server, "x")
	return client, server
}

// wantNoPort checks that the next session finds no port, and that no backend is blamed for it.
func (w *weir) wantNoPort() {
	w.t.Helper()
	expectEnd(w.t, dialUnix(w.t, w.addr))
	w.wantEnd(frontend.NoResources, "RC")
	for _, s := range w.b.Pool("f").Snapshot() {
		if s.State != backend.Up {
			w.t.Errorf("backend %s is %s (%s), want it up", s.Backend.Name(), s.State, s.Reason)
		}
	}
}

func TestB47PortsRunOut(t *testing.T) {
	if !inNetns(t) {
		return
	}
	fewPorts(t)
	everyEngine(t, func(t *testing.T, engine string) {
		s := serverOn(t, "127.0.0.2:5000")
		w := unixWeir(t, engine, "retries = 0", to(s.addr()))
		client, server := hold(t, w, s)
		for range ports - 1 {
			hold(t, w, s)
		}
		w.wantNoPort()
		w.wantFailed(0, backend.FailureResource, 1)
		server.Close()
		expectEnd(t, client)
		client.Close()
		w.wantEnd(frontend.Normal, "--")
		hold(t, w, s) // a port is free again
	})
}

func TestB47OtherBackend(t *testing.T) {
	if !inNetns(t) {
		return
	}
	fewPorts(t)
	everyEngine(t, func(t *testing.T, engine string) {
		a, b := serverOn(t, "127.0.0.2:5000"), serverOn(t, "127.0.0.3:5000")
		w := unixWeir(t, engine, first+"retries = 1", to(a.addr(), name("a"))+to(b.addr(), name("b")))
		for range ports {
			hold(t, w, a)
		}
		client, server := hold(t, w, b)
		server.Close()
		expectEnd(t, client)
		client.Close()
		if line := w.wantEnd(frontend.Normal, "--"); line.Backend != "b" || line.Tries != 2 {
			t.Errorf("served by %q after %d tries, want b after 2", line.Backend, line.Tries)
		}
		w.wantFailed(0, backend.FailureResource, 1)
		for range ports {
			hold(t, w, b)
		}
		w.wantNoPort()
	})
}

func TestB47OtherSourceAddress(t *testing.T) {
	if !inNetns(t) {
		return
	}
	fewPorts(t)
	everyEngine(t, func(t *testing.T, engine string) {
		s := serverOn(t, "127.0.0.2:5000")
		w := unixWeir(t, engine, `source_address = ["127.0.0.5", "127.0.0.6"]`+"\nretries = 0", to(s.addr()))
		takePorts(t, "127.0.0.5", s)
		for range ports {
			_, server := hold(t, w, s)
			if from := server.RemoteAddr().(*net.TCPAddr).IP.String(); from != "127.0.0.6" {
				t.Errorf("connected from %s, want 127.0.0.6", from)
			}
		}
		w.wantNoPort()
		w.wantFailed(0, backend.FailureResource, 1)
	})
}

// takePorts uses up every port of an address that connections to s can come from.
func takePorts(t *testing.T, from string, s *server) {
	t.Helper()
	d := net.Dialer{
		Timeout:   patience,
		LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)},
		// A port that bind(2) gave is of no use to any other connection, whatever its address.
		Control: func(_, _ string, c syscall.RawConn) error {
			return c.Control(func(fd uintptr) {
				unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
			})
		},
	}
	for range ports {
		c, err := d.Dial("tcp", s.addr())
		if err != nil {
			t.Fatal(err)
		}
		patient(t, c)
		s.accept()
	}
}
