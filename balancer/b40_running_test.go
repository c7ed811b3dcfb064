//go:build linux

package balancer_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"weir/balancer"
	"weir/config"
	"weir/frontend"
)

// B07: the process of the backend is killed in the middle of a session. Its kernel ends the connection
// as the state of it demands, and the client must see the same; nothing is tried again.
func TestB07BackendKilled(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		for _, c := range []struct {
			manner  string
			begin   func(t *testing.T, client *net.TCPConn, b *child) // up to the kill
			after   func(t *testing.T, client *net.TCPConn)
			outcome frontend.Outcome
			code    string
		}{
			{"echo", func(t *testing.T, client *net.TCPConn, _ *child) { ping(t, client) },
				func(t *testing.T, client *net.TCPConn) { expectEnd(t, client); client.CloseWrite() }, frontend.Normal, "--"},
			{"sender", func(t *testing.T, client *net.TCPConn, _ *child) { io.CopyN(io.Discard, client, 1<<20) },
				func(t *testing.T, client *net.TCPConn) {
					if n, err := io.Copy(io.Discard, client); err != nil {
						t.Errorf("read %d bytes more, then %v; want the end", n, err)
					}
					client.CloseWrite()
				}, frontend.Normal, "--"},
			{"deaf", func(t *testing.T, client *net.TCPConn, b *child) {
				expect(t, client, "hello")
				send(t, client, "unread")
				if got := b.says(); got != "unread" {
					t.Fatalf("the backend says %q", got)
				}
			}, func(t *testing.T, client *net.TCPConn) { expectReset(t, client) }, frontend.BackendReset, "SD"},
		} {
			t.Run(c.manner, func(t *testing.T) {
				b, spare := startChild(t, "backend", "WEIR_TEST_MANNER="+c.manner), newServer(t)
				w := startWeir(t, engine, "", to(b.says())+to(spare.addr())+noProbes)
				client := w.dial()
				c.begin(t, client, b)
				b.cmd.Process.Kill()
				c.after(t, client)
				if s := w.wantEnd(c.outcome, c.code); s.Tries != 1 {
					t.Errorf("tried %d times, want once", s.Tries)
				}
				spare.wantNobody()
			})
		}
	})
}

// wantNobody makes sure that no connection has come.
func (s *server) wantNobody() {
	s.t.Helper()
	s.SetDeadline(time.Now().Add(time.Millisecond))
	if c, err := s.Accept(); err == nil {
		c.Close()
		s.t.Error("another backend was tried, want nobody")
	}
}

func TestB42Stop(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		const drain = 2 * time.Second
		s := echoOn(t, "127.0.0.31:0", "a")
		w := startWeir(t, engine, "", to(s.addr())+noProbes+"[shutdown]\ndrain = \"2s\"\n")
		idle, busy := w.dialTo("a"), w.dialTo("a")
		w.stop()
		began := time.Now()
		w.wantClosed()
		ping(t, busy)
		busy.CloseWrite()
		expectEnd(t, busy)
		expectReset(t, idle)
		within(t, "the idle session was cut", time.Since(began), drain)
		w.wantOver()
		c := w.b.Counters("f")
		if n := c.Of(frontend.Shutdown); n != 1 || c.Of(frontend.Normal) == 0 {
			t.Errorf("%d sessions were cut and %d finished, want the idle one cut and the busy one not", n, c.Of(frontend.Normal))
		}
	})
}

// A drain is over with the last session, not with its time.
func TestB42StopWhenAllFinish(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		s := echoOn(t, "127.0.0.31:0", "a")
		w := startWeir(t, engine, "", to(s.addr())+noProbes+"[shutdown]\ndrain = \"1h\"\n")
		busy := w.dialTo("a")
		w.stop()
		w.wantClosed()
		ping(t, busy)
		busy.CloseWrite()
		expectEnd(t, busy)
		w.wantOver()
	})
}

func TestB42SecondSignal(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		for _, c := range []struct{ name, shutdown string }{
			{"while draining", "[shutdown]\ndrain = \"1h\"\n"},
			{"in the time of grace", "[shutdown]\ngrace = \"1h\"\ndrain = \"1h\"\n"},
		} {
			t.Run(c.name, func(t *testing.T) {
				s := echoOn(t, "127.0.0.31:0", "a")
				w := startWeir(t, engine, "", to(s.addr())+noProbes+c.shutdown)
				busy := w.dialTo("a")
				w.stop()
				ping(t, busy)
				w.kill()
				expectReset(t, busy)
				w.wantEnd(frontend.Shutdown, "KD")
				w.wantOver()
				w.wantClosed()
			})
		}
	})
}

