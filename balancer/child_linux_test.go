package balancer_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"weir/balancer"
	"weir/config"
)

// childRole says what a copy of this test binary is to be in place of a test.
const childRole = "WEIR_TEST_CHILD"

// TestChild is no test: it is main of a child, see startChild.
func TestChild(t *testing.T) {
	roles := map[string]func() error{"": nil, "backend": beBackend, "weir": beWeir}
	be := roles[os.Getenv(childRole)]
	if be == nil {
		return
	}
	if err := be(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// child is a process that runs this test binary in a role. What it prints can be waited for, and what
// it logs on stderr is in its logbook. It ends with the test at the latest.
type child struct {
	t     *testing.T
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines <-chan string
	log   *logbook
}

func startChild(t *testing.T, role string, env ...string) *child {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{t: t, cmd: exec.Command(exe, "-test.run=^TestChild$"), log: newLogbook()}
	c.cmd.Env = append(append(os.Environ(), childRole+"="+role), env...)
	c.cmd.Stderr = &lineWriter{to: c.log}
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 100)
	c.lines = lines
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(stdout); s.Scan(); {
			lines <- s.Text()
		}
	}()
	t.Cleanup(c.end)
	return c
}

// end lets the child end by itself, and kills it if it does not.
func (c *child) end() {
	c.stdin.Close()
	late := time.AfterFunc(patience, func() { c.cmd.Process.Kill() })
	defer late.Stop()
	for range c.lines { // all must be read before Wait
	}
	c.cmd.Wait()
	if c.t.Failed() {
		c.t.Logf("the end of the child's log:\n%s", c.log.tail(30))
	}
}

// says returns the next line that the child prints.
func (c *child) says() string {
	c.t.Helper()
	return next(c.t, c.lines)
}

// asked sends the child a word and returns its answer.
func (c *child) asked(word string) string {
	c.t.Helper()
	fmt.Fprintln(c.stdin, word)
	return c.says()
}

// lineWriter passes on whole lines, one a call.
type lineWriter struct {
	to   io.Writer
	rest []byte
}

func (l *lineWriter) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for {
		line, rest, whole := strings.Cut(string(l.rest), "\n")
		if !whole {
			return len(p), nil
		}
		io.WriteString(l.to, line+"\n")
		l.rest = []byte(rest)
	}
}

// beBackend serves one connection in the manner that WEIR_TEST_MANNER says, until it is killed. It
// prints its address, and a line when there is something to know.
func beBackend() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	a, err := l.Accept()
	if err != nil {
		return err
	}
	c := a.(*net.TCPConn)
	switch os.Getenv("WEIR_TEST_MANNER") {
	case "echo":
		sendBack(c)
	case "sender": // sends for ever
		for err == nil {
			_, err = c.Write(make([]byte, 64<<10))
		}
	case "deaf": // sends a little, and says when it has something to read that it does not read
		io.WriteString(c, "hello")
		rc, _ := c.SyscallConn()
		rc.Read(func(fd uintptr) bool {
			n, _, err := unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK)
			return n > 0 || err != unix.EAGAIN
		})
		fmt.Println("unread")
		_, err = io.Copy(io.Discard, os.Stdin)
	}
	return err
}

// beWeir runs the file in WEIR_TEST_FILE with at most WEIR_TEST_FILES descriptors. It prints the
// address of frontend f, then answers "cpu" with the microseconds it has used so far, and stops when
// its input ends.
func beWeir() error {
	most, err := strconv.ParseUint(os.Getenv("WEIR_TEST_FILES"), 10, 64)
	if err != nil {
		return err
	}
	// Both limits: the runtime would give a child's child the old one back, but not us.
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: most, Max: most}); err != nil {
		return err
	}
	cfg, err := config.Parse("test.toml", []byte(os.Getenv("WEIR_TEST_FILE")))
	if err != nil {
		return err
	}
	b, err := balancer.New(context.Background(), cfg, zerolog.New(os.Stderr).With().Timestamp().Logger())
	if err != nil {
		return err
	}
	fmt.Println(b.Addrs("f")[0])
	stop, end := context.WithCancel(context.Background())
	go func() {
		defer end()
		for s := bufio.NewScanner(os.Stdin); s.Scan(); {
			var used unix.Rusage
			unix.Getrusage(unix.RUSAGE_SELF, &used)
			fmt.Println((used.Utime.Nano() + used.Stime.Nano()) / 1000)
		}
	}()
	return b.Run(stop, stop)
}

// startChildWeir runs weir in a process of its own that may open so many files.
func startChildWeir(t *testing.T, engine string, files int, frontendKeys, tables string) (c *child, addr string) {
	t.Helper()
	c = startChild(t, "weir", fmt.Sprintf("WEIR_TEST_FILES=%d", files),
		"WEIR_TEST_FILE=[frontend]\nname = \"f\"\nbind_on = \"127.0.0.1:0\"\nengine = \""+engine+"\"\n"+frontendKeys+"\n"+tables)
	return c, c.says()
}

// cpu returns how much processor time a child has used so far.
func (c *child) cpu() time.Duration {
	c.t.Helper()
	var us int64
	fmt.Sscan(c.asked("cpu"), &us)
	return time.Duration(us) * time.Microsecond
}

// lowestFree returns the number of the descriptor that the child would get next.
func (c *child) lowestFree() uint64 {
	c.t.Helper()
	for n := uint64(0); ; n++ {
		if _, err := os.Lstat(fmt.Sprintf("/proc/%d/fd/%d", c.cmd.Process.Pid, n)); err != nil {
			return n
		}
	}
}

// limitFiles sets how many files the running child may open: the soft limit of setrlimit(2).
func (c *child) limitFiles(n uint64) {
	c.t.Helper()
	var now unix.Rlimit
	if err := unix.Prlimit(c.cmd.Process.Pid, unix.RLIMIT_NOFILE, nil, &now); err != nil {
		c.t.Fatal(err)
	}
	if err := unix.Prlimit(c.cmd.Process.Pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: now.Max}, nil); err != nil {
		c.t.Fatal(err)
	}
}
