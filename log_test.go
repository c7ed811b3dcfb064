//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// logging starts weir with these keys in [log] and returns it with its address. It has no -v, so nobody
// hears where it listens: on a unix socket.
func logging(t *testing.T, keys string, args ...string) (p *process, address string) {
	t.Helper()
	_, backend := echoServer(t, "127.0.0.1:0", "left")
	address = "unix:" + filepath.Join(shortTempDir(t), "front.sock")
	file := configure(t, fmt.Sprintf("bind_on = %q", address), backend)
	write(t, file, read(t, file)+"[log]\n"+keys+"\n")
	p = start(t, ".", append(args, "-c", file)...)
	eventually(t, "weir to listen", func() bool { return listensOn(t, strings.TrimPrefix(address, "unix:")) })
	return p, address
}

// listensOn asks the kernel, for a connection would be a session. The file is there before anybody may connect.
func listensOn(t *testing.T, path string) bool {
	t.Helper()
	const acceptsConnections = "00010000" // SO_ACCEPTCON in the column of flags, proc(5)
	for line := range strings.Lines(read(t, "/proc/net/unix")) {
		if f := strings.Fields(line); len(f) == 8 && f[7] == path && f[3] == acceptsConnections {
			return true
		}
	}
	return false
}

func visit(t *testing.T, address string) {
	t.Helper()
	if got, err := talk(address, "hello\n"); err != nil || got != "left\nhello\n" {
		t.Fatalf("got %q, %v", got, err)
	}
}

// sessionsIn returns the numbers of the sessions that ended according to a log.
func sessionsIn(t *testing.T, path string) (numbers []uint64) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(data)) {
		var l struct {
			Session uint64
			Message string
		}
		if err := json.Unmarshal([]byte(line), &l); err == nil && l.Message == "served connection" {
			numbers = append(numbers, l.Session)
		}
	}
	return numbers
}

// As logrotate does it: rename, signal, and the next lines stand in a new file.
func TestLogFileIsReopenedOnSignal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weir.log")
	p, address := logging(t, fmt.Sprintf("file = %q", path))
	visit(t, address)
	eventually(t, "the first line", func() bool { return len(sessionsIn(t, path)) == 1 })
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	visit(t, address)
	eventually(t, "the second line, in the renamed file", func() bool { return len(sessionsIn(t, path+".1")) == 2 })
	p.signal(syscall.SIGUSR1)
	eventually(t, "the new file", func() bool { _, err := os.Stat(path); return err == nil })
	visit(t, address)
	eventually(t, "the third line", func() bool { return len(sessionsIn(t, path)) == 1 })

	// A directory in its place: the old file goes on, and says so.
	if err := os.Rename(path, path+".2"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGUSR1)
	eventually(t, "the complaint", func() bool {
		return strings.Contains(read(t, path+".2"), "cannot open the log file again: going on with the old one")
	})
	visit(t, address)
	p.signal(syscall.SIGTERM)
	p.wantExit(t, 0)
	all := slices.Concat(sessionsIn(t, path+".1"), sessionsIn(t, path+".2"))
	if !slices.Equal(all, []uint64{1, 2, 3, 4}) {
		t.Errorf("got the sessions %v, want each once", all)
	}
	if out := p.stdout.String() + p.stderr.String(); out != "" {
		t.Errorf("got %q beside the file, want nothing", out)
	}
}

// Without a file the signal has nothing to do, and does not end weir.
func TestReopenSignalWithoutLogFile(t *testing.T) {
	p, address := logging(t, "", "-v")
	p.signal(syscall.SIGUSR1)
	p.stderr.await(t, "the log is not in a file: nothing to open again")
	visit(t, address)
	p.signal(syscall.SIGTERM)
	p.wantExit(t, 0)
}

func TestLogFileThatCannotBeOpened(t *testing.T) {
	file := configure(t, `bind_on = "127.0.0.1:0"`, "127.0.0.1:1")
	write(t, file, read(t, file)+"[log]\nfile = \"none/weir.log\"\n")
	path := filepath.Join(filepath.Dir(file), "none", "weir.log")
	weir(t, ".", "-c", file).want(t, exitFailed, "", fmt.Sprintf("%s:6:8: log.file: the directory %q for the log does not exist; create it: ", file, filepath.Dir(path)))
}

// What [log] says of sessions holds without -v, for the line at their end alone.
func TestSessionLinesWithoutV(t *testing.T) {
	for keys, want := range map[string]int{
		`sessions = "all"`: 2, `sessions = "failed"`: 0, `sessions = "none"`: 0, `sessions = "auto"`: 0, "sessions = \"all\"\nrate = 1_000": 2,
		"sessions = \"all\"\nsample = 1_000_000_000": 0,
	} {
		p, address := logging(t, keys)
		visit(t, address)
		visit(t, address)
		p.signal(syscall.SIGTERM)
		p.wantExit(t, 0)
		out := p.stderr.String()
		if strings.Count(out, "served connection") != want || strings.Count(out, "\n") != want {
			t.Errorf("%s: got\n%swant %d lines", keys, out, want)
		}
	}
}

func TestLogFileFormat(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weir.log")
	p, address := logging(t, fmt.Sprintf("file = %q", path), "--log-format", "console")
	visit(t, address)
	p.signal(syscall.SIGTERM)
	p.wantExit(t, 0)
	if got := read(t, path); !strings.Contains(got, " INF served connection ") || strings.Contains(got, "\x1b") {
		t.Errorf("got %q, want lines for people, without colours", got)
	}
}
