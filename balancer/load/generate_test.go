package load

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"testing"
	"time"
)

func TestConnectCounts(t *testing.T) {
	eachCrew(t, func(t *testing.T, generate func(Options) *Result) {
		target := startEcho(t, EchoOptions{Name: "one"})
		r := generate(Options{Mode: Connect, Target: target, Count: 300, Concurrency: 8, Greeting: true})
		wantDone(t, r, 300)
		if got := r.Backends["one"]; got != 300 || len(r.Backends) != 1 {
			t.Errorf("backends: got %v, want 300 of one", r.Backends)
		}
		if want := int64(300 * defaultSize); r.BytesSent != want || r.BytesReceived != want+300*int64(len("one\n")) {
			t.Errorf("bytes: got %d sent, %d received; want %d and 4 more for each", r.BytesSent, r.BytesReceived, want)
		}
		if r.Latency == nil || r.Latency.Most <= 0 || r.Latency.P50 > r.Latency.Most {
			t.Errorf("latency: got %+v", r.Latency)
		}
	})
}

func TestEchoCounts(t *testing.T) {
	eachCrew(t, func(t *testing.T, generate func(Options) *Result) {
		target := startEcho(t, EchoOptions{Name: "one"})
		r := generate(Options{Mode: Pong, Target: target, Count: 500, Concurrency: 4, Greeting: true})
		wantDone(t, r, 500)
		if got := r.Backends["one"]; got != 4 {
			t.Errorf("backends: got %v, want 4 connections to one", r.Backends)
		}
	})
}

// A message larger than any buffer fills both directions before it is whole.
func TestLargeMessage(t *testing.T) {
	eachCrew(t, func(t *testing.T, generate func(Options) *Result) {
		target := startEcho(t, EchoOptions{})
		wantDone(t, generate(Options{Mode: Pong, Target: target, Count: 4, Concurrency: 2, Size: 1 << 20}), 4)
	})
}

func TestStream(t *testing.T) {
	eachCrew(t, func(t *testing.T, generate func(Options) *Result) {
		target := startEcho(t, EchoOptions{Name: "one"})
		r := generate(Options{Mode: Stream, Target: target, Concurrency: 2, Greeting: true, Duration: 100 * time.Millisecond})
		if len(r.Errors) > 0 || r.Started != 2 || r.Done == 0 {
			t.Errorf("got %d streams, %d blocks, errors %v", r.Started, r.Done, r.Errors)
		}
		if want := r.BytesSent + 2*int64(len("one\n")); r.BytesReceived != want {
			t.Errorf("received %d bytes, want %d", r.BytesReceived, want)
		}
	})
}

func TestHold(t *testing.T) {
	eachCrew(t, func(t *testing.T, generate func(Options) *Result) {
		target := startEcho(t, EchoOptions{})
		begun := 0
		r := generate(Options{Mode: Hold, Target: target, Concurrency: 100, Duration: 20 * time.Millisecond, Begun: func() { begun++ }})
		wantDone(t, r, 100)
		if begun != 1 {
			t.Errorf("Begun was called %d times", begun)
		}
	})
}

func TestHeldConnectionEnds(t *testing.T) {
	eachCrew(t, func(t *testing.T, generate func(Options) *Result) {
		release := make(chan struct{})
		target := startServer(t, func(c net.Conn) {
			io.CopyN(c, c, defaultSize)
			<-release
		})
		r := generate(Options{
			Mode: Hold, Target: target, Concurrency: 3, Duration: 200 * time.Millisecond, Begun: func() { close(release) },
		})
		wantErrors(t, r, "idle: ended early", 3)
	})
}

func TestUnixTarget(t *testing.T) {
	eachCrew(t, func(t *testing.T, generate func(Options) *Result) {
		target := startEchoAt(t, Address{"unix", filepath.Join(t.TempDir(), "s")}, EchoOptions{})
		wantDone(t, generate(Options{Mode: Connect, Target: target, Count: 20, Concurrency: 2}), 20)
	})
}

func TestSources(t *testing.T) {
	eachCrew(t, func(t *testing.T, generate func(Options) *Result) {
		seen := make(chan string, 10)
		target := startServer(t, func(c net.Conn) {
			host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
			seen <- host
			io.CopyN(c, c, defaultSize)
		})
		sources := []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2")}
		wantDone(t, generate(Options{Mode: Connect, Target: target, Count: 10, Concurrency: 1, Sources: sources}), 10)
		got := map[string]int{}
		for range 10 {
			got[<-seen]++
		}
		if got["127.0.0.1"] != 5 || got["127.0.0.2"] != 5 {
			t.Errorf("connections came from %v, want 5 from each", got)
		}
	})
}

// corrupt sends everything back but for one byte.
func corrupt(c net.Conn) {
	b := make([]byte, 32<<10)
	for {
		n, err := c.Read(b)
		if err != nil {
			return
		}
		b[n/2] ^= 1
		if _, err := c.Write(b[:n]); err != nil {
			return
		}
	}
}

func TestOneWrongByte(t *testing.T) {
	eachCrew(t, func(t *testing.T, generate func(Options) *Result) {
		target := startServer(t, corrupt)
		for _, m := range []Mode{Connect, Pong} {
			r := generate(Options{Mode: m, Target: target, Count: 5, Concurrency: 1})
			wantErrors(t, r, "answer: not what was sent", 5)
		}
		r := generate(Options{Mode: Stream, Target: target, Duration: time.Minute})
		wantErrors(t, r, "stream: not what was sent", 1)
	})
}

