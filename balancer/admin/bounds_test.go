package admin_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"weir/balancer/admin"
	"weir/balancer/admin/admintest"
)

// pipes is a listener without a kernel, so that a test can own the time.
type pipes struct {
	waiting chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

func newPipes() *pipes { return &pipes{waiting: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.waiting:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error { p.once.Do(func() { close(p.closed) }); return nil }

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

// dial connects, once the door accepts.
func (p *pipes) dial() net.Conn {
	ours, theirs := net.Pipe()
	p.waiting <- theirs
	return ours
}

// inBubble serves a door on pipes, in a time that is the test's.
func inBubble(t *testing.T, o admin.Options, test func(*testing.T, *pipes, *admintest.Operator)) {
	op := admintest.New(noon)
	inBubbleFor(t, o, op, func(t *testing.T, p *pipes) { test(t, p, op) })
}

// inBubbleFor is inBubble for another operator.
func inBubbleFor(t *testing.T, o admin.Options, op admin.Operator, test func(*testing.T, *pipes)) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		o.Listener, o.Log = p, zerolog.Nop()
		d, err := admin.New(o, op)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(context.Background())
		served := make(chan error, 1)
		go func() { served <- d.Serve(ctx) }()
		test(t, p)
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

// lasts returns for how long the door keeps a connection that does nothing more.
func lasts(c net.Conn) time.Duration {
	began := time.Now()
	_, _ = io.Copy(io.Discard, c)
	return time.Since(began)
}

// A stranger who dribbles or rests holds a connection for five seconds at most, an operator who rests for a minute.
func TestSlowClientsAreCut(t *testing.T) {
	for _, c := range []struct {
		name, sends string
		least, most time.Duration
	}{
		{"says nothing", "", 0, 5 * time.Second},
		{"half a header", "GET /v1/status HTTP/1.1\r\nHost: local", 0, 5 * time.Second},
		{"half a body", "POST /v1/save HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{", 0, 31 * time.Second},
		{"a stranger rests", "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 5 * time.Second, 5 * time.Second},
		{"an operator rests", "GET /v1/why?client=::1 HTTP/1.1\r\nHost: localhost\r\n\r\n", 60 * time.Second, 60 * time.Second},
		{"was refused", "GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n", 0, time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, admin.Options{}, func(t *testing.T, p *pipes, _ *admintest.Operator) {
				conn := p.dial()
				defer conn.Close()
				if c.sends != "" {
					io.WriteString(conn, c.sends)
				}
				if got := lasts(conn); got < c.least || got > c.most {
					t.Errorf("got %v, want %v to %v", got, c.least, c.most)
				}
			})
		})
	}
}

// Who does not read an answer is cut, too.
func TestSlowReadersAreCut(t *testing.T) {
	inBubble(t, admin.Options{}, func(t *testing.T, p *pipes, _ *admintest.Operator) {
		c := p.dial()
		defer c.Close()
		io.WriteString(c, "GET /v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n")
		time.Sleep(31 * time.Second)
		c.SetReadDeadline(time.Now().Add(time.Second))
		if n, err := io.Copy(io.Discard, c); err != nil {
			t.Errorf("got %d bytes and %v, want an end", n, err)
		}
	})
}

// Who has just come is let be for a moment, even if another one waits for the place.
func TestNewcomersHaveAMoment(t *testing.T) {
	inBubble(t, admin.Options{MaxConnections: 8}, func(t *testing.T, p *pipes, _ *admintest.Operator) {
		began := time.Now()
		first, second := p.dial(), p.dial() // all that a quarter of 8 holds
		defer second.Close()
		third := p.dial()
		defer third.Close()
		if lasts(first); time.Since(began) != 30*time.Millisecond {
			t.Errorf("the first went after %v, want 30ms", time.Since(began))
		}
		io.WriteString(third, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if line, err := bufio.NewReader(third).ReadString('\n'); line != "HTTP/1.1 200 OK\r\n" {
			t.Errorf("the third: got %q, %v", line, err)
		}
	})
}

// A large configuration may take its time to arrive, although its connection begins as a stranger's.
func TestOperatorsMayTakeTheirTime(t *testing.T) {
	inBubble(t, admin.Options{}, func(t *testing.T, p *pipes, _ *admintest.Operator) {
		c := p.dial()
		defer c.Close()
		const body = `{"file":"/x","text":""}`
		fmt.Fprintf(c, "POST /v1/plan HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", len(body))
		time.Sleep(20 * time.Second)
		io.WriteString(c, body)
		if line, err := bufio.NewReader(c).ReadString('\n'); line != "HTTP/1.1 422 Unprocessable Entity\r\n" {
			t.Errorf("got %q, %v", line, err)
		}
	})
}

// subscribe opens a stream and reads the head of its answer.
func subscribe(t *testing.T, p *pipes, head string) (net.Conn, *bufio.Reader) {
	t.Helper()
	c := p.dial()
	io.WriteString(c, "GET /v1/events HTTP/1.1\r\nHost: localhost\r\n"+head+"\r\n")
	in := bufio.NewReader(c)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if line == "\r\n" {
			return c, in
		}
	}
}

// A reader of events who stops reading is cut, and stops nobody meanwhile.
func TestSlowReaderOfEvents(t *testing.T) {
	inBubble(t, admin.Options{}, func(t *testing.T, p *pipes, op *admintest.Operator) {
		slow, _ := subscribe(t, p, "")
		defer slow.Close()
		synctest.Wait()
		began := time.Now()
		for i := range 10_000 {
			op.Feed.Publish(admin.Event{At: began, Kind: "backend", Message: fmt.Sprint(i)})
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("publishing waited for %v", took)
		}
		time.Sleep(11 * time.Second)
		slow.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := io.Copy(io.Discard, slow); err != nil {
			t.Errorf("got %v, want an end", err)
		}
	})
}

// A stream lasts longer than any deadline of a request, and says now and then that it is alive.
func TestStreamsLast(t *testing.T) {
	inBubble(t, admin.Options{}, func(t *testing.T, p *pipes, op *admintest.Operator) {
		lines, inLines := subscribe(t, p, "")
		sse, inSSE := subscribe(t, p, "Accept: text/event-stream\r\n")
		defer lines.Close()
		defer sse.Close()
		late := time.AfterFunc(time.Hour, func() {
			op.Feed.Publish(admin.Event{At: noon, Kind: "backend", Frontend: "pg", Backend: "db1", From: "up", To: "down", Reason: "a\nb", Message: "db1 is down"})
		})
		defer late.Stop()
		const want = `{"at":"2026-01-02T12:00:00Z","kind":"backend","frontend":"pg","backend":"db1","from":"up","to":"down","reason":"a\nb","message":"db1 is down"}`
		var both sync.WaitGroup
		for _, r := range []struct {
			in    *bufio.Reader
			want  string
			beats string
		}{{inLines, want, "\n"}, {inSSE, "event: backend\ndata: " + want, ":\n"}} {
			both.Go(func() {
				beats, got := 0, ""
				for !strings.Contains(got, "db1") {
					line, err := in(r.in)
					if err != nil {
						t.Errorf("after %d beats: %v", beats, err)
						return
					}
					if line == r.beats {
						beats++
					} else if line != "\n" {
						got += line
					}
				}
				if strings.TrimSuffix(got, "\n") != r.want || beats < 200 {
					t.Errorf("got %q and %d beats, want %q and 200 or more", got, beats, r.want)
				}
			})
		}
		both.Wait()
	})
}

// in reads a line out of the chunks of a body (RFC 9112 section 7.1); their sizes are no lines of it.
func in(r *bufio.Reader) (string, error) {
	for {
		line, err := r.ReadString('\n')
		if err != nil || !strings.HasSuffix(line, "\r\n") {
			return line, err
		}
	}
}

func TestStreamsAreBounded(t *testing.T) {
	inBubble(t, admin.Options{}, func(t *testing.T, p *pipes, _ *admintest.Operator) {
		var open []net.Conn
		for range 16 {
			c, _ := subscribe(t, p, "")
			open = append(open, c)
		}
		status := func() string {
			c := p.dial()
			defer c.Close()
			io.WriteString(c, "GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
			line, _ := bufio.NewReader(c).ReadString('\n')
			return line
		}
		if got := status(); got != "HTTP/1.1 503 Service Unavailable\r\n" {
			t.Errorf("the 17th: got %q", got)
		}
		open[0].Close()
		synctest.Wait()
		if got := status(); got != "HTTP/1.1 200 OK\r\n" {
			t.Errorf("after one has left: got %q", got)
		}
		for _, c := range open {
			c.Close()
		}
	})
}

func TestRequestsAreBounded(t *testing.T) {
	h := open(t, admin.Options{})
	h.send(t, "POST", "/v1/sessions/kill", `{"backend":"`+strings.Repeat("x", 64<<10)+`"}`).want(t, 413, "larger than 65536 bytes")
	// What the door does not read of it may undo its answer.
	resp, err := h.client.Do(h.request(t, "GET", "/v1/status", "", "X-Long", strings.Repeat("x", 32<<10)))
	if err == nil {
		resp.Body.Close()
		if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("a header of 32 KiB: got %s", resp.Status)
		}
	}
	if got := h.op.Calls(); len(got) != 0 {
		t.Errorf("got %q", got)
	}
}
