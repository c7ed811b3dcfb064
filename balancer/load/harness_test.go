package load

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testLimit bounds every test that talks.
const testLimit = 20 * time.Second

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), testLimit)
	t.Cleanup(cancel)
	return ctx
}

// crews are the ways to do the work: a run's results are the same with each.
var crews = map[string]func(*run) (crew, error){
	"own":        newCrew,
	"goroutines": func(r *run) (crew, error) { return newGoroutines(r), nil },
}

// eachCrew runs a test with each crew.
func eachCrew(t *testing.T, f func(t *testing.T, generate func(Options) *Result)) {
	for name, hire := range crews {
		t.Run(name, func(t *testing.T) {
			f(t, func(o Options) *Result {
				t.Helper()
				r, err := generate(testContext(t), o, hire)
				if err != nil {
					t.Fatal(err)
				}
				return r
			})
		})
	}
}

// startEcho starts an echo server for the test.
func startEcho(t testing.TB, o EchoOptions) Address {
	t.Helper()
	return startEchoAt(t, Address{"tcp", "127.0.0.1:0"}, o)
}

func startEchoAt(t testing.TB, at Address, o EchoOptions) Address {
	t.Helper()
	o.Log = zerolog.Nop()
	e, err := ListenEcho(t.Context(), []Address{at}, o)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- e.Serve() }()
	t.Cleanup(func() {
		e.Close()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return Address{at.Network, e.Addrs()[0].String()}
}

// startServer answers each connection with f.
func startServer(t *testing.T, f func(net.Conn)) Address {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	conns := make(chan net.Conn, 1000)
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.SetDeadline(time.Now().Add(testLimit))
			conns <- c
			go func() { defer c.Close(); f(c) }()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
		close(conns)
		for c := range conns {
			c.Close()
		}
	})
	return Address{"tcp", l.Addr().String()}
}

func wantErrors(t *testing.T, r *Result, kind string, n int64) {
	t.Helper()
	if len(r.Errors) != 1 || r.Errors[kind] != n {
		t.Errorf("errors: got %v, want %d of %q", r.Errors, n, kind)
	}
}

func wantDone(t *testing.T, r *Result, n int64) {
	t.Helper()
	if len(r.Errors) > 0 || r.Started != n || r.Done != n || r.NotStarted != 0 {
		t.Errorf("got %d started, %d done, %d not started, errors %v; want %d done", r.Started, r.Done, r.NotStarted, r.Errors, n)
	}
}