func TestB42Grace(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		const grace = time.Second
		s := echoOn(t, "127.0.0.31:0", "a")
		w := startWeir(t, engine, "", to(s.addr())+noProbes+"[shutdown]\ngrace = \"1s\"\ndrain = \"1h\"\n")
		w.stop()
		began := time.Now()
		late := w.dialTo("a")
		w.wantClosed()
		if took := time.Since(began); took < grace {
			t.Errorf("the listener was closed after %v, want a grace of %v", took, grace)
		}
		ping(t, late)
		late.CloseWrite()
		expectEnd(t, late)
		w.wantOver()
	})
}

// B42: who is in the accept queue already when the stop comes is served.
func TestB42AcceptQueue(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		const clients = 500
		s := echoOn(t, "127.0.0.31:0", "a")
		w := startWeir(t, engine, "", to(s.addr())+noProbes)
		var conns []*net.TCPConn
		for range clients {
			conns = append(conns, w.dial())
		}
		w.stop()
		for i, c := range conns {
			if _, err := ask(c); err != nil {
				t.Fatalf("client %d of %d, connected before the stop: %v", i, clients, err)
			}
			c.CloseWrite()
		}
		for range clients {
			w.wantEnd(frontend.Normal, "--")
		}
		w.wantOver()
	})
}

// The same with clients that go on coming while weir stops. Of those that connect after the stop some
// may meet the closing listener: they see a reset at once, and none is left hanging.
func TestB42StopUnderFire(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		s := echoOn(t, "127.0.0.31:0", "a")
		w := startWeir(t, engine, "", to(s.addr())+noProbes)
		var served, late atomic.Int64
		var stopped atomic.Bool
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for {
					before := !stopped.Load()
					c, err := quickDialer(patience).Dial("tcp", w.addr)
					before = before && !stopped.Load() // connected, and still not stopped
					if err != nil {
						if before {
							t.Errorf("before the stop: %v", err)
						}
						return
					}
					c.SetDeadline(time.Now().Add(patience))
					_, err = ask(c)
					c.Close()
					switch {
					case err == nil:
						served.Add(1)
					case before || errors.Is(err, os.ErrDeadlineExceeded):
						t.Errorf("connected (before the stop: %v), then %v", before, err)
					default:
						late.Add(1)
					}
				}
			})
		}
		eventually(t, "some sessions", func() bool { return served.Load() > 500 })
		stopped.Store(true)
		w.stop()
		all.Wait()
		w.wantOver()
		t.Logf("%d served, %d came too late", served.Load(), late.Load())
	})
}

// wantClosed waits until nobody listens any more.
func (w *weir) wantClosed() {
	w.t.Helper()
	eventually(w.t, "new connections to be refused", func() bool {
		c, err := quickDialer(patience).Dial("tcp", w.addr)
		if err == nil {
			c.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	})
}

// wantOver waits until Run has returned without an error.
func (w *weir) wantOver() {
	w.t.Helper()
	err := next(w.t, w.done)
	if err != nil {
		w.t.Errorf("Run: got %v, want no error", err)
	}
	w.done <- err // settle will ask too
}

// B44: the error names the address, and whatever was opened before is closed again.
func TestB44PortInUse(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		used, free := newServer(t), newServer(t)
		free.Close()
		for _, c := range []struct{ name, file string }{
			{"one of a frontend's addresses", `[frontend]
				bind_on = ["` + free.addr() + `", "` + used.addr() + `"]`},
			{"of another frontend", `[[frontend]]
				name = "first"
				bind_on = "` + free.addr() + `"
				[[frontend.backend]]
				forward_to = "127.0.0.1:9"
				[[frontend]]
				name = "second"
				bind_on = "` + used.addr() + `"`},
		} {
			t.Run(c.name, func(t *testing.T) {
				file := strings.ReplaceAll(c.file, "bind_on", "engine = \""+engine+"\"\nbind_on")
				cfg, err := config.Parse("test.toml", []byte(file+"\n[[frontend.backend]]\nforward_to = \"127.0.0.1:9\"\n"))
				if err != nil {
					t.Fatal(err)
				}
				before := openDescriptors()
				b, err := balancer.New(t.Context(), cfg, zerolog.Nop())
				if err == nil {
					b.Close()
					t.Fatal("started on a port in use")
				}
				if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "listen on "+used.addr()) {
					t.Errorf("got %q, want the address %s and why", err, used.addr())
				}
				serverOn(t, free.addr()).Close() // nobody has it any more
				eventually(t, "descriptors to return", func() bool { return openDescriptors() <= before })
			})
		}
	})
}

