package reactor

import (
	"context"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"weir/backend"
	"weir/backend/sockopt"
	"weir/frontend"
	"weir/frontend/relay"
)

// Loops are pinned before they serve, or while they do.
func TestPin(t *testing.T) {
	t.Run("at the start", func(t *testing.T) { pinned(t, false) })
	t.Run("while serving", func(t *testing.T) { pinned(t, true) })
}

// Each loop runs on a core of its own, and gets the clients that connect from there: what a core sends to the
// loopback arrives at the same core.
func pinned(t *testing.T, late bool) {
	var may unix.CPUSet
	if err := unix.SchedGetaffinity(0, &may); err != nil {
		t.Fatal(err)
	}
	if may.Count() < 2 {
		if os.Getenv("CI") == "true" {
			t.Fatal("there is one core only")
		}
		t.Skip("SKIPPED: there is one core only")
	}
	stock := relay.NewStock(0)
	defer stock.Close()
	r, err := New(may.Count(), stock, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if !late {
		if err := r.Pin(); err != nil {
			t.Fatal(err)
		}
	}
	held, err := net.Listen("tcp4", "127.0.0.1:0") // a backend that only listens
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	pool, err := backend.NewPool(backend.PoolOptions{
		Strategy: "cyclic", Backends: []backend.Options{{Name: "b", Network: "tcp", Address: held.Addr().String(), Weight: 1, Up: true}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := r.Open(t.Context(), frontend.Options{
		Name: "f", Bind: []frontend.Bind{{Network: "tcp4", Address: "127.0.0.1:0"}}, Pool: pool, Stock: stock, Log: zerolog.Nop(),
		Rules: frontend.Rules{Dialer: backend.NewDialer(time.Second, sockopt.Options{}, nil)},
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Start()
	stop := serve(t, s)
	defer r.Stop()
	defer stop()
	await(t, "every loop to listen", func() bool {
		listening := 0
		r.each(t.Context(), func(i int, _ *core) {
			if i == len(r.cores)-1 { // the last to be told
				listening = len(s.ports[i].listeners)
			}
		})
		return listening > 0
	})
	if late {
		if err := r.Pin(); err != nil {
			t.Fatal(err)
		}
		reload(t, s)
	}
	for i, cpu := range r.pinned() {
		for range 10 {
			c := dialFrom(t, cpu, s.Addrs()[0].String())
			defer c.Close()
		}
		var sessions int
		var where unix.CPUSet
		await(t, "ten sessions on the loop of the core", func() bool {
			r.each(t.Context(), func(at int, _ *core) {
				if at != i {
					return
				}
				sessions = 0
				for c := s.ports[i].sessions; c != nil; c = c.next {
					sessions++
				}
				unix.SchedGetaffinity(0, &where)
			})
			return sessions >= 10
		})
		if sessions != 10 || where.Count() != 1 || !where.IsSet(cpu) {
			t.Errorf("core %d: its loop has %d sessions, want 10, and may run on %d cores", cpu, sessions, where.Count())
		}
	}
}

// reload has a server go over to the rules and the addresses that it has.
func reload(t *testing.T, s *Server) {
	t.Helper()
	m, err := frontend.NewMove([]frontend.Wanted{{Frontend: "f", Bind: frontend.Bind{Network: "tcp4", Address: "127.0.0.1:0"}}})
	if err != nil {
		t.Fatal(err)
	}
	m.Has(s.Listening())
	m.Settle()
	commit, _, err := s.Listening().Prepare(t.Context(), m, s.Current())
	if err != nil {
		t.Fatal(err)
	}
	m.Commit()
	commit()
}

// await looks again and again, for there is no event to wait for.
func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for late := time.Now().Add(20 * time.Second); !is(); runtime.Gosched() {
		if time.Now().After(late) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// serve serves until the function it returns is called, which cuts what is left.
func serve(t *testing.T, s *Server) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan struct{})
	go func() { s.Serve(ctx); close(served) }()
	return func() {
		cancel()
		<-served
		s.Drain(ctx)
	}
}

// dialFrom connects on a core.
func dialFrom(t *testing.T, cpu int, address string) net.Conn {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, one unix.CPUSet
	one.Set(cpu)
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		t.Fatal(err)
	}
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		t.Fatal(err)
	}
	defer unix.SchedSetaffinity(0, &before)
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// With fewer loops than cores nothing is pinned.
func TestPinWantsALoopForEachCore(t *testing.T) {
	r, err := New(runtime.NumCPU()+1, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Pin(); err == nil || r.pinned() != nil {
		t.Errorf("got %v, and the cores %v; want an error, and none", err, r.pinned())
	}
}
