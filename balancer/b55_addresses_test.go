//go:build linux

package balancer_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"weir/balancer"
	"weir/config"
	"weir/frontend"
)

func TestB55IPv6(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		s := serverOn(t, "[::1]:0")
		w := startWeir(t, engine, `bind_on = "[::1]:0"`, to(s.addr())+noProbes)
		client, server := open(t, w, s)
		finish(t, client, server)
		w.wantClient(client.LocalAddr().String())
	})
}

// wantClient checks the address that the next session is logged with, and that it was served.
func (w *weir) wantClient(want string) {
	w.t.Helper()
	if line := w.wantEnd(frontend.Normal, "--"); line.Client != want {
		w.t.Errorf("logged client %q, want %q", line.Client, want)
	}
}

// What comes over IPv4 is IPv4, also on a socket that is of both families.
func TestB55DualStack(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		s := newServer(t)
		w := startWeir(t, engine, `bind_on = "[::]:0"`, to(s.addr())+noProbes)
		for _, host := range []string{"127.0.0.1", "::1"} {
			client := dialTCP(t, net.JoinHostPort(host, portOf(t, w.addr)))
			send(t, client, "x")
			server := s.accept()
			expect(t, server, "x")
			finish(t, client, server)
			w.wantClient(client.LocalAddr().String())
		}
	})
}

// A file that says IPv4 gets IPv4 only.
func TestB55IPv4Only(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		w := startWeir(t, engine, `bind_on = "0.0.0.0:0"`, to(deadAddress(t))+noProbes)
		if c, err := net.DialTimeout("tcp", net.JoinHostPort("::1", portOf(t, w.addr)), patience); err == nil {
			c.Close()
			t.Error("0.0.0.0 accepts IPv6")
		}
	})
}

func portOf(t *testing.T, address string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func TestB55Zone(t *testing.T) {
	if !inNetns(t) {
		return
	}
	ip(t, "addr", "add", "fe80::1/64", "dev", "lo", "nodad")
	eventually(t, "the address to have its routes", func() bool {
		c, err := net.DialTimeout("tcp", serverOn(t, "[fe80::1%lo]:0").addr(), 100*time.Millisecond)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	everyEngine(t, func(t *testing.T, engine string) {
		s := serverOn(t, "[fe80::1%lo]:0")
		w := startWeir(t, engine, `bind_on = "[fe80::1%lo]:0"`, to(s.addr())+noProbes)
		client, server := open(t, w, s)
		finish(t, client, server)
		if from := client.LocalAddr().String(); !strings.Contains(from, "%lo]") {
			t.Errorf("the client's own address is %q, want one with a zone", from)
		}
		w.wantClient(client.LocalAddr().String())
	})
}

// unixNames are the two kinds of unix socket addresses.
var unixNames = map[string]func(t *testing.T, of string) string{
	"path":     func(t *testing.T, of string) string { return filepath.Join(t.TempDir(), of) },
	"abstract": func(_ *testing.T, of string) string { return "@weir-test-" + strconv.Itoa(os.Getpid()) + of },
}

func TestB55Unix(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		for kind, nameOf := range unixNames {
			t.Run(kind, func(t *testing.T) {
				front, back := nameOf(t, "f"), nameOf(t, "b")
				l := listenUnix(t, back)
				w := startWeir(t, engine, fmt.Sprintf("bind_on = %q", "unix:"+front), to("unix:"+back)+noProbes)
				client := dialUnix(t, front)
				finish(t, client, acceptUnix(t, l))
				line := w.wantEnd(frontend.Normal, "--")
				if line.Client != "unix" || line.Backend != "unix:"+back || line.BytesUp != 8 || line.BytesDown != 6 {
					t.Errorf("logged client %q, backend %q, %d bytes up, %d down; want unix, unix:%s, 8, 6",
						line.Client, line.Backend, line.BytesUp, line.BytesDown, back)
				}
			})
		}
	})
}

func listenUnix(t *testing.T, path string) *net.UnixListener {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func acceptUnix(t *testing.T, l *net.UnixListener) *net.UnixConn {
	t.Helper()
	l.SetDeadline(time.Now().Add(patience))
	c, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	return patient(t, c).(*net.UnixConn)
}

func dialUnix(t *testing.T, path string) *net.UnixConn {
	t.Helper()
	c, err := net.DialTimeout("unix", path, patience)
	if err != nil {
		t.Fatal(err)
	}
	return patient(t, c).(*net.UnixConn)
}

// A backend whose socket is not there refuses.
func TestB55UnixBackendMissing(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		missing := "unix:" + filepath.Join(t.TempDir(), "missing")
		w := startWeir(t, engine, "retries = 0", to(missing)+noProbes)
		expectEnd(t, w.dial())
		if line := w.wantEnd(frontend.ConnectRefused, "SC"); line.Backend != missing {
			t.Errorf("the line names %q, want %q", line.Backend, missing)
		}
	})
}

