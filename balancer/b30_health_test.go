//go:build linux

package balancer_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"weir/backend"
	"weir/frontend"
)

// B30: the state changes at exactly the n-th verdict, as counted at the server at that very moment.
func TestB30RiseAndFall(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		for _, c := range []struct{ rise, fall int }{{1, 1}, {2, 3}} {
			t.Run(fmt.Sprintf("rise %d fall %d", c.rise, c.fall), func(t *testing.T) {
				g := newTarget(t)
				at := make(chan tally, 10)
				startWatched(t, engine, to(g.addr())+probes("500ms", "20ms", c.rise, c.fall), func(line string) {
					if strings.Contains(line, `"message":"backend is `) {
						at <- g.tally()
					}
				})
				eventually(t, "a good probe", func() bool { return g.tally().good > 0 })
				for range 2 {
					before := g.tally()
					g.hang()
					if got := next(t, at).since(before).hung; got != c.fall {
						t.Errorf("down after %d bad probes, want %d", got, c.fall)
					}
					before = g.tally()
					g.wake()
					if got := next(t, at).since(before).good; got != c.rise {
						t.Errorf("up after %d good probes, want %d", got, c.rise)
					}
				}
			})
		}
	})
}

// B31: good and bad verdicts in turn change nothing, whichever state they begin in, and are not logged.
func TestB31AlternatingVerdicts(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		for _, initial := range []backend.State{backend.Up, backend.Down} {
			t.Run("initially "+string(initial), func(t *testing.T) {
				g := newTarget(t)
				g.hang()
				w := startWeir(t, engine, "", to(g.addr())+probes("300ms", "300ms", 2, 2)+fmt.Sprintf("initial = %q\n", initial))
				lines := 0
				for turn := range 5 {
					last := g.tally()
					eventually(t, "a bad probe", func() bool { return g.tally().since(last).hung > 0 })
					g.wake()
					if n := g.tally().since(last).hung; n > 1 {
						t.Skipf("the machine stood still for %d probes: nothing is shown", n)
					}
					last = g.tally()
					eventually(t, "a good probe", func() bool { return g.tally().since(last).good > 0 })
					g.hang()
					if n := g.tally().since(last).good; n > 1 {
						t.Skipf("the machine stood still for %d probes: nothing is shown", n)
					}
					if got := w.b.Pool("f").Snapshot()[0].State; got != initial {
						t.Fatalf("after %d verdicts of each kind: got %s, want %s", turn+1, got, initial)
					}
					if n := w.log.count(""); turn == 0 {
						lines = n
					} else if n != lines {
						t.Errorf("after %d verdicts of each kind: logged %d lines, want the %d of the start", turn+1, n, lines)
					}
				}
			})
		}
	})
}

// B32: a probe of a target that hangs ends at its timeout, and no other is late because of it.
func TestB32HungProbe(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		const timeout, interval = 2 * time.Second, 50 * time.Millisecond
		hung, healthy := newTarget(t), []*target{newTarget(t), newTarget(t), newTarget(t)}
		hung.hang()
		tables := to(hung.addr())
		for _, g := range healthy {
			tables += to(g.addr())
		}
		down := make(chan time.Time, 10)
		startWatched(t, engine, tables+probes(timeout.String(), interval.String(), 1, 1), func(line string) {
			if strings.Contains(line, `"message":"backend is down"`) {
				down <- time.Now()
			}
		})
		eventually(t, "the probe that will hang", func() bool { return hung.tally().hung > 0 })
		began, before := time.Now(), make([]tally, len(healthy))
		for i, g := range healthy {
			before[i] = g.tally()
		}
		within(t, "the verdict came", next(t, down).Sub(began), timeout)
		for i, g := range healthy {
			if got, want := g.tally().since(before[i]).good, int(timeout/interval); got < want/2 {
				t.Errorf("healthy target %d: %d probes while another hung, want about %d", i, got, want)
			}
		}
		if got := hung.tally().hung; got > 3 { // two SYNs of the first probe, and perhaps the second
			t.Errorf("%d SYNs at the target that hangs, want one probe at a time", got)
		}
	})
}

func TestB33BackendGoesDown(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		for _, onDown := range []string{"keep", "close"} {
			t.Run(onDown, func(t *testing.T) {
				a, b := echoOn(t, "127.0.0.31:0", "a"), echoOn(t, "127.0.0.32:0", "b")
				w := startWeir(t, engine, "", to(a.addr())+to(b.addr())+probes("5s", "20ms", 1, 1)+fmt.Sprintf("on_down = %q\n", onDown))
				onA, onB := w.dialTo("a"), w.dialTo("b")
				a.Close() // its sessions go on
				w.state(0, backend.Down)
				if onDown == "close" {
					expectReset(t, onA)
					w.wantEnd(frontend.BackendDown, "DD")
				} else {
					ping(t, onA)
					onA.CloseWrite()
					expectEnd(t, onA)
					w.wantEnd(frontend.Normal, "--")
				}
				ping(t, onB)
				onB.CloseWrite()
				expectEnd(t, onB)
				w.wantEnd(frontend.Normal, "--")
				if got := w.log.count(`"message":"backend is down"`); got != 1 {
					t.Errorf("logged %d times that a backend is down, want once", got)
				}
			})
		}
	})
}

