//go:build linux

package main

import (
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The example does what it says, with the commands that it names: the server never has one connection too
// many, no client of the 2,000 fails, and at least 99 % of the capacity is used.
//
// Between two clients a place is empty for as long as two processes take to hear of it: 0.2 ms, and with the
// race detector 0.5 ms. Those are not to be measured here, so the answers take 200 ms and not 50, and
// 2 ms would be too much.
func TestFragileServer(t *testing.T) {
	delay, least := "200ms", 99.0
	if testing.Short() {
		delay, least = "20ms", 0
	}
	file, addresses := example(t, "examples/fragile-server.toml", "7070", "8080")
	commands := commandsOf(t, file, "--delay 50ms", "--delay "+delay, "--count 8000", "--count 2000", "examples/fragile-server.toml", file)
	if len(commands) != 3 {
		t.Fatalf("%s names the commands %q, want three", file, commands)
	}

	server := start(t, ".", commands[0]...)
	eventuallyListens(t, addresses[1])
	w := start(t, ".", commands[1]...)
	eventuallyListens(t, addresses[0])
	clients := start(t, ".", commands[2]...)
	// 100 times 200 ms. Nobody waits longer than the queue's timeout and a session.
	if code := clients.waitFor(t, 30*time.Second+patience); code != 0 {
		t.Errorf("the clients: got exit code %d, want 0:\n%s%s", code, clients.stdout, clients.stderr)
	}
	server.signal(syscall.SIGINT)
	server.wantExit(t, 0)
	w.signal(syscall.SIGTERM)
	w.wantExit(t, 0)

	t.Log(strings.TrimSpace(server.stdout.String()))
	form := regexp.MustCompile(`^capacity 20: served 2000 connections, at most 20 at one time; overloads 0; used (\S+) % of the capacity`)
	got := form.FindStringSubmatch(server.stdout.String())
	if got == nil {
		t.Fatalf("the server: got %q, want the form %s; its stderr:\n%s", server.stdout, form, server.stderr)
	}
	if used, err := strconv.ParseFloat(got[1], 64); err != nil || used < least {
		t.Errorf("used %s %% of the capacity, %v; want at least %v %%", got[1], err, least)
	}
	if log := w.stderr.String(); log != "" {
		t.Errorf("weir is not silent:\n%s", log)
	}
}

// commandsOf returns the arguments of the weir commands in the comment of an example, with some of the words
// replaced. Each word to replace has to be there.
func commandsOf(t *testing.T, file string, oldnew ...string) (commands [][]string) {
	t.Helper()
	var text string
	for line := range strings.Lines(read(t, file)) {
		if command, ok := strings.CutPrefix(line, "#     weir "); ok {
			text += command
		}
	}
	for i := 0; i < len(oldnew); i += 2 {
		if !strings.Contains(text, oldnew[i]) {
			t.Errorf("%s has no command with %q", file, oldnew[i])
		}
	}
	for line := range strings.Lines(strings.NewReplacer(oldnew...).Replace(text)) {
		commands = append(commands, strings.Fields(line))
	}
	return commands
}

func eventuallyListens(t *testing.T, address string) {
	t.Helper()
	_, port, _ := strings.Cut(address, ":")
	eventually(t, address+" to listen", func() bool { return listening(t, []string{port}) })
}
