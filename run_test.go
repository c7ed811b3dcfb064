//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

func listen(t *testing.T, address string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// shortTempDir is for unix sockets, whose paths are at most 107 bytes long.
func shortTempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "weir")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// echoServer starts weir echo and returns it with its address.
func echoServer(t *testing.T, address, name string) (*process, string) {
	t.Helper()
	p := start(t, ".", "echo", "-v", "--log-format", "json", "--listen", address, "--name", name)
	return p, logField(t, p.stderr.await(t, "echo is listening"), "listen")
}

// configure writes a file and returns its path.
func configure(t *testing.T, keys string, backends ...string) string {
	t.Helper()
	text := "[frontend]\n" + keys + "\n"
	for _, b := range backends {
		text += fmt.Sprintf("[[frontend.backend]]\nforward_to = %q\n", b)
	}
	file := filepath.Join(t.TempDir(), "weir.toml")
	write(t, file, text)
	return file
}

// balance starts weir before those backends and returns it with its address.
func balance(t *testing.T, backends ...string) (*process, string) {
	t.Helper()
	p := start(t, ".", "run", "-v", "-c", configure(t, `bind_on = "127.0.0.1:0"`, backends...))
	return p, logField(t, p.stderr.await(t, "listening for connections"), "bind_on")
}

func logField(t *testing.T, line, key string) string {
	t.Helper()
	var fields map[string]any
	if err := json.Unmarshal([]byte(line), &fields); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return fmt.Sprint(fields[key])
}

func dial(t *testing.T, address string) *net.TCPConn {
	t.Helper()
	c, err := (&net.Dialer{Timeout: patience}).Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c.(*net.TCPConn)
}

// talk sends a message, ends it, and returns all that comes back.
func talk(address, message string) (string, error) {
	c, err := (&net.Dialer{Timeout: patience}).Dial(network(address), strings.TrimPrefix(address, "unix:"))
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, message); err != nil {
		return "", err
	}
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		return "", err
	}
	all, err := io.ReadAll(c)
	return string(all), err
}

func network(address string) string {
	if strings.HasPrefix(address, "unix:") {
		return "unix"
	}
	return "tcp"
}

// eventually waits for something that has no event to wait for.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(patience); !is(); {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// The four lines of mini-balancer stand at -v, in order; the first connection goes to the first
// backend, the next to the second, then around again.
func TestMiniBalancerLines(t *testing.T) {
	_, left := echoServer(t, "127.0.0.1:0", "left")
	_, right := echoServer(t, "127.0.0.1:0", "right")
	w, address := balance(t, left, right)
	for i, want := range []string{"left", "right", "left", "right"} {
		if got, err := talk(address, "hello\n"); err != nil || got != want+"\nhello\n" {
			t.Errorf("connection %d: got %q, %v, want %q and the echo", i+1, got, err, want)
		}
		w.stderr.awaitNth(t, "served connection", i+1)
	}
	w.signal(syscall.SIGTERM)
	w.wantExit(t, 0)
	var got []string
	for line := range strings.Lines(w.stderr.String()) {
		got = append(got, logField(t, line, "message"))
	}
	session := []string{"serving connection", "opened client connection", "served connection"}
	want := slices.Concat([]string{"listening for connections"}, session, session, session, session, []string{"stopping", "draining", "stopped"})
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if w.stdout.String() != "" {
		t.Errorf("got %q on stdout, want nothing", w.stdout)
	}
}

func TestSilentWithoutV(t *testing.T) {
	_, left := echoServer(t, "127.0.0.1:0", "left")
	address := "unix:" + filepath.Join(shortTempDir(t), "front.sock")
	w := start(t, ".", "-c", configure(t, fmt.Sprintf("bind_on = %q", address), left))
	eventually(t, "weir to serve", func() bool {
		got, err := talk(address, "hello\n")
		return err == nil && got == "left\nhello\n"
	})
	w.signal(syscall.SIGTERM)
	w.wantExit(t, 0)
	if out := w.stdout.String() + w.stderr.String(); out != "" {
		t.Errorf("got %q, want silence", out)
	}
}

