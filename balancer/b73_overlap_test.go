//go:build linux

package balancer_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/rs/zerolog"

	"weir/balancer"
	"weir/config"
	"weir/frontend"
)

// freePort returns a port that nobody listens on, for a test that needs the same one at several addresses.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "[::]:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// overlapping are addresses of one port of which each takes clients that another does, in an order in which each comes
// after each, and whether they take clients to 127.0.0.1 and to ::1.
var overlapping = []struct {
	bind   string
	v4, v6 bool
}{
	{"127.0.0.1:P", true, false}, {":P", true, true}, {"127.0.0.1:P", true, false}, {"0.0.0.0:P", true, false},
	{"[::]:P", true, true}, {"[::1]:P", false, true}, {":P", true, true}, {"[::]:P", true, true}, {"0.0.0.0:P", true, false}, {":P", true, true},
	{"[::1]:P", false, true}, {"[::]:P", true, true}, {"127.0.0.1:P", true, false}, {"[::]:P", true, true}, {"0.0.0.0:P", true, false},
	{"127.0.0.1:P", true, false},
}

func portNumber(t *testing.T, address string) int {
	t.Helper()
	n, err := strconv.Atoi(portOf(t, address))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// visitors come to 127.0.0.1 and ::1 while those are served before and after a change. None may be refused or reset.
type visitors struct {
	t      *testing.T
	port   int
	stop   [2]context.CancelFunc
	visits [2]atomic.Int64
	all    sync.WaitGroup
}

// expect has clients come to the addresses that are served, and to no others.
func (v *visitors) expect(served ...bool) {
	for i, host := range []string{"127.0.0.1", "::1"} {
		if !served[i] && v.stop[i] != nil {
			v.stop[i]()
			v.stop[i] = nil
		}
		if served[i] && v.stop[i] == nil {
			ctx, stop := context.WithCancel(v.t.Context())
			v.stop[i] = stop
			for range 2 {
				v.all.Go(func() { visitUntil(ctx, v.t, net.JoinHostPort(host, strconv.Itoa(v.port)), &v.visits[i]) })
			}
		}
	}
	if v.stop[0] == nil || v.stop[1] == nil {
		// Those who are on their way there are to have arrived before their address goes.
		v.settle()
	}
}

// settle waits for further visits to all that is served.
func (v *visitors) settle() {
	for i := range v.visits {
		if v.stop[i] == nil {
			continue
		}
		before := v.visits[i].Load()
		eventually(v.t, "further visits", func() bool { return v.visits[i].Load() > before+5 || v.t.Failed() })
	}
}

func (v *visitors) end() {
	for _, stop := range v.stop {
		if stop != nil {
			stop()
		}
	}
	v.all.Wait()
}

// From one address to another that overlaps it: no client is refused who comes to what is served before and after.
func TestB73Reload(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		s := mirror(t)
		port := freePort(t)
		file := func(bind string) string {
			return fmt.Sprintf("[[frontend]]\nname = \"f\"\nengine = %q\nbind_on = %q\n", engine, strings.Replace(bind, "P", strconv.Itoa(port), 1)) +
				to(s.addr()) + noProbes
		}
		w := startWeirFile(t, file(overlapping[0].bind))
		v := &visitors{t: t, port: port}
		defer v.end()
		v.expect(true, false)
		for round := range 3 {
			for i, at := range overlapping[1:] {
				was := overlapping[i]
				v.expect(was.v4 && at.v4, was.v6 && at.v6)
				if err := w.canPlan(file(at.bind)); err != nil {
					t.Fatalf("round %d: %s to %s: plan: %v", round, was.bind, at.bind, err)
				}
				w.mustReload(file(at.bind))
				v.expect(at.v4, at.v6)
				v.settle()
				if t.Failed() {
					t.Fatalf("round %d: from %s to %s", round, was.bind, at.bind)
				}
			}
		}
		want := file(overlapping[0].bind)
		if got := w.b.Addrs("f"); len(got) != 1 || !strings.Contains(want, got[0].String()) {
			t.Errorf("listens on %v in the end", got)
		}
	})
}

// canPlan asks for the plan of a reload.
func (w *weir) canPlan(file string) error {
	cfg, err := config.Parse("next.toml", []byte(file))
	if err != nil {
		return err
	}
	_, err = w.b.Plan(cfg)
	return err
}

