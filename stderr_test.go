//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fragileLog is a weir whose stderr is not what it should be.
type fragileLog struct {
	*process
	address, door string
}

// startFragileLog starts weir -v, with a backend, on an engine. prepare gives the command its stderr.
func startFragileLog(t *testing.T, engine, keys string, prepare func(*exec.Cmd), args ...string) *fragileLog {
	t.Helper()
	_, backend := echoServer(t, "127.0.0.1:0", "left")
	dir := shortTempDir(t)
	l := &fragileLog{address: "unix:" + filepath.Join(dir, "front.sock"), door: filepath.Join(dir, "admin.sock")}
	file := configure(t, fmt.Sprintf("bind_on = %q\nengine = %q", l.address, engine), backend)
	write(t, file, read(t, file)+fmt.Sprintf("[admin]\nbind_on = \"unix:%s\"\n", l.door)+keys)
	cmd := exec.Command(binary, append(args, "-v", "-c", file)...)
	if prepare(cmd); cmd.Err != nil {
		t.Fatal(cmd.Err)
	}
	l.process = startCommand(t, cmd)
	for _, path := range []string{strings.TrimPrefix(l.address, "unix:"), l.door} {
		eventually(t, "weir to listen on "+path, func() bool { return listensOn(t, path) })
	}
	return l
}

// metric asks the door.
func (l *fragileLog) metric(t *testing.T, name string) int {
	t.Helper()
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", l.door) }}}
	r, err := client.Get("http://weir/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(body)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			n, err := strconv.Atoi(strings.TrimSpace(value))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

const lostMetric = "weir_log_lines_lost_total"

// losesLines holds weir to serving although its log is broken, and to counting what it cannot write.
func (l *fragileLog) losesLines(t *testing.T) {
	t.Helper()
	before := l.metric(t, lostMetric)
	for range 3 {
		visit(t, l.address)
	}
	eventually(t, "the lines of three sessions to be lost", func() bool { return l.metric(t, lostMetric) >= before+9 })
	visit(t, l.address)
}

func (l *fragileLog) stops(t *testing.T) {
	t.Helper()
	l.signal(syscall.SIGTERM)
	l.wantExit(t, 0)
}

// shell has a command started by a shell that does something before.
func shell(cmd *exec.Cmd, script string) {
	path, args := cmd.Path, cmd.Args[1:]
	*cmd = *exec.Command("/bin/sh", append([]string{"-c", script, path}, args...)...)
}

// ends are the two ends of a pipe or a pair of sockets: what weir writes to, and what the test closes.
func ends(t *testing.T, kind string) (writer, reader *os.File) {
	t.Helper()
	var err error
	if kind == "pipe" {
		reader, writer, err = os.Pipe()
	} else {
		var fds [2]int
		fds, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		writer, reader = os.NewFile(uintptr(fds[0]), "writer"), os.NewFile(uintptr(fds[1]), "reader")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { writer.Close(); reader.Close() })
	return writer, reader
}

// B70: the reader of stderr goes away, whatever stderr is, and whatever was to become of SIGPIPE.
func TestB70ReaderOfStderrGoes(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		for _, kind := range []string{"pipe", "socketpair"} {
			for _, script := range []string{"", "trap '' PIPE; exec \"$0\" \"$@\"", "exec \"$0\" \"$@\" >&2"} {
				t.Run(kind+" "+script, func(t *testing.T) {
					writer, reader := ends(t, kind)
					l := startFragileLog(t, engine, "", func(cmd *exec.Cmd) {
						if script != "" {
							shell(cmd, script)
						}
						cmd.Stderr = writer
					})
					writer.Close()
					visit(t, l.address)
					if n := l.metric(t, lostMetric); n != 0 {
						t.Errorf("%d lines are lost although somebody reads", n)
					}
					reader.Close()
					l.losesLines(t)
					l.stops(t)
				})
			}
		}
	})
}

// B70: stderr is a disk that is full, or was closed when weir was started: no session's socket gets its number.
func TestB70StderrCannotBeWritten(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		for _, script := range []string{
			`exec "$0" "$@" 2>/dev/full`, `exec "$0" "$@" >/dev/full 2>&1`, `exec "$0" "$@" 2>&-`, `exec "$0" "$@" <&- >&- 2>&-`,
		} {
			t.Run(script, func(t *testing.T) {
				l := startFragileLog(t, engine, "", func(cmd *exec.Cmd) { shell(cmd, script) })
				l.losesLines(t)
				for fd := range 3 {
					if target, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", l.cmd.Process.Pid, fd)); strings.Contains(target, "socket") {
						t.Errorf("descriptor %d is %s", fd, target)
					}
				}
				l.stops(t)
			})
		}
	})
}