func TestLogFormats(t *testing.T) {
	file := configure(t, `bind_on = "127.0.0.1:0"`, "127.0.0.1:1")
	jsonLine := regexp.MustCompile(`^\{"level":"info",.*"message":"listening for connections"\}\n$`)
	plainLine := regexp.MustCompile(`^\d\d:\d\d:\d\d INF listening for connections .*bind_on=127\.0\.0\.1:\d+`)
	colourLine := regexp.MustCompile("\x1b\\[\\d+m.*INF.*listening for connections")
	for _, c := range []struct {
		name     string
		args     []string
		env      string
		terminal bool
		want     *regexp.Regexp
	}{
		{"auto, a pipe", []string{"-v", "-c", file}, "", false, jsonLine},
		{"json, a pipe", []string{"--log-format", "json", "-v", "-c", file}, "", false, jsonLine},
		{"console, a pipe", []string{"run", "--log-format", "console", "-v", "-c", file}, "", false, plainLine},
		{"auto, a terminal", []string{"-v", "-c", file}, "", true, colourLine},
		{"before the command", []string{"--log-format", "json", "-v", "run", "-c", file}, "", true, jsonLine},
		{"json, a terminal", []string{"run", "-v", "-c", file, "--log-format=json"}, "", true, jsonLine},
		{"NO_COLOR, a terminal", []string{"-v", "-c", file}, "NO_COLOR=1", true, plainLine},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := exec.Command(binary, c.args...)
			cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "NO_COLOR=") }), c.env)
			var line string
			if c.terminal {
				line = onTerminal(t, cmd)
			} else {
				line = startCommand(t, cmd).stderr.await(t, "listening for connections")
			}
			if !c.want.MatchString(line) {
				t.Errorf("got %q, want %s", line, c.want)
			}
		})
	}
}

// openTerminal returns both ends of a terminal.
func openTerminal(t *testing.T) (master, terminal *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Skipf("SKIPPED: no terminal to be had: %v", err)
	}
	t.Cleanup(func() { master.Close() })
	var number uint32
	for _, c := range []struct {
		request uintptr
		value   *uint32
	}{{unix.TIOCSPTLCK, new(uint32)}, {unix.TIOCGPTN, &number}} {
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, master.Fd(), c.request, uintptr(unsafe.Pointer(c.value))); errno != 0 {
			t.Fatal(errno)
		}
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return master, terminal
}

// onTerminal starts a command with a terminal as its stderr, and returns the first line on it.
func onTerminal(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	master, terminal := openTerminal(t)
	cmd.Stderr = terminal
	return strings.ReplaceAll(readTerminal(t, cmd, master, terminal, 1, "\n"), "\r\n", "\n")
}

// screenOf starts a command with a terminal of 24 lines as its stdout, and returns what it wrote there until it had
// written something so often.
func screenOf(t *testing.T, cmd *exec.Cmd, often int, what string) string {
	t.Helper()
	master, terminal := openTerminal(t)
	if err := unix.IoctlSetWinsize(int(terminal.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 100}); err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = terminal
	return readTerminal(t, cmd, master, terminal, often, what)
}

// readTerminal runs a command until it has written something so often.
func readTerminal(t *testing.T, cmd *exec.Cmd, master, terminal *os.File, often int, what string) string {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	terminal.Close()
	defer cmd.Wait()
	defer cmd.Process.Kill()
	giveUp := time.AfterFunc(patience, func() { cmd.Process.Kill() }) // then the read fails
	defer giveUp.Stop()
	var text []byte
	for one := make([]byte, 1); strings.Count(string(text), what) < often; text = append(text, one...) {
		if _, err := master.Read(one); err != nil {
			t.Fatalf("got %q, then %v", text, err)
		}
	}
	return string(text)
}

// A running session finishes after the first signal, new clients are refused.
func TestB42SignalDrains(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(s.String(), func(t *testing.T) {
			_, left := echoServer(t, "127.0.0.1:0", "left")
			w, address := balance(t, left)
			c := dial(t, address)
			expect(t, c, "left\n")
			w.signal(s)
			w.stderr.await(t, "stopping")
			eventually(t, "new clients to be refused", func() bool {
				n, err := net.DialTimeout("tcp", address, patience)
				if err == nil {
					n.Close()
				}
				return errors.Is(err, syscall.ECONNREFUSED)
			})
			if _, err := io.WriteString(c, "still here"); err != nil {
				t.Fatal(err)
			}
			expect(t, c, "still here")
			c.CloseWrite()
			w.wantExit(t, 0)
			// The other clients that were still accepted have lines as well.
			line := w.stderr.awaitNth(t, `"session":1,`, 3)
			if logField(t, line, "message") != "served connection" || logField(t, line, "outcome") != "normal" {
				t.Errorf("got %s, want outcome normal", line)
			}
		})
	}
}