func TestB55StaleSocketReplaced(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		path := filepath.Join(t.TempDir(), "f")
		stale := listenUnix(t, path)
		stale.SetUnlinkOnClose(false)
		stale.Close()
		if _, err := os.Lstat(path); err != nil {
			t.Fatalf("no stale socket: %v", err)
		}
		s := newServer(t)
		w := startWeir(t, engine, fmt.Sprintf("bind_on = %q", "unix:"+path), to(s.addr())+noProbes)
		finish(t, dialUnix(t, path), s.accept())
		w.wantEnd(frontend.Normal, "--")
	})
}

func TestB55LiveSocketKept(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		for kind, nameOf := range unixNames {
			t.Run(kind, func(t *testing.T) {
				path := nameOf(t, "live")
				live := listenUnix(t, path)
				wantNoStart(t, engine, path)
				if kind == "path" {
					acceptUnix(t, live) // weir looked whether somebody is there
				}
				finish(t, dialUnix(t, path), acceptUnix(t, live))
			})
		}
	})
}

// A server that is too busy to accept is alive all the same.
func TestB55BusySocketKept(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		path := filepath.Join(t.TempDir(), "busy")
		busy := listenUnix(t, path)
		setBacklog(t, busy, 0)
		waiting := dialUnix(t, path)
		wantNoStart(t, engine, path)
		finish(t, waiting, acceptUnix(t, busy))
	})
}

// wantNoStart checks that weir does not start on a unix socket of that name, says which it is, and
// leaves nothing open: neither that address nor the one before it.
func wantNoStart(t *testing.T, engine, path string) {
	t.Helper()
	before := openDescriptors()
	cfg, err := config.Parse("test.toml", fmt.Appendf(nil,
		"[frontend]\nengine = %q\nbind_on = [\"127.0.0.1:0\", %q]\n%s", engine, "unix:"+path, to("127.0.0.1:1")))
	if err != nil {
		t.Fatal(err)
	}
	b, err := balancer.New(t.Context(), cfg, zerolog.Nop())
	if err == nil {
		b.Close()
		t.Fatalf("weir took %s over", path)
	}
	if !strings.Contains(err.Error(), path) {
		t.Errorf("the error is %q, want it to name %s", err, path)
	}
	eventually(t, "descriptors to return", func() bool { return openDescriptors() <= before })
}

func TestB55FileKept(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		path := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
			t.Fatal(err)
		}
		wantNoStart(t, engine, path)
		if got, err := os.ReadFile(path); err != nil || string(got) != "precious" {
			t.Errorf("the file holds %q, %v; want it as it was", got, err)
		}
	})
}

func TestB55LinkKept(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		dir := t.TempDir()
		stale, link := listenUnix(t, filepath.Join(dir, "stale")), filepath.Join(dir, "link")
		stale.SetUnlinkOnClose(false)
		stale.Close()
		if err := os.Symlink("stale", link); err != nil {
			t.Fatal(err)
		}
		wantNoStart(t, engine, link)
		if to, err := os.Readlink(link); err != nil || to != "stale" {
			t.Errorf("the link leads to %q, %v; want it as it was", to, err)
		}
	})
}

// A name is resolved when it is dialled, and each of its addresses is tried within one attempt.
func TestNamedBackend(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		s := newServer(t) // on IPv4 alone, where localhost may be [::1] first
		_, port, _ := net.SplitHostPort(s.addr())
		w := startWeir(t, engine, "", to("localhost:"+port)+noProbes)
		for range 3 {
			client := w.dial()
			server := s.accept()
			send(t, client, "hello")
			expect(t, server, "hello")
			client.CloseWrite()
			server.Close()
			expectEnd(t, client)
			if end := w.wantEnd(frontend.Normal, "--"); end.Tries != 1 {
				t.Errorf("%d tries, want 1", end.Tries)
			}
		}
	})
}