// Who chose /dev/null does not want to hear of it.
func TestB70NullIsALog(t *testing.T) {
	l := startFragileLog(t, "auto", "", func(cmd *exec.Cmd) { shell(cmd, `exec "$0" "$@" 2>/dev/null`) })
	visit(t, l.address)
	if n := l.metric(t, lostMetric); n != 0 {
		t.Errorf("%d lines are lost", n)
	}
	l.stops(t)
}

// B70: the reader of a FIFO goes, and another comes: it is told how many lines are missing, also when nothing else is
// logged, and gets the next ones. So it is with stderr and with a log file.
func TestB70ReaderComesBack(t *testing.T) {
	for _, where := range []string{"stderr", "file"} {
		t.Run(where, func(t *testing.T) {
			fifo := filepath.Join(shortTempDir(t), "fifo")
			if err := syscall.Mkfifo(fifo, 0o600); err != nil {
				t.Fatal(err)
			}
			first := readFIFO(t, fifo)
			l := startFragileLog(t, "auto", "", func(cmd *exec.Cmd) {
				if where == "stderr" {
					writer, err := os.OpenFile(fifo, os.O_WRONLY, 0)
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { writer.Close() })
					cmd.Stderr = writer
					return
				}
				file := cmd.Args[len(cmd.Args)-1]
				write(t, file, read(t, file)+fmt.Sprintf("[log]\nfile = %q\n", fifo))
				shell(cmd, `exec "$0" "$@" 2>/dev/full`)
			})
			visit(t, l.address)
			first.book.await(t, "served connection")
			first.stop()
			l.losesLines(t)
			second := readFIFO(t, fifo)
			line := second.book.await(t, "log lines were lost: they could not be written")
			if n, err := strconv.Atoi(logField(t, line, "lines")); err != nil || n < 9 {
				t.Errorf("got %s, want at least 9 lines", line)
			}
			visit(t, l.address)
			second.book.await(t, "served connection")
			l.stops(t)
		})
	}
}

// fifoReader reads a FIFO into a book.
type fifoReader struct {
	book *book
	file *os.File
	done chan struct{}
}

func readFIFO(t *testing.T, path string) *fifoReader {
	t.Helper()
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	r := &fifoReader{newBook(path), file, make(chan struct{})}
	go func() {
		defer close(r.done)
		io.Copy(struct{ io.Writer }{r.book}, eager{file})
	}()
	t.Cleanup(r.stop)
	return r
}

func (r *fifoReader) stop() {
	r.file.SetReadDeadline(time.Unix(1, 0))
	<-r.done
	r.file.Close()
}

// eager goes on after the end that a FIFO without a writer has.
type eager struct{ file *os.File }

func (e eager) Read(p []byte) (int, error) {
	n, err := e.file.Read(p)
	if err == io.EOF {
		runtime.Gosched()
		return 0, nil
	}
	return n, err
}

// B70: a file that may not grow any more, which is the nearest to a full disk that needs no disk, and may grow again.
func TestB70FileHasRoomAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stderr")
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	l := startFragileLog(t, "auto", "", func(cmd *exec.Cmd) { cmd.Stderr = file })
	visit(t, l.address)
	eventually(t, "the first session in the log", func() bool { return len(sessionsIn(t, path)) == 1 })
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	var was unix.Rlimit
	if err := unix.Prlimit(l.cmd.Process.Pid, unix.RLIMIT_FSIZE, nil, &was); err != nil {
		t.Fatal(err)
	}
	full := unix.Rlimit{Cur: uint64(info.Size()) + 10, Max: was.Max}
	if err := unix.Prlimit(l.cmd.Process.Pid, unix.RLIMIT_FSIZE, &full, nil); err != nil {
		t.Fatal(err)
	}
	l.losesLines(t)
	if err := unix.Prlimit(l.cmd.Process.Pid, unix.RLIMIT_FSIZE, &was, nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the line about the lost ones", func() bool {
		return strings.Contains(read(t, path), "log lines were lost: they could not be written")
	})
	visit(t, l.address)
	eventually(t, "the last session in the log", func() bool { return len(sessionsIn(t, path)) == 2 })
	l.stops(t)
}

// Commands that end by themselves go on ending quietly, as Unix tools do.
func TestShortCommandsEndWithTheirReader(t *testing.T) {
	for _, args := range [][]string{{"check", "-c", "examples/two-echo.toml"}, {"check", "--print", "-c", "examples/two-echo.toml"}, {"--version"}} {
		writer, reader := ends(t, "pipe")
		reader.Close()
		cmd := exec.Command(binary, args...)
		cmd.Stdout = writer
		p := startCommand(t, cmd)
		p.wait(t)
		if status := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGPIPE || p.stderr.String() != "" {
			t.Errorf("weir %q: %v, and said %q", args, p.cmd.ProcessState, p.stderr)
		}
	}
}
