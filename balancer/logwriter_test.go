//go:build linux

package balancer_test

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"weir/balancer"
	"weir/frontend"
)

func TestLogWriterKeepsOrder(t *testing.T) {
	var out bytes.Buffer
	w := balancer.NewLogWriter(&out)
	var want strings.Builder
	for i := range 1000 {
		fmt.Fprintf(w, "line %d\n", i)
		fmt.Fprintf(&want, "line %d\n", i)
	}
	w.Flush()
	if out.String() != want.String() {
		t.Errorf("wrote %d bytes, want the %d that were logged", out.Len(), want.Len())
	}
}

// stuckWriter takes nothing until it is let go.
type stuckWriter struct {
	free chan struct{}
	once sync.Once
	took bytes.Buffer
}

func (w *stuckWriter) Write(p []byte) (int, error) {
	<-w.free
	return w.took.Write(p)
}

func (w *stuckWriter) letGo() { w.once.Do(func() { close(w.free) }) }

// sizes keeps how much each write had.
type sizes struct {
	stuckWriter
	writes []string
}

func (s *sizes) Write(p []byte) (int, error) {
	<-s.free
	s.writes = append(s.writes, string(p))
	return len(p), nil
}

// Lines that come while one is written share the next writes; none is larger than a pipe takes whole, unless
// one line is, and none ends within a line.
func TestLogWriterWritesSeveralLinesAtOnce(t *testing.T) {
	out := &sizes{stuckWriter: stuckWriter{free: make(chan struct{})}}
	w := balancer.NewLogWriter(out)
	var all strings.Builder
	log := func(line string) {
		fmt.Fprintln(w, line)
		fmt.Fprintln(&all, line)
	}
	line := strings.Repeat("x", 400)
	for range 100 {
		log(line)
	}
	log(strings.Repeat("y", 10000))
	for range 100 {
		log(line)
	}
	out.letGo()
	w.Flush()
	if got := strings.Join(out.writes, ""); got != all.String() {
		t.Errorf("wrote %d bytes, want the %d that were logged", len(got), all.Len())
	}
	if n := len(out.writes); n > 2*12+2 {
		t.Errorf("%d writes for 201 lines", n)
	}
	for _, p := range out.writes {
		if !strings.HasSuffix(p, "\n") || len(p) > 4096 && strings.Count(p, "\n") > 1 {
			t.Errorf("a write of %d bytes with %d ends of lines", len(p), strings.Count(p, "\n"))
		}
	}
}

// What a reader that is stuck for long makes the queue drop is counted, and a line says so.
func TestLogWriterCountsWhatItDrops(t *testing.T) {
	const lines = 1 << 20 // 12 MB, three times the queue
	out := &stuckWriter{free: make(chan struct{})}
	w := balancer.NewLogWriter(out)
	for i := range lines {
		fmt.Fprintf(w, "line %d\n", i)
	}
	out.letGo()
	w.Flush()
	written := strings.Count(out.took.String(), "line ")
	if dropped := int(w.Dropped()); dropped == 0 || dropped+written != lines {
		t.Errorf("%d lines dropped and %d written of %d", dropped, written, lines)
	}
	if !strings.Contains(out.took.String(), "log lines were dropped: the log is read too slowly") {
		t.Error("no line says so")
	}
}

// A log that nobody reads stops no session, in whatever phase its lines are written.
func TestStuckLogStopsNobody(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		out := &stuckWriter{free: make(chan struct{})}
		w := balancer.NewLogWriter(out)
		defer w.Flush()
		defer out.letGo()
		s := newServer(t)
		b := startWeirTo(t, engine, `bind_on = "127.0.0.1:0"`, to(s.addr())+noProbes, newLogbook(), zerolog.New(w))
		for range 200 {
			client := b.dial()
			server := s.accept()
			send(t, client, "hello")
			expect(t, server, "hello")
			server.Close()
			expectEnd(t, client)
			client.Close()
		}
		eventually(t, "all sessions to end", func() bool { return b.b.Counters("f").Of(frontend.Normal) == 200 })
	})
}

// bomb panics the first time a line with its message is logged: a panic in the midst of a session.
type bomb struct {
	message string
	once    *sync.Once
}

func (b bomb) Run(_ *zerolog.Event, _ zerolog.Level, message string) {
	if message == b.message {
		b.once.Do(func() { panic("boom") })
	}
}

func TestB49PanicInAnyPhase(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		for _, message := range []string{"serving connection", "opened client connection", "served connection"} {
			t.Run(message, func(t *testing.T) {
				s := newServer(t)
				book := newLogbook()
				log := zerolog.New(book).Hook(bomb{message, new(sync.Once)})
				w := startWeirTo(t, engine, `bind_on = "127.0.0.1:0"`, to(s.addr())+noProbes, book, log)
				first := w.dial()
				io.WriteString(first, "x") // which may come too late
				first.CloseWrite()
				if message == "served connection" {
					server := s.accept()
					server.Close()
				}
				expectClosed(t, first)
				second := w.dial()
				server := s.accept()
				if message == "opened client connection" { // that of the first: it was connected
					expectClosed(t, server)
					server = s.accept()
				}
				send(t, second, "hello")
				expect(t, server, "hello")
				second.CloseWrite()
				server.Close()
				expectEnd(t, second)
				eventually(t, "the second session to end", func() bool { return w.b.Counters("f").Closed.Load() >= 2 })
				eventually(t, "the panic in the log", func() bool { return book.count(`"outcome":"internal error"`) == 1 })
			})
		}
	})
}

// handed hands on each line as it is written.
type handed chan string

func (h handed) Write(p []byte) (int, error) { h <- string(p); return len(p), nil }

// A line is written at once, also when none follows it.
func TestLogWriterWritesTheLastLine(t *testing.T) {
	out := make(handed)
	w := balancer.NewLogWriter(out)
	for i := range 200 {
		line := strconv.Itoa(i)
		w.Write([]byte(line))
		select {
		case got := <-out:
			if got != line {
				t.Fatalf("got %q, want %q", got, line)
			}
		case <-time.After(patience):
			t.Fatalf("line %d waits for another to be written", i)
		}
	}
	w.Flush()
}