func TestB42SecondSignalEndsAtOnce(t *testing.T) {
	_, left := echoServer(t, "127.0.0.1:0", "left")
	w, address := balance(t, left)
	c := dial(t, address)
	expect(t, c, "left\n")
	w.signal(syscall.SIGTERM)
	w.stderr.await(t, "stopping")
	w.signal(syscall.SIGTERM)
	w.wantExit(t, 1)
	w.stderr.await(t, "weir: ended at once by a second signal")
	if line := w.stderr.await(t, "served connection"); logField(t, line, "outcome") != "shutdown" {
		t.Errorf("got %s, want outcome shutdown", line)
	}
}

func expect(t *testing.T, c net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("read %q, %v, want %q", got[:n], err, want)
	}
}

// A port in use is named, and nothing is half-started: the frontend before it left no socket behind,
// and no backend was probed.
func TestB44PortInUseExitsOne(t *testing.T) {
	dir := shortTempDir(t)
	taken, backend := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
	socket := filepath.Join(dir, "first.sock")
	file := filepath.Join(dir, "weir.toml")
	write(t, file, fmt.Sprintf(`frontend = [
	{ bind_on = "unix:%s", backend = { forward_to = "%s" } },
	{ bind_on = "%s", backend = { forward_to = "%[2]s" } },
]`, socket, backend.Addr(), taken.Addr()))
	r := weir(t, ".", "-v", "-c", file)
	r.want(t, 1, "", taken.Addr().String()+": bind: address already in use\n")
	if !strings.HasPrefix(r.stderr, "weir: ") || strings.Count(r.stderr, "\n") != 1 {
		t.Errorf("got %q, want one line from weir", r.stderr)
	}
	if _, err := os.Lstat(socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the first frontend left its socket behind: %v", err)
	}
	backend.(*net.TCPListener).SetDeadline(time.Now()) // what came while weir ran is in the queue
	if c, err := backend.Accept(); err == nil {
		t.Errorf("weir connected to a backend, from %v", c.RemoteAddr())
	}
}

func TestEchoPortInUse(t *testing.T) {
	taken := listen(t, "127.0.0.1:0").Addr().String()
	weir(t, ".", "echo", "--listen", taken).want(t, 1, "", "weir: listen tcp "+taken+": bind: address already in use\n")
}

func TestEchoSpeaksUnixAndEndsDuringADelay(t *testing.T) {
	address := "unix:" + filepath.Join(shortTempDir(t), "echo.sock")
	p := start(t, ".", "echo", "-v", "--listen", address, "--listen", "127.0.0.1:0", "--name", "slow", "--delay", "1h")
	tcp := logField(t, p.stderr.await(t, "127.0.0.1:"), "listen")
	p.stderr.awaitNth(t, "echo is listening", 2)
	c := dial(t, tcp)
	expect(t, c, "slow\n")
	io.WriteString(c, "hello")
	u, err := net.Dial("unix", strings.TrimPrefix(address, "unix:"))
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	u.SetDeadline(time.Now().Add(patience))
	expect(t, u, "slow\n")
	p.signal(syscall.SIGTERM)
	p.wantExit(t, 0)
}

// 10,000 connections through the example lose none while one of its servers is killed and restarted
// five times. A session in the middle of a killed process is lost with any balancer, so the killer takes
// a moment when none is; the connections go on while the server is dead and while it returns.
func TestTenThousandConnectionsLoseNone(t *testing.T) {
	file, addresses := example(t, "examples/two-echo.toml", "7070", "8080", "9090")
	left := startEcho(t, addresses[1], "left")
	startEcho(t, addresses[2], "right")
	start(t, ".", "-c", file)
	eventually(t, "weir to serve", func() bool { _, err := talk(addresses[0], "?\n"); return err == nil })

	const total, rounds = 10_000, 5
	s := &shower{address: addresses[0], total: total}
	for range rounds {
		s.run(t, 400, func() { s.between(left.kill) })
		s.run(t, 600, func() { left = startEcho(t, addresses[1], "left") })
		if !testing.Short() { // weir has ejected it for 10 s
			s.untilServedBy(t, "left", 15*time.Second)
		}
	}
	s.run(t, total, func() {}) // what is left of them
	l, r := s.served("left"), s.served("right")
	t.Logf("%d connections: left %d, right %d", l+r, l, r)
	if l+r != total {
		t.Errorf("got %d successes, want exactly %d", l+r, total)
	}
	least := total / 10
	if testing.Short() { // killed early, it is ejected until the end
		least = 1
	}
	if l < least || r < least {
		t.Errorf("left served %d and right %d, want at least %d each", l, r, least)
	}
}