// B46: at the limit of descriptors further clients wait in the accept queue and are served when others
// end. Probes have descriptors of their own, and waiting costs nothing.
func TestB46NoDescriptorForMore(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		const clients = 60 // 128 descriptors are enough for 35 sessions at the most
		s, g := echoOn(t, "127.0.0.31:0", "a"), newTarget(t)
		host, port, _ := net.SplitHostPort(g.addr())
		c, addr := startChildWeir(t, engine, 128, "", to(s.addr())+probes("5s", "20ms", 1, 1)+
			fmt.Sprintf("address = %q\nport = %s\n", host, port))
		served := make(chan *net.TCPConn, clients)
		var asking sync.WaitGroup
		for range clients {
			conn := dialTCP(t, addr)
			asking.Go(func() {
				if _, err := ask(conn); err != nil {
					t.Errorf("a client that waited: %v", err)
				}
				served <- conn
			})
		}
		c.waitQuietly(g)
		n := len(served)
		if n < 10 || n > 35 {
			t.Errorf("%d clients are served with 128 descriptors, want 10 to 35", n)
		}
		c.waitQuietly(g)
		if got := len(served); got != n {
			t.Errorf("%d clients are served, and then %d, want the others to wait", n, got)
		}
		for range clients {
			next(t, served).Close()
		}
		asking.Wait()
		if got := c.log.count("no session is free"); got != 1 {
			t.Errorf("logged %d times that no session is free, want once", got)
		}
		if got := c.log.count("backend is"); got != 0 {
			t.Errorf("%d changes of the backend's state, want none: probes have descriptors of their own", got)
		}
	})
}

// waitQuietly waits while 50 probes reach g, and makes sure that little processor time is used.
func (c *child) waitQuietly(g *target) {
	c.t.Helper()
	before, began, probes := c.cpu(), time.Now(), g.tally()
	eventually(c.t, "50 probes", func() bool { return g.tally().since(probes).good >= 50 })
	c.wantQuiet(before, began)
}

// wantQuiet makes sure that less than a quarter of the time was spent computing: a loop that turns for
// nothing takes all of it.
func (c *child) wantQuiet(before time.Duration, began time.Time) {
	c.t.Helper()
	if used, took := c.cpu()-before, time.Since(began); used > took/4 {
		c.t.Errorf("used %v of processor time within %v of waiting", used, took)
	}
}

// B46: the kernel itself says that there are no more descriptors, because somebody lowered the limit.
// It is tried again until it works, quietly and with little to do, and another want soon after is the
// same episode.
func TestB46AcceptFails(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		for _, relief := range []string{"the limit is raised", "a session ends"} {
			t.Run(relief, func(t *testing.T) {
				s := echoOn(t, "127.0.0.31:0", "a")
				c, addr := startChildWeir(t, engine, 512, "", to(s.addr())+noProbes)
				held := dialTCP(t, addr)
				if _, err := ask(held); err != nil {
					t.Fatal(err)
				}
				for range 2 {
					c.limitFiles(c.lowestFree())
					waiting := dialTCP(t, addr)
					answered := make(chan error, 1)
					go func() { _, err := ask(waiting); answered <- err }()
					c.waitInVain(answered)
					if relief == "the limit is raised" {
						c.limitFiles(512)
					} else {
						held.Close()
					}
					if err := next(t, answered); err != nil {
						t.Fatalf("the client that waited: %v", err)
					}
					held = waiting
				}
				if got := c.log.count("cannot accept: trying again until it works"); got != 1 {
					t.Errorf("logged %d times, want once", got)
				}
			})
		}
	})
}

// waitInVain waits 2 s for what must not come, and makes sure that little processor time is used.
func (c *child) waitInVain(answered <-chan error) {
	c.t.Helper()
	before, began := c.cpu(), time.Now()
	select {
	case err := <-answered:
		c.t.Fatalf("a client was served without a descriptor: %v", err)
	case <-time.After(2 * time.Second):
	}
	c.wantQuiet(before, began)
}

// Each step of stopping is told, with how many sessions there are.
func TestB42EachStepIsTold(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		s := newServer(t)
		w := startWeir(t, engine, "", to(s.addr())+noProbes+"[shutdown]\ndrain = \"100ms\"\n")
		client := w.dial()
		s.accept()
		w.stop()
		expectReset(t, client)
		for _, message := range []string{"draining", "the drain time is up: cutting what is left"} {
			if line := w.log.next(t, message); !strings.Contains(line, `"sessions":1`) {
				t.Errorf("got %s, want 1 session", line)
			}
		}
	})
}
