package admin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"weir/balancer/admin"
	"weir/balancer/admin/admintest"
)

// patience bounds every wait of a test. No test depends on how much of it is used.
const patience = 20 * time.Second

// noon is the time at which the fake weir stands.
var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// book keeps a log.
type book struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *book) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *book) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// house is a door that serves, with the fake behind it.
type house struct {
	*admin.Door
	op     *admintest.Operator
	log    *book
	client *http.Client
	base   string
	stop   context.CancelFunc
	served chan error
}

// socketPath returns a path that is short enough for a unix socket.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "door")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "admin.sock")
}

// open opens a door and serves it until the end of the test. Without an address it is on a unix socket.
func open(t *testing.T, o admin.Options) *house {
	t.Helper()
	op := admintest.New(noon)
	h := openFor(t, o, op)
	h.op = op
	return h
}

// openFor opens a door to an operator.
func openFor(t *testing.T, o admin.Options, op admin.Operator) *house {
	t.Helper()
	if o.Address == "" && o.Listener == nil {
		o.Network, o.Address = "unix", socketPath(t)
	}
	h := &house{log: new(book), served: make(chan error, 1)}
	o.Log = zerolog.New(h.log)
	var err error
	if h.Door, err = admin.New(o, op); err != nil {
		t.Fatal(err)
	}
	var ctx context.Context
	ctx, h.stop = context.WithCancel(context.Background())
	go func() { h.served <- h.Serve(ctx) }()
	h.aim(h.Addr(), "http://")
	t.Cleanup(func() { h.wantEnd(t) })
	return h
}

// aim has the house's client connect there.
func (h *house) aim(a net.Addr, scheme string) {
	h.base = scheme + "localhost"
	h.client = &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, a.Network(), a.String())
		}}}
}

// wantEnd closes the door as weir does at its end.
func (h *house) wantEnd(t *testing.T) {
	t.Helper()
	h.stop()
	select {
	case err := <-h.served:
		if err != nil {
			t.Errorf("serve: %v", err)
		}
		h.served <- nil
	case <-time.After(patience):
		t.Error("the door does not close")
	}
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

// request makes a request; head are pairs of header and value.
func (h *house) request(t *testing.T, method, path, body string, head ...string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, h.base+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(head); i += 2 {
		if head[i] == "Host" {
			r.Host = head[i+1]
		} else {
			r.Header.Add(head[i], head[i+1])
		}
	}
	return r
}

func (h *house) do(t *testing.T, method, path, body string, head ...string) answer {
	t.Helper()
	resp, err := h.client.Do(h.request(t, method, path, body, head...))
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return answer{resp.StatusCode, resp.Header, string(data)}
}

// send is do with a body of JSON.
func (h *house) send(t *testing.T, method, path, body string) answer {
	t.Helper()
	return h.do(t, method, path, body, "Content-Type", "application/json")
}

func (a answer) want(t *testing.T, status int, text string) {
	t.Helper()
	if a.status != status || !strings.Contains(a.body, text) {
		t.Errorf("got %d %s, want %d with %q", a.status, a.body, status, text)
	}
	if a.status < 400 || a.header.Get("Content-Type") == "text/plain; charset=utf-8" {
		return
	}
	var p admin.Problem
	if err := json.Unmarshal([]byte(a.body), &p); err != nil || p.Status != a.status || p.Title == "" || a.header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("got %s %s, want a problem", a.header.Get("Content-Type"), a.body)
	}
}

// try opens a door and closes it again.
func try(o admin.Options) error {
	d, err := admin.New(o, admintest.New(noon))
	if err == nil {
		d.Close()
	}
	return err
}

func wantError(t *testing.T, err error, text string) {
	t.Helper()
	if text == "" && err != nil || text != "" && (err == nil || !strings.Contains(err.Error(), text)) {
		t.Errorf("got %v, want %q", err, text)
	}
}

// stale leaves a socket behind as a process does that was killed.
func stale(t *testing.T, path string) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
}