// B34: with every backend down each client is refused at once, and there is one alarm an episode.
func TestB34AllDown(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		for _, how := range []string{"close", "reset"} {
			t.Run(how, func(t *testing.T) {
				a, b := echoOn(t, "127.0.0.31:0", "a"), echoOn(t, "127.0.0.32:0", "b")
				w := startWeir(t, engine, fmt.Sprintf("on_no_backend = %q", how), to(a.addr())+to(b.addr())+probes("5s", "20ms", 1, 1))
				for episode := 1; episode <= 2; episode++ {
					a.Close()
					b.Close()
					w.state(0, backend.Down)
					w.state(1, backend.Down)
					w.refused(300, how)
					for range 300 {
						if s := w.wantEnd(frontend.NoBackend, "SC"); s.Tries != 0 || s.Backend != "" {
							t.Errorf("tried %d times, last %q: want nobody", s.Tries, s.Backend)
						}
					}
					if got := w.log.count(`"message":"no backend is left"`); got != episode {
						t.Errorf("%d alarms in %d episodes", got, episode)
					}
					a, b = echoOn(t, a.addr(), "a"), echoOn(t, b.addr(), "b")
					w.state(0, backend.Up)
					w.state(1, backend.Up)
					ping(t, w.dialTo("a"))
				}
			})
		}
	})
}

// The same with nobody to say so but the clients' own attempts.
func TestB34AllDownByPassiveHealth(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		w := startWeir(t, engine, "", to(deadAddress(t))+to(deadAddress(t))+noProbes+
			"[frontend.passive]\nfailures = 3\neject_for = \"1h\"\nmax_ejected = 100\n")
		w.refused(300, "close")
		for range 300 {
			if s := w.ended(); s.Outcome != frontend.NoBackend.String() && s.Outcome != frontend.ConnectRefused.String() {
				t.Errorf("session ended with %q, want refused or no backend", s.Outcome)
			}
		}
		w.refused(1, "close")
		if s := w.wantEnd(frontend.NoBackend, "SC"); s.Tries != 0 {
			t.Errorf("tried %d times, want nobody tried when all are ejected", s.Tries)
		}
		if got := w.log.count(`"message":"no backend is left"`); got != 1 {
			t.Errorf("%d alarms, want one", got)
		}
	})
}

// B35: traffic again within rise × interval.
func TestB35Return(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		const rise, interval = 2, time.Second
		a := echoOn(t, "127.0.0.31:0", "a")
		w := startWeir(t, engine, "", to(a.addr())+probes("5s", interval.String(), rise, 1))
		ping(t, w.dialTo("a"))
		a.Close()
		w.state(0, backend.Down)
		echoOn(t, a.addr(), "a")
		began := time.Now()
		eventually(t, "traffic", func() bool { return w.servedBy() == "a" })
		if took, most := time.Since(began), rise*interval; took > most+most/10 || took < (rise-1)*interval {
			t.Errorf("traffic again after %v, want %v to %v", took, (rise-1)*interval, most)
		}
	})
}

// B35: with slow start the share grows. What is due is reckoned from the clock at each session, so a
// slow machine only makes fewer of them.
func TestB35SlowStart(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		const ramp = 2 * time.Second
		a, b := echoOn(t, "127.0.0.31:0", "a"), echoOn(t, "127.0.0.32:0", "b")
		w := startWeir(t, engine, "", to(a.addr())+to(b.addr())+probes("5s", "20ms", 1, 1)+"slow_start = \"2s\"\n")
		a.Close()
		w.state(0, backend.Down)
		echoOn(t, a.addr(), "a")
		w.state(0, backend.Up)
		began := time.Now()
		var got, due [5]float64 // by quarter of the ramp, and after it
		var all [5]int
		for all[4] < 100 {
			done := float64(time.Since(began)) / float64(ramp)
			q := min(int(done*4), 4)
			weight := min(done, 1)
			all[q]++
			due[q] += weight / (1 + weight)
			if w.servedBy() == "a" {
				got[q]++
			}
		}
		for q := range got {
			if slack := 3 + 0.1*float64(all[q]); got[q] < due[q]-slack || got[q] > due[q]+slack {
				t.Errorf("quarter %d: %.0f of %d sessions, want %.0f ± %.0f", q+1, got[q], all[q], due[q], slack)
			}
		}
		t.Logf("of %v sessions a got %v, due were %.0f", all, got, due)
	})
}

