//go:build linux

package balancer_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"weir/balancer"
)

func openLogFile(t *testing.T, path string, fallback *bytes.Buffer) *balancer.LogFile {
	t.Helper()
	f, err := balancer.OpenLogFile(path, fallback)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// A log that is renamed and opened again all the time loses no line and cuts none.
func TestLogFileReopens(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weir.log")
	f := openLogFile(t, path, nil)
	const writers, lines, turns = 4, 500, 20
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range lines {
				fmt.Fprintf(f, "writer %d line %d\n", w, i)
			}
		})
	}
	for i := range turns {
		if err := os.Rename(path, fmt.Sprintf("%s.%d", path, i)); err != nil {
			t.Fatal(err)
		}
		if err := f.Reopen(); err != nil {
			t.Fatal(err)
		}
	}
	all.Wait()
	got := readFile(t, path)
	for i := range turns {
		got += readFile(t, fmt.Sprintf("%s.%d", path, i))
	}
	for w := range writers {
		for i := range lines {
			if line := fmt.Sprintf("writer %d line %d\n", w, i); strings.Count(got, line) != 1 {
				t.Fatalf("%q is there %d times", line, strings.Count(got, line))
			}
		}
	}
	if n := strings.Count(got, "\n"); n != writers*lines {
		t.Errorf("got %d lines, want %d", n, writers*lines)
	}
}

func TestLogFileModeAndAppending(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weir.log")
	defer syscall.Umask(syscall.Umask(0))
	for range 2 {
		f := openLogFile(t, path, nil)
		fmt.Fprintln(f, "a line")
	}
	if got := readFile(t, path); got != "a line\na line\n" {
		t.Errorf("got %q, want what both wrote", got)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o640 {
		t.Errorf("got mode %v, %v, want 0640", info.Mode(), err)
	}
}

func TestLogFileThatCannotBeOpened(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo") // nobody reads it
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{
		filepath.Join(dir, "none", "weir.log"): syscall.ENOENT,
		dir:                                    syscall.EISDIR,
		fifo:                                   syscall.ENXIO,
	} {
		f, err := balancer.OpenLogFile(path, nil)
		if f != nil || !errors.Is(err, want) || !strings.HasPrefix(err.Error(), "open the log: open "+path+": ") {
			t.Errorf("%s: got %v, want %v with its path", path, err, want)
		}
	}
}

func TestLogFileReopenThatFailsKeepsTheOld(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weir.log")
	f := openLogFile(t, path, nil)
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := f.Reopen(); !errors.Is(err, syscall.EISDIR) {
		t.Errorf("got %v, want that it is a directory", err)
	}
	fmt.Fprintln(f, "still here")
	if got := readFile(t, path+".1"); got != "still here\n" {
		t.Errorf("got %q in the old file", got)
	}
}

// A full disk sends the lines elsewhere, and says so once.
func TestLogFileFallsBack(t *testing.T) {
	var fallback bytes.Buffer
	f := openLogFile(t, "/dev/full", &fallback)
	fmt.Fprintln(f, "one")
	fmt.Fprintln(f, "two")
	lines := strings.SplitAfter(fallback.String(), "\n")
	if len(lines) != 4 || !strings.Contains(lines[0], "no space left on device") || lines[1] != "one\n" || lines[2] != "two\n" {
		t.Errorf("got %q, want the reason and both lines", lines)
	}
}

// A line of which the disk took only the beginning is whole in the fallback, and does not spoil the next.
func TestLogFileMendsTornLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weir.log")
	var fallback bytes.Buffer
	f := openLogFile(t, path, &fallback)
	fmt.Fprintln(f, "0123456789")
	limited(t, 15, func() { fmt.Fprintln(f, "abcdefghij") })
	fmt.Fprintln(f, "ABCDEFGHIJ")
	if got, want := readFile(t, path), "0123456789\nabcd\nABCDEFGHIJ\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if !strings.HasSuffix(fallback.String(), "\nabcdefghij\n") {
		t.Errorf("got %q, want the whole line in the end", fallback.String())
	}
}

// limited runs work while no file of this process can grow beyond size: the nearest to a full disk that
// needs no disk.
func limited(t *testing.T, size uint64, work func()) {
	t.Helper()
	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: size, Max: was.Max}); err != nil {
		t.Fatal(err)
	}
	work()
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		t.Fatal(err)
	}
}
