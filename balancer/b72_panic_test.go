//go:build linux

package balancer_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rs/zerolog"

	"weir/backend"
	"weir/balancer"
	"weir/config"
	"weir/frontend"
)

// B72: whoever is told of an event panics, or the log does, and traffic goes on: the sessions of a backend that is
// down are ended, and the others get the next ones.
func TestB72PanicOfWhoIsTold(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		for _, what := range []string{"who listens to events", "the log"} {
			t.Run(what, func(t *testing.T) {
				first, second := newServer(t), newServer(t)
				book := newLogbook()
				log := zerolog.New(book)
				if what == "the log" {
					log = log.Hook(bomb{"backend is down", new(sync.Once)})
				}
				w := startWeirTo(t, engine, `bind_on = "127.0.0.1:0"`+"\nstrategy = \"first\"",
					to(first.addr(), `name = "a"`)+to(second.addr(), `name = "b"`)+
						"[frontend.health]\nkind = \"none\"\non_down = \"close\"\n", book, log)
				if what != "the log" {
					w.b.OnEvent(func(string, backend.Event) { panic("boom") })
				}
				client := w.dial()
				send(t, first.accept(), "hello")
				expect(t, client, "hello")
				w.b.Pool("f").SetUp(w.b.Pool("f").Backends()[0], false, "the test says so")
				expectClosed(t, client)
				next := w.dial()
				server := second.accept()
				send(t, next, "hello")
				expect(t, server, "hello")
				eventually(t, "the panic to be logged", func() bool { return book.count(`"panic":"boom"`) == 1 })
				line := book.next(t, "a panic was contained: all else goes on")
				if !strings.Contains(line, "b72_panic_test.go") && !strings.Contains(line, "logwriter_test.go") || !strings.Contains(line, "backend a is down") {
					t.Errorf("got %s, want its stack and what it was", line)
				}
				if n := w.b.Panics(); n != 1 {
					t.Errorf("%d panics are counted, want 1", n)
				}
			})
		}
	})
}

// B72: the timer that tells of dropped lines.
func TestB72PanicOfATimer(t *testing.T) {
	book := newLogbook()
	log := zerolog.New(book).Level(zerolog.WarnLevel).Hook(bomb{"lines of sessions were dropped: more than the rate of the log", new(sync.Once)})
	s := newServer(t)
	w := startWeirTo(t, "auto", `bind_on = "127.0.0.1:0"`, to(s.addr())+noProbes+"[log]\nsessions = \"all\"\nrate = 1\n", book, log)
	for range 3 {
		client := w.dial()
		server := s.accept()
		client.Close()
		server.Close()
	}
	eventually(t, "the panic to be counted", func() bool { return w.b.Panics() == 1 })
	client := w.dial()
	server := s.accept()
	send(t, client, "hello")
	expect(t, server, "hello")
}

// Something that panics without a pause does not fill the disk: its lines have a bound, and the next one tells how many
// were left out.
func TestPanicsHaveFewLines(t *testing.T) {
	book := newLogbook()
	guard := frontend.NewGuard(zerolog.New(book))
	for range 1000 {
		guard.Do("the test", func() { panic("boom") })
	}
	if n := book.count("a panic was contained"); n < 5 || n > 50 || guard.Count() != 1000 {
		t.Errorf("%d lines for %d panics", n, guard.Count())
	}
}

// fragileWriter does what it is told to: panics, fails, takes the beginning, or all.
type fragileWriter struct {
	mu   sync.Mutex
	does string
	took bytes.Buffer
}

func (w *fragileWriter) set(does string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.does = does
}

func (w *fragileWriter) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.took.String()
}

func (w *fragileWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch w.does {
	case "panic":
		panic("boom")
	case "fail":
		return 0, errors.New("no room")
	}
	return w.took.Write(p)
}

// B72, B70: a target of the log that panics or fails costs the lines it did not take. They are counted, and told of by
// itself when it works again; and the next are written.
func TestB72LogTarget(t *testing.T) {
	for does, why := range map[string]string{"panic": "panic: boom", "fail": "no room"} {
		out := new(fragileWriter)
		w := balancer.NewLogWriter(out)
		fmt.Fprintln(w, `{"line":1}`)
		eventually(t, "the first line", func() bool { return out.text() == `{"line":1}`+"\n" })
		out.set(does)
		fmt.Fprintln(w, `{"line":2}`)
		fmt.Fprintln(w, `{"line":3}`)
		eventually(t, "two lines to be lost", func() bool { return w.Lost() == 2 })
		out.set("")
		eventually(t, "that to be told", func() bool { return strings.Contains(out.text(), "log lines were lost: they could not be written") })
		fmt.Fprintln(w, `{"line":4}`)
		w.Flush()
		lines := strings.Split(out.text(), "\n")
		if len(lines) != 4 || !strings.Contains(lines[1], `"lines":2`) || !strings.Contains(lines[1], why) || lines[2] != `{"line":4}` {
			t.Errorf("%s: got %q", does, lines)
		}
		if has := strings.Contains(lines[1], "fragileWriter"); has != (does == "panic") {
			t.Errorf("%s: a stack is there: %v", does, has)
		}
		if w.Lost() != 2 || w.Dropped() != 0 {
			t.Errorf("%s: %d lines lost and %d dropped, want 2 and 0", does, w.Lost(), w.Dropped())
		}
	}
}

// A balancer may be asked anything at any time, also when a reload brings it the first frontend of the reactor. (The
// race detector looks on.)
func TestQuestionsWhileReloading(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		s := newServer(t)
		one := "[[frontend]]\nname = \"f\"\nengine = \"" + engine + "\"\nbind_on = \"127.0.0.1:0\"\n" + to(s.addr()) + noProbes
		other := strings.NewReplacer(`"f"`, `"g"`, engine, map[string]string{"copy": "reactor", "reactor": "copy"}[engine]).Replace(one)
		w := startWeirFile(t, one)
		var over atomic.Bool
		var asking sync.WaitGroup
		for _, ask := range []func(){
			func() {
				if !w.b.Alive(t.Context()) {
					t.Error("it does not live")
				}
			},
			func() {
				w.b.State()
				w.b.Config()
				w.b.Reloads()
				w.b.Memory()
				w.b.Panics()
				w.b.LogLines()
			},
			func() {
				for _, v := range w.b.Views() {
					if err := v.Sessions(t.Context(), frontend.Inspect{TCP: true}, func(*frontend.Info) bool { return true }); err != nil {
						t.Error(err)
					}
				}
				w.b.Addrs("g")
				w.b.Counters("g")
				w.b.Pool("g")
			},
		} {
			asking.Go(func() {
				for !over.Load() {
					ask()
				}
			})
		}
		for _, text := range []string{one + other, one, one + other} {
			cfg, err := config.Parse("test.toml", []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.b.Reload(t.Context(), cfg); err != nil {
				t.Error(err)
			}
		}
		over.Store(true)
		asking.Wait()
	})
}
