//go:build linux

package balancer_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"weir/backend"
	"weir/balancer"
	"weir/config"
	"weir/frontend"
)

// patience bounds every wait of a test. No test depends on how much of it is used.
const patience = 20 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// everyEngine runs a behaviour test once for each engine that can serve it.
func everyEngine(t *testing.T, run func(t *testing.T, engine string)) {
	for _, engine := range []string{"copy", "reactor"} {
		t.Run(engine, func(t *testing.T) { run(t, engine) })
	}
}

// weir is a running balancer with one frontend named "f", and what it logged.
type weir struct {
	t    *testing.T
	b    *balancer.Balancer
	log  *logbook
	addr string // of the first listener
	stop context.CancelFunc
	kill context.CancelFunc
	done chan error
}

// startWeir runs a balancer with the given lines in its [frontend] table, before any sub-table, and
// the given sub-tables and other tables behind it. When the test ends it is stopped, and everything
// it opened must be closed again.
func startWeir(t *testing.T, engine, frontendKeys, tables string) *weir {
	t.Helper()
	if !strings.Contains(frontendKeys, "bind_on") {
		frontendKeys += "\nbind_on = \"127.0.0.1:0\""
	}
	return startWeirFile(t, "[frontend]\nname = \"f\"\nengine = \""+engine+"\"\n"+frontendKeys+"\n"+tables+"\n")
}

func startWeirFile(t *testing.T, file string) *weir {
	t.Helper()
	book := newLogbook()
	return startWeirLogging(t, file, book, zerolog.New(book).Level(zerolog.DebugLevel).With().Timestamp().Logger())
}

func startWeirLogging(t *testing.T, file string, book *logbook, log zerolog.Logger) (w *weir) {
	t.Helper()
	before := openDescriptors()
	t.Cleanup(func() {
		if t.Failed() && w != nil {
			t.Logf("the end of the log:\n%s", w.log.tail(30))
		}
	})
	cfg, err := config.Parse("test.toml", []byte(file))
	if err != nil {
		t.Fatalf("configuration:\n%s\n%v", file, err)
	}
	w = &weir{t: t, log: book, done: make(chan error, 1)}
	w.b, err = balancer.New(t.Context(), cfg, log)
	if err != nil {
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

// settle stops weir and holds it to leaving nothing behind.
func (w *weir) settle(before int) {
	w.stop()
	w.kill()
	select {
	case err := <-w.done:
		if err != nil {
			w.t.Errorf("Run: %v", err)
		}
	case <-time.After(patience):
		w.t.Fatal("weir does not stop")
	}
	c := w.b.Counters("f")
	if o, cl := c.Opened.Load(), c.Closed.Load(); o != cl {
		w.t.Errorf("sessions: %d opened, %d closed", o, cl)
	}
	for _, s := range w.b.Pool("f").Snapshot() {
		if s.Active != 0 {
			w.t.Errorf("backend %s still has %d sessions", s.Backend.Name(), s.Active)
		}
	}
	eventually(w.t, "descriptors to return", func() bool { return openDescriptors() <= before })
}

// dial connects a client to weir.
func (w *weir) dial() *net.TCPConn {
	w.t.Helper()
	return dialTCP(w.t, w.addr)
}

func dialTCP(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	d := net.Dialer{Timeout: patience}
	d.SetMultipathTCP(false)
	c, err := d.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return patient(t, c).(*net.TCPConn)
}

// patient closes a connection at the end of the test, and bounds every wait on it.
func patient(t *testing.T, c net.Conn) net.Conn {
	c.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { c.Close() })
	return c
}

// state waits until the pool sees backend i in that state.
func (w *weir) state(i int, want backend.State) {
	w.t.Helper()
	eventually(w.t, fmt.Sprintf("backend %d to be %s", i, want), func() bool {
		return w.b.Pool("f").Snapshot()[i].State == want
	})
}

// sessionLine is the line logged when a session ends.
type sessionLine struct {
	Level     string  `json:"level"`
	Message   string  `json:"message"`
	Client    string  `json:"client"`
	Backend   string  `json:"backend"`
	WaitedMS  float64 `json:"waited_ms"`
	ConnectMS float64 `json:"connect_ms"`
	TotalMS   float64 `json:"total_ms"`
	BytesUp   int64   `json:"bytes_up"`
	BytesDown int64   `json:"bytes_down"`
	Tries     int     `json:"tries"`
	Outcome   string  `json:"outcome"`
	Code      string  `json:"code"`
	Error     string  `json:"error"`
}

// ended returns the line of the next session that ended.
func (w *weir) ended() sessionLine {
	w.t.Helper()
	var s sessionLine
	line := w.log.next(w.t, "served connection")
	checkSessionLine(w.t, line)
	if err := json.Unmarshal([]byte(line), &s); err != nil {
		w.t.Fatal(err)
	}
	return s
}

// wantEnd checks how the next session ended.
func (w *weir) wantEnd(outcome frontend.Outcome, code string) sessionLine {
	w.t.Helper()
	s := w.ended()
	if s.Outcome != outcome.String() || s.Code != code {
		w.t.Errorf("session ended with %q %q (error %q), want %q %q", s.Outcome, s.Code, s.Error, outcome, code)
	}
	return s
}

// logbook keeps what weir logs, a line each.
type logbook struct {
	mu    sync.Mutex
	grown *sync.Cond
	lines []string
	read  map[string]int // how far next has come, by message
}

func newLogbook() *logbook {
	l := &logbook{read: map[string]int{}}
	l.grown = sync.NewCond(&l.mu)
	return l
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, string(p))
	l.grown.Broadcast()
	return len(p), nil
}