func TestAnswerOfTheMessageBefore(t *testing.T) {
	eachCrew(t, func(t *testing.T, generate func(Options) *Result) {
		target := startServer(t, func(c net.Conn) {
			first := make([]byte, defaultPongSize)
			for from := io.Reader(bufio.NewReader(c)); ; {
				next := make([]byte, len(first))
				if _, err := io.ReadFull(from, next); err != nil {
					return
				}
				if first[0] == 0 {
					first = next
				}
				c.Write(first)
			}
		})
		r := generate(Options{Mode: Pong, Target: target, Count: 2, Concurrency: 1})
		wantErrors(t, r, "answer: not what was sent", 1)
	})
}

func TestErrorsByKind(t *testing.T) {
	refusing := startServer(t, nil)
	l, err := net.Listen("tcp", refusing.Address[:len("127.0.0.1:")]+"0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close() // nobody listens there now
	for _, c := range []struct {
		name   string
		target Address
		want   string
	}{
		{"refused", Address{"tcp", l.Addr().String()}, "connect: connection refused"},
		{"ended", startServer(t, func(c net.Conn) { io.CopyN(c, c, 10); io.CopyN(io.Discard, c, 90) }), "answer: ended early"},
		{"silent", startServer(t, func(c net.Conn) { io.Copy(io.Discard, c) }), "answer: timed out"},
		{"more", startServer(t, func(c net.Conn) {
			b := make([]byte, defaultSize)
			io.ReadFull(c, b)
			c.Write(append(b, b...))
			io.Copy(io.Discard, c)
		}), "answer: more than was sent"},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachCrew(t, func(t *testing.T, generate func(Options) *Result) {
				r := generate(Options{Mode: Connect, Target: c.target, Count: 3, Concurrency: 1, Timeout: 100 * time.Millisecond})
				wantErrors(t, r, c.want, 3)
				if r.Failed() != 3 {
					t.Errorf("Failed: got %d, want 3", r.Failed())
				}
			})
		})
	}
}

func TestRate(t *testing.T) {
	eachCrew(t, func(t *testing.T, generate func(Options) *Result) {
		target := startEcho(t, EchoOptions{})
		for _, m := range []Mode{Connect, Pong} {
			wantDone(t, generate(Options{Mode: m, Target: target, Rate: 1000, Count: 200}), 200)
		}
	})
}

// The target takes 20 ms for each of 20 messages that are due 5 ms apart, on one connection: the last is
// answered 400 ms after the first was due, which is 305 ms late. A closed loop would say 20 ms.
func TestLatencyCountsFromWhenItWasDue(t *testing.T) {
	eachCrew(t, func(t *testing.T, generate func(Options) *Result) {
		target := startEcho(t, EchoOptions{Delay: 20 * time.Millisecond})
		r := generate(Options{Mode: Pong, Target: target, Rate: 200, Count: 20, Concurrency: 1})
		wantDone(t, r, 20)
		if least := 300e3; r.Latency.Most < least {
			t.Errorf("latency: got %.0f µs at most, want %.0f or more", r.Latency.Most, least)
		}
	})
}

// What was due and never began is counted, and is an error.
func TestNotStarted(t *testing.T) {
	eachCrew(t, func(t *testing.T, generate func(Options) *Result) {
		target := startServer(t, func(c net.Conn) { io.Copy(io.Discard, c) })
		r := generate(Options{
			Mode: Connect, Target: target, Rate: 1000, Concurrency: 1, Duration: 100 * time.Millisecond, Timeout: time.Second,
		})
		if got := r.Started + r.NotStarted; r.Started != 1 || got < 90 || got > 101 {
			t.Errorf("got %d started and %d not, want 1 and about 99", r.Started, r.NotStarted)
		}
	})
}

func TestPhaseCounts(t *testing.T) {
	eachCrew(t, func(t *testing.T, generate func(Options) *Result) {
		target := startEcho(t, EchoOptions{})
		r := generate(Options{Mode: Connect, Target: target, Phases: []Phase{
			{Name: "quiet", Duration: 100 * time.Millisecond, Shape: Constant, Min: 100, Max: 100},
			{Name: "busy", Duration: 100 * time.Millisecond, Shape: Ramp, Min: 100, Max: 1900},
		}})
		if len(r.Errors) > 0 || r.Started != r.Done {
			t.Errorf("got %d started, %d done, errors %v", r.Started, r.Done, r.Errors)
		}
		for i, want := range []int64{10, 100} { // on a slow machine some begin too late
			if got := r.Phases[i].Started + r.Phases[i].NotStarted; got < want-2 || got > want+2 {
				t.Errorf("phase %s: %d were to start, want %d", r.Phases[i].Name, got, want)
			}
		}
	})
}

func TestInterrupt(t *testing.T) {
	for name, hire := range crews {
		for _, m := range Modes {
			t.Run(name+" "+string(m), func(t *testing.T) {
				target := startEcho(t, EchoOptions{})
				ctx, interrupt := context.WithCancel(testContext(t))
				r, err := generate(ctx, Options{Mode: m, Target: target, Concurrency: 2, Duration: time.Hour, Begun: interrupt}, hire)
				if err != nil || r.Failed() > 0 {
					t.Errorf("got %+v, %v; want no errors", r, err)
				}
			})
		}
	}
}

// The target accepts nobody, so that the lasting connections are never ready.
func TestInterruptWhilePreparing(t *testing.T) {
	for name, hire := range crews {
		t.Run(name, func(t *testing.T) {
			ctx, interrupt := context.WithCancel(testContext(t))
			target := startServer(t, func(c net.Conn) { interrupt(); io.Copy(io.Discard, c) })
			if _, err := generate(ctx, Options{Mode: Hold, Target: target, Concurrency: 3, Timeout: time.Second}, hire); err != nil {
				t.Error(err)
			}
		})
	}
}