// startEcho starts an echo server and waits until it listens.
func startEcho(t *testing.T, address, name string) *process {
	t.Helper()
	p, _ := echoServer(t, address, name)
	return p
}

// example returns an example, and its addresses on 127.0.0.1, in the order of its ports. Where one of them
// is taken, it is a copy with others.
func example(t *testing.T, file string, ports ...string) (path string, addresses []string) {
	t.Helper()
	if taken := takenPorts(ports); len(taken) > 0 {
		t.Logf("NOTE: ports %v are taken: using a copy of %s with other ports", taken, file)
		text := read(t, file)
		for i, port := range ports {
			_, free, _ := net.SplitHostPort(listenOnce(t))
			text = strings.ReplaceAll(text, ":"+port, ":"+free)
			ports[i] = free
		}
		file = filepath.Join(t.TempDir(), filepath.Base(file))
		write(t, file, text)
	}
	for _, port := range ports {
		addresses = append(addresses, "127.0.0.1:"+port)
	}
	return file, addresses
}

func takenPorts(ports []string) (taken []string) {
	for _, port := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err != nil {
			taken = append(taken, port)
			continue
		}
		l.Close()
	}
	return taken
}

// listenOnce returns an address that was free a moment ago.
func listenOnce(t *testing.T) string {
	t.Helper()
	l := listen(t, "127.0.0.1:0")
	l.Close()
	return l.Addr().String()
}

// shower makes connections through weir, up to a total.
type shower struct {
	address string
	total   int64
	gate    sync.RWMutex // held for reading by each connection in flight
	made    atomic.Int64 // begun
	mu      sync.Mutex
	names   map[string]int
}

const showerWorkers = 8

// run makes at least n connections, as fast as they go, and goes on while something happens halfway.
// It never passes the total.
func (s *shower) run(t *testing.T, n int64, halfway func()) {
	t.Helper()
	var happened atomic.Bool
	half, goal := s.made.Load()+n/2, s.made.Load()+n
	begin := make(chan struct{})
	var g errgroup.Group
	for range showerWorkers {
		g.Go(func() error {
			for at := s.made.Load(); at < s.total && (at < goal || !happened.Load()); at = s.made.Load() {
				if !s.made.CompareAndSwap(at, at+1) {
					continue
				}
				if at == half {
					close(begin)
				}
				s.one(t)
			}
			return nil
		})
	}
	if half < s.total {
		<-begin
	}
	halfway()
	happened.Store(true)
	g.Wait()
}

// untilServedBy makes connections at a walking pace until that server gets one.
func (s *shower) untilServedBy(t *testing.T, name string, limit time.Duration) {
	t.Helper()
	before := s.served(name)
	pace := time.NewTicker(20 * time.Millisecond)
	defer pace.Stop()
	for late := time.After(limit); s.served(name) == before; {
		select {
		case <-pace.C:
			s.made.Add(1)
			s.one(t)
		case <-late:
			t.Fatalf("%s got no connection within %v of its return", name, limit)
		}
	}
}

// one makes one connection and sees all of it come back.
func (s *shower) one(t *testing.T) {
	s.gate.RLock()
	defer s.gate.RUnlock()
	const message = "hello, weir\n"
	got, err := talk(s.address, message)
	name, echoed, _ := strings.Cut(got, "\n")
	if err != nil || echoed != message {
		t.Errorf("connection failed: got %q, %v", got, err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.names == nil {
		s.names = map[string]int{}
	}
	s.names[name]++
}

// between does something while no connection is in flight.
func (s *shower) between(do func()) {
	s.gate.Lock()
	defer s.gate.Unlock()
	do()
}

func (s *shower) served(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.names[name]
}