// The same between two frontends, of one engine and of two.
func TestB73BetweenFrontends(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		s := mirror(t)
		port := freePort(t)
		one := func(name, engine, bind string) string {
			return fmt.Sprintf("[[frontend]]\nname = %q\nengine = %q\nbind_on = %q\n", name, engine, strings.Replace(bind, "P", strconv.Itoa(port), 1)) +
				to(s.addr()) + noProbes
		}
		f := one("f", engine, "127.0.0.9:0")
		w := startWeirFile(t, f+one("a", engine, "127.0.0.1:P"))
		v := &visitors{t: t, port: port}
		defer v.end()
		v.expect(true, false)
		for range 3 {
			for _, next := range []string{
				one("b", engine, ":P"),
				one("a", engine, "127.0.0.1:P"),
				one("b", otherEngine[engine], "[::]:P"),
				one("a", engine, "127.0.0.1:P") + one("c", otherEngine[engine], "[::1]:P"),
				one("a", otherEngine[engine], "0.0.0.0:P") + one("c", engine, "[::1]:P"),
				one("c", engine, ":P"),
				one("a", engine, "127.0.0.1:P"),
			} {
				w.mustReload(f + next)
				v.settle()
				if t.Failed() {
					t.Fatalf("after\n%s", next)
				}
			}
		}
	})
}

// An address that somebody else listens on is in use, also when it would be bound beside one of weir's own; and nothing
// changes. The plan says so as well.
func TestB73StrangersAreNoneOfOurs(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		s := mirror(t)
		port := freePort(t)
		shared := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error { // he would share it
			return c.Control(func(fd uintptr) { syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, 15, 1) }) // SO_REUSEPORT
		}}
		stranger, err := shared.Listen(t.Context(), "tcp", fmt.Sprintf("127.0.0.2:%d", port))
		if err != nil {
			t.Fatal(err)
		}
		defer stranger.Close()
		file := func(bind string) string {
			return fmt.Sprintf("[[frontend]]\nname = \"f\"\nengine = %q\nbind_on = \"%s:%d\"\n", engine, bind, port) + to(s.addr()) + noProbes
		}
		w := startWeirFile(t, file("127.0.0.1"))
		for _, bind := range []string{"", "0.0.0.0", "127.0.0.2"} {
			if err := w.canPlan(file(bind)); err == nil || !strings.Contains(err.Error(), "address already in use") {
				t.Errorf("plan for %q: %v, want that the address is in use", bind, err)
			}
			if _, err := w.reload(file(bind)); err == nil || !strings.Contains(err.Error(), "address already in use") {
				t.Errorf("reload to %q: %v, want that the address is in use", bind, err)
			}
		}
		c := w.dial()
		send(t, c, "as before")
		expect(t, c, "as before")
		c.Close()
	})
}

// A socket of another user cannot be joined by one of weir's: plan and reload say so before anything changes.
func TestB73OtherUser(t *testing.T) {
	if os.Getuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("this test needs root")
		}
		t.Skip("SKIPPED: needs root")
	}
	everyEngine(t, func(t *testing.T, engine string) {
		s := mirror(t)
		l := newServer(t) // plain TCP: an MPTCP socket has another inside, which stays its maker's
		f, err := l.File()
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		if err := f.Chown(65534, 65534); err != nil {
			t.Fatal(err)
		}
		there, err := frontend.Inherit([]*os.File{f})
		if err != nil {
			t.Fatal(err)
		}
		file := func(host string) string {
			_, port, _ := net.SplitHostPort(l.Addr().String())
			return fmt.Sprintf("[[frontend]]\nname = \"f\"\nengine = %q\nbind_on = %q\n", engine, net.JoinHostPort(host, port)) + to(s.addr()) + noProbes
		}
		w := startWeirFrom(t, file("127.0.0.1"), there)
		for _, err := range []error{w.canPlan(file("")), func() error { _, err := w.reload(file("")); return err }()} {
			if err == nil || !strings.Contains(err.Error(), "that user 65534 has opened") {
				t.Errorf("got %v, want that it is another user's", err)
			}
		}
		c := w.dial()
		send(t, c, "as before")
		expect(t, c, "as before")
		c.Close()
	})
}

// startWeirFrom is startWeirFile with sockets that are there.
func startWeirFrom(t *testing.T, file string, there *frontend.Inherited) *weir {
	t.Helper()
	before := openDescriptors() // with what is there
	cfg, err := config.Parse("test.toml", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	book := newLogbook()
	w := &weir{t: t, log: book, done: make(chan error, 1)}
	if w.b, err = balancer.NewFrom(t.Context(), cfg, zerolog.New(book), there); err != nil {
		t.Fatal(err)
	}
	w.addr = w.b.Addrs("f")[0].String()
	stop, endStop := context.WithCancel(context.Background())
	kill, endKill := context.WithCancel(context.Background())
	w.stop, w.kill = endStop, endKill
	go func() { w.done <- w.b.Run(stop, kill) }()
	t.Cleanup(func() { w.settle(before) })
	return w
}