// next returns the next line with that message, and waits for it.
func (l *logbook) next(t *testing.T, message string) string {
	t.Helper()
	late := false
	timer := time.AfterFunc(patience, func() { l.mu.Lock(); late = true; l.grown.Broadcast(); l.mu.Unlock() })
	defer timer.Stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		for i := l.read[message]; i < len(l.lines); i++ {
			if strings.Contains(l.lines[i], `"message":"`+message+`"`) {
				l.read[message] = i + 1
				return l.lines[i]
			}
		}
		l.read[message] = len(l.lines)
		if late {
			t.Fatalf("weir did not log %q", message)
		}
		l.grown.Wait()
	}
}

// count returns how many lines contain the text.
func (l *logbook) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, line := range l.lines {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// tail returns the last n lines.
func (l *logbook) tail(n int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines[max(0, len(l.lines)-n):], "")
}

// server is a listening socket that a test plays the backend on.
type server struct {
	t *testing.T
	*net.TCPListener
}

func newServer(t *testing.T) *server {
	t.Helper()
	return serverOn(t, "127.0.0.1:0")
}

func serverOn(t *testing.T, address string) *server {
	t.Helper()
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return &server{t, l.(*net.TCPListener)}
}

func (s *server) addr() string { return s.Addr().String() }

// accept returns the next connection that weir makes.
func (s *server) accept() *net.TCPConn {
	s.t.Helper()
	s.SetDeadline(time.Now().Add(patience))
	c, err := s.Accept()
	if err != nil {
		s.t.Fatal(err)
	}
	return patient(s.t, c).(*net.TCPConn)
}

// to is a [[frontend.backend]] table.
func to(address string, keys ...string) string {
	return fmt.Sprintf("[[frontend.backend]]\nforward_to = %q\n%s\n", address, strings.Join(keys, "\n"))
}

// noProbes keeps probes out of a test that accepts by hand.
const noProbes = "[frontend.health]\nkind = \"none\"\n"

// through returns a client and the backend's end of its session, with one server and no probes.
func through(t *testing.T, engine, frontendKeys string) (w *weir, client, server *net.TCPConn) {
	t.Helper()
	s := newServer(t)
	w = startWeir(t, engine, frontendKeys, to(s.addr())+noProbes)
	client = w.dial()
	return w, client, s.accept()
}

// deadAddress returns an address of this host that refuses connections.
func deadAddress(t *testing.T) string {
	t.Helper()
	// Bound, but not listening: nobody else gets the port while the test runs.
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	sa, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", sa.(*syscall.SockaddrInet4).Port)
}

func send(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatalf("send %.20q: %v", text, err)
	}
}

// expect reads exactly that text.
func expect(t *testing.T, c net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(c, got); err != nil {
		t.Fatalf("read %q, then %v; want %.40q", got[:n], err, want)
	}
	if string(got) != want {
		t.Fatalf("read %.40q, want %.40q", got, want)
	}
}

// expectEnd reads the end of the stream, and nothing before it.
func expectEnd(t *testing.T, c net.Conn) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Fatalf("read %d bytes and %v, want the end of the stream", n, err)
	}
}

// expectReset reads a reset, and nothing before it.
func expectReset(t *testing.T, c net.Conn) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("read %d bytes and %v, want a reset", n, err)
	}
}

// expectClosed reads to an end or a reset.
func expectClosed(t *testing.T, c net.Conn) {
	t.Helper()
	_, err := io.Copy(io.Discard, c)
	if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("read until %v, want an end or a reset", err)
	}
}

func reset(c *net.TCPConn) {
	c.SetLinger(0)
	c.Close()
}

// eventually waits for something that has no event to wait for.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for late := time.After(patience); !is(); {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// within checks a measured time against a configured one: 10 % or 50 ms, whichever is larger.
func within(t *testing.T, what string, got, want time.Duration) {
	t.Helper()
	slack := max(want/10, 50*time.Millisecond)
	if got < want-slack || got > want+slack {
		t.Errorf("%s after %v, want %v ± %v", what, got, want, slack)
	}
}

// openDescriptors counts this process's descriptors. -1 where that cannot be known.
func openDescriptors() int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return -1
	}
	return len(list)
}

// startWeirTo is startWeir with a log of the test's own: w.log stays empty unless it writes there.
func startWeirTo(t *testing.T, engine, frontendKeys, tables string, book *logbook, log zerolog.Logger) *weir {
	t.Helper()
	file := "[frontend]\nname = \"f\"\nengine = \"" + engine + "\"\n" + frontendKeys + "\n" + tables + "\n"
	return startWeirLogging(t, file, book, log)
}

// The runtime's poller keeps descriptors from its first use on. That is before any are counted.
func init() {
	if r, w, err := os.Pipe(); err == nil {
		r.Close()
		w.Close()
	}
}
