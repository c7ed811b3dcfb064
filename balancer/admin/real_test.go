//go:build linux

package admin_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"weir/backend/sockopt"
	"weir/balancer"
	"weir/balancer/admin"
	"weir/config"
)

// everyEngine runs a test once for each engine.
func everyEngine(t *testing.T, run func(t *testing.T, engine string)) {
	for _, engine := range []string{"copy", "reactor"} {
		t.Run(engine, func(t *testing.T) { run(t, engine) })
	}
}

// real is a balancer that runs, with its operator behind a door.
type real struct {
	*house
	b       *balancer.Balancer
	running *admin.Running
	asks    *admin.Client
	file    string

	mu     sync.Mutex
	grown  *sync.Cond
	events []admin.Event
}

// runReal runs a balancer with that file until the end of the test.
func runReal(t *testing.T, text string) *real {
	t.Helper()
	r := &real{file: filepath.Join(t.TempDir(), "weir.toml")}
	r.grown = sync.NewCond(&r.mu)
	r.write(t, text)
	cfg, err := config.Load(r.file)
	if err != nil {
		t.Fatal(err)
	}
	if r.b, err = balancer.New(t.Context(), cfg, zerolog.Nop()); err != nil {
		t.Fatal(err)
	}
	r.running = admin.NewRunning(&admin.Running{
		Balancer: r.b, Version: "weir v1", File: r.file, Started: time.Now(),
		Successor: func(context.Context) (int, error) { return 4711, nil },
	})
	r.house = openFor(t, admin.Options{}, r.running)
	if r.asks, err = admin.NewClient(admin.ClientOptions{Address: "unix:" + r.Addr().String()}); err != nil {
		t.Fatal(err)
	}
	r.run(t)
	return r
}

// run serves until the end of the test.
func (r *real) run(t *testing.T) {
	stop, end := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() {
		if err := r.b.Run(stop, stop); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	events := r.running.Events(stop)
	all.Go(func() {
		for e := range events {
			r.mu.Lock()
			r.events = append(r.events, e)
			r.grown.Broadcast()
			r.mu.Unlock()
		}
	})
	all.Go(func() { r.running.Watch(stop) })
	<-r.b.Started()
	t.Cleanup(func() { end(); all.Wait() })
}

func (r *real) write(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(r.file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// event waits for one that is meant.
func (r *real) event(t *testing.T, what string, is func(*admin.Event) bool) admin.Event {
	t.Helper()
	late := time.AfterFunc(patience, func() { r.mu.Lock(); defer r.mu.Unlock(); r.grown.Broadcast() })
	defer late.Stop()
	deadline := time.Now().Add(patience)
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := 0; ; i++ {
		for i == len(r.events) {
			if time.Now().After(deadline) {
				t.Fatalf("no event of %s: %+v", what, r.events)
			}
			r.grown.Wait()
		}
		if is(&r.events[i]) {
			return r.events[i]
		}
	}
}

// allEvents returns those that there were.
func (r *real) allEvents() []admin.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]admin.Event(nil), r.events...)
}

// address is where a frontend listens first.
func (r *real) address(frontend string) string { return r.b.Addrs(frontend)[0].String() }

// dial connects a client from an address to a frontend.
func (r *real) dial(t *testing.T, from, to string) net.Conn {
	t.Helper()
	d := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	network := "tcp"
	if strings.HasPrefix(to, "/") {
		network, d.LocalAddr = "unix", nil
	}
	c, err := d.Dial(network, to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c
}

// session waits until the session of a client is in that state, and returns it.
func (r *real) session(t *testing.T, client net.Conn, state string) (found admin.Session) {
	t.Helper()
	var last string
	eventually(t, "a session to be "+state, func() bool {
		page, err := r.asks.Sessions(t.Context(), admin.SessionQuery{TCPInfo: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range page.Sessions {
			if s.Client == client.LocalAddr().String() || s.Client == "unix" && client.LocalAddr().Network() == "unix" {
				found, last = s, s.State
			}
		}
		return last == state
	})
	return found
}

// backend returns one as the status tells it.
func (r *real) backend(t *testing.T, frontend, name string) (b admin.Backend, found bool) {
	t.Helper()
	s, err := r.asks.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range s.Frontends {
		for _, b := range f.Pool.Backends {
			if f.Name == frontend && b.Name == name {
				return b, true
			}
		}
	}
	return b, false
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); !is(); <-tick.C {
		if time.Since(began) > patience {
			t.Fatalf("still waiting for %s", what)
		}
	}
}

// echoServer sends back what each client sends, and returns its address.
func echoServer(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
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
			go func() {
				defer c.Close()
				io.Copy(c, c)
				<-t.Context().Done() // it has more to say than its client
			}()
		}
	}()
	return l.Addr().String()
}

// dead returns an address of this host that refuses connections.
func dead(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	at, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", at.(*syscall.SockaddrInet4).Port)
}

// blackHole returns an address to which nobody gets connected, nor is told so.
func blackHole(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	if err := sockopt.SetBacklog(l.(syscall.Conn), 0); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		c, err := net.DialTimeout("tcp", l.Addr().String(), 100*time.Millisecond)
		if err != nil {
			return l.Addr().String()
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Fatal("the accept queue does not fill up")
	return ""
}

// talk sends a line through a session, and reads it back.
func talk(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := io.WriteString(c, "hello\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(c).ReadString('\n'); line != "hello\n" {
		t.Fatalf("got %q, %v", line, err)
	}
}

func jsonOf(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
