package remote

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/balancer/admin"
)

// watched is a writer that ends a command when it has seen enough.
type watched struct {
	mu    sync.Mutex
	text  bytes.Buffer
	until func(text string) bool
	end   func()
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text.Write(p)
	if w.until(w.text.String()) {
		w.end()
	}
	return len(p), nil
}

// watch runs weir status --watch until it has written something so often, and returns all of it.
func watch(t *testing.T, s screen, often int, what, args string) string {
	t.Helper()
	w := &watched{until: func(text string) bool { return strings.Count(text, what) >= often }}
	r := &running{done: make(chan error, 1)}
	ctx, cancel := newInterrupt(t)
	w.end = cancel
	app := newApp(w, s)
	go func() { r.done <- app.RunContext(ctx, strings.Fields("weir status --watch "+args)) }()
	if _, _, err := r.end(t); err != nil {
		t.Errorf("weir status --watch %s: %v", args, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

func TestWatchIntoAPipe(t *testing.T) {
	open(t)
	one := "--- " + noon.Local().Format(time.RFC3339) + wantStatus
	if got, want := watch(t, screen{}, 3, "differs from", "100ms"), strings.Repeat(one, 3); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	lines := strings.Split(strings.TrimSpace(watch(t, screen{}, 2, "\n", "--json 100ms")), "\n")
	for _, line := range lines {
		var s admin.Status
		if err := json.Unmarshal([]byte(line), &s); err != nil || s.PID != 4711 {
			t.Errorf("got %q, %v", line, err)
		}
	}
	if len(lines) != 2 {
		t.Errorf("got %d lines, want 2", len(lines))
	}
}

// On a terminal it is always in the same place, no line is wrapped, and there are no more lines than there is room.
func TestWatchOnATerminal(t *testing.T) {
	open(t)
	got := watch(t, screen{width: 80, height: 100}, 2, "\x1b[J", "100ms")
	screens := strings.SplitAfter(got, "\x1b[?7h")
	if len(screens) != 3 || screens[2] != "" || screens[0] != screens[1] {
		t.Fatalf("got %q, want the same twice", got)
	}
	if one := screens[0]; !strings.HasPrefix(one, "\x1b[?7l\x1b[Hweir v1.0.0, pid 4711") || !strings.HasSuffix(one, "1 min ago)\x1b[K\x1b[J\r\n\x1b[?7h") {
		t.Errorf("got %q", one)
	}
	got = watch(t, screen{width: 80, height: 10}, 1, "\x1b[J", "100ms")
	if n := strings.Count(got, "\n"); n != 9 || !strings.HasSuffix(got, "\x1b[K\r\n… and 9 lines more\x1b[K\x1b[J\r\n\x1b[?7h") {
		t.Errorf("%d lines on a terminal of 10: %q", n, got)
	}
}

// A weir that is not there is no status; one that went away may come back.
func TestWatchOutlivesWeir(t *testing.T) {
	t.Setenv("WEIR_ADMIN", "unix:/none")
	_, err := on(t, screen{}, "status", "--watch")
	wantError(t, err, "weir is not running: nothing listens at /none")

	_, stop := openDoor(t)
	w := &watched{until: func(text string) bool { return strings.Contains(text, "weir does not answer: weir is not running") }}
	r := &running{done: make(chan error, 1)}
	ctx, cancel := newInterrupt(t)
	w.end = cancel
	stopOnce := sync.OnceFunc(stop)
	until := w.until
	w.until = func(text string) bool {
		if strings.Contains(text, "pid 4711") {
			stopOnce()
		}
		return until(text)
	}
	app := newApp(w, screen{})
	go func() { r.done <- app.RunContext(ctx, strings.Fields("weir status --watch 100ms")) }()
	if _, _, err := r.end(t); err != nil {
		t.Error(err)
	}
}