// B36: every backend refuses at once, and still the configured share of them is used.
func TestB36PanicRule(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		for _, c := range []struct{ most, used int }{{0, 4}, {50, 2}, {75, 1}, {100, 0}} {
			t.Run(fmt.Sprintf("max_ejected %d", c.most), func(t *testing.T) {
				var tables strings.Builder
				for range 4 {
					tables.WriteString(to(deadAddress(t)))
				}
				fmt.Fprintf(&tables, "[frontend.passive]\nfailures = 1\neject_for = \"1h\"\nmax_ejected = %d\n", c.most)
				w := startWeir(t, engine, "retries = 3", tables.String()+noProbes)
				usable := func() (n int) {
					for _, s := range w.b.Pool("f").Snapshot() {
						if s.State == backend.Up {
							n++
						}
					}
					return n
				}
				w.refused(50, "close")
				if got := usable(); got != c.used {
					t.Errorf("%d backends of 4 are used when all look bad, want %d", got, c.used)
				}
				if got, want := w.log.count(`"message":"backend is ejected"`), 4-c.used; got != want {
					t.Errorf("%d ejections, want %d", got, want)
				}
				if got := w.log.count(`"message":"no backend is left"`); (got > 0) != (c.used == 0) {
					t.Errorf("%d alarms with %d backends in use", got, c.used)
				}
			})
		}
	})
}

// probes is a health table without jitter. More keys may follow.
func probes(timeout, interval string, rise, fall int) string {
	return fmt.Sprintf("[frontend.health]\ntimeout = %q\ninterval = %q\nrise = %d\nfall = %d\njitter = 0\n", timeout, interval, rise, fall)
}

// startWatched runs weir and shows each line to the test in the very moment it is logged.
func startWatched(t *testing.T, engine, tables string, show func(line string)) *weir {
	t.Helper()
	book := newLogbook()
	log := zerolog.New(lineFunc(func(line string) { show(line); io.WriteString(book, line) }))
	return startWeirTo(t, engine, `bind_on = "127.0.0.1:0"`, tables, book, log)
}

type lineFunc func(string)

func (f lineFunc) Write(p []byte) (int, error) { f(string(p)); return len(p), nil }

// next receives, with patience.
func next[T any](t *testing.T, from <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-from:
	case <-time.After(patience):
		t.Fatal("waited in vain")
	}
	return v
}

func quickDialer(timeout time.Duration) *net.Dialer {
	d := &net.Dialer{Timeout: timeout}
	d.SetMultipathTCP(false)
	return d
}

// echoOn serves on that address: it answers the first byte of each client with its name, of one byte
// too, and echoes the rest. The close of the server ends no session. An address outside 127.0.0.1 is nobody's ephemeral one, and can
// be taken again after a close.
func echoOn(t *testing.T, address, name string) *server {
	t.Helper()
	s := serverOn(t, address)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := s.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { echo(c, name) })
		}
	})
	t.Cleanup(func() { s.Close(); serving.Wait() })
	return s
}

func echo(c net.Conn, name string) {
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		return
	}
	io.WriteString(c, name)
	sendBack(c)
}

// sendBack does it without splice(2): the pipes that net keeps for that outlive the connection until the garbage
// collector finds them, and would count as left behind.
func sendBack(c net.Conn) { io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c}) }

// ask asks an echo server for its name.
func ask(c net.Conn) (string, error) {
	got := []byte("?")
	if _, err := c.Write(got); err != nil {
		return "", err
	}
	_, err := io.ReadFull(c, got)
	return string(got), err
}

// dialTo connects until the session is with the server of that name.
func (w *weir) dialTo(name string) *net.TCPConn {
	w.t.Helper()
	for range 10 {
		c := w.dial()
		got, err := ask(c)
		if err != nil {
			w.t.Fatal(err)
		}
		if got == name {
			return c
		}
		c.CloseWrite()
		expectEnd(w.t, c)
		w.wantEnd(frontend.Normal, "--")
	}
	w.t.Fatalf("no session is with %s", name)
	return nil
}

// servedBy makes a session and returns who served it: "" if nobody.
func (w *weir) servedBy() string {
	w.t.Helper()
	c := w.dial()
	defer c.Close()
	name, err := ask(c)
	if err != nil {
		return ""
	}
	c.CloseWrite()
	io.Copy(io.Discard, c)
	return name
}

// ping makes sure that a session with an echo server lives.
func ping(t *testing.T, c net.Conn) {
	t.Helper()
	send(t, c, "are you there?")
	expect(t, c, "are you there?")
}

// refused connects n clients at once, each of which must find that there is no backend for it: by an
// end, or by a reset, as how says.
func (w *weir) refused(n int, how string) {
	w.t.Helper()
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			if err := findRefusal(w.addr); how == "close" && err != io.EOF || how == "reset" && !isReset(err) {
				w.t.Errorf("client %d: %v, want a %s", i, err, how)
			}
		})
	}
	all.Wait()
}

// findRefusal connects, reads, and returns the error. A reset may come before connect has returned.
func findRefusal(addr string) error {
	c, err := quickDialer(patience).Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	_, err = c.Read(make([]byte, 1))
	return err
}

func isReset(err error) bool { return errors.Is(err, syscall.ECONNRESET) }
