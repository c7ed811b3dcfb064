//go:build unix

package admin_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"runtime"
	"syscall"
	"testing"

	"weir/balancer/admin"
	"weir/balancer/admin/admintest"
)

func TestSocketIsItsOwners(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0)) // the widest
	path := socketPath(t)
	d, err := admin.New(admin.Options{Network: "unix", Address: path}, admintest.New(noon))
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("got %v, %v, want a socket of mode 0600", info.Mode(), err)
	}
	d.Close()
	d.Close()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the closed door left its socket behind: %v", err)
	}
}

// On Linux nobody else can connect even before the mode of the file is set.
func TestSocketIsBornNarrow(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("SKIPPED: only Linux takes the mode of the file from the socket")
	}
	defer syscall.Umask(syscall.Umask(0))
	path := socketPath(t)
	l, err := (&net.ListenConfig{Control: admin.Narrow}).Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if info, err := os.Lstat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v, want mode 0600", info.Mode(), err)
	}
}

func TestStaleSocketIsReplaced(t *testing.T) {
	path := socketPath(t)
	stale(t, path)
	h := open(t, admin.Options{Network: "unix", Address: path})
	h.do(t, "GET", "/healthz", "").want(t, 200, "ok")
}

func TestLiveSocketIsNotReplaced(t *testing.T) {
	h := open(t, admin.Options{})
	path := h.Addr().String()
	wantError(t, try(admin.Options{Network: "unix", Address: path}), "admin: listen at unix:"+path+": somebody listens there already: is weir running?")
	h.do(t, "GET", "/healthz", "").want(t, 200, "ok")
}

// One that is too busy to answer is not gone.
func TestBusySocketIsNotReplaced(t *testing.T) {
	path := socketPath(t)
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	for range 2 { // nobody accepts, so the queue is full
		if c, err := net.Dial("unix", path); err == nil {
			defer c.Close()
		}
	}
	wantError(t, try(admin.Options{Network: "unix", Address: path}), "somebody listens there already")
	if _, err := os.Lstat(path); err != nil {
		t.Error(err)
	}
}

func TestOnlySocketsAreReplaced(t *testing.T) {
	path := socketPath(t)
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantError(t, try(admin.Options{Network: "unix", Address: path}), "something else than a socket is there")
	if data, _ := os.ReadFile(path); string(data) != "precious" {
		t.Errorf("got %q", data)
	}
}

func TestDirectoryMustExist(t *testing.T) {
	path := socketPath(t) + "/none/admin.sock"
	wantError(t, try(admin.Options{Network: "unix", Address: path}), "none does not exist: create it")
}

// The socket of who came later is not ours to remove.
func TestAnothersSocketStays(t *testing.T) {
	h := open(t, admin.Options{})
	path := h.Addr().String()
	os.Remove(path)
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	h.wantEnd(t)
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the door removed another's socket: %v", err)
	}
}

// A door that is handed over goes on without a gap.
func TestHandOver(t *testing.T) {
	old := open(t, admin.Options{})
	f, err := old.File()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.FileListener(f)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	old.KeepSocket(true)
	path := old.Addr().String()
	h := open(t, admin.Options{Listener: l})
	old.wantEnd(t)
	h.do(t, "GET", "/healthz", "").want(t, 200, "ok")
	h.wantEnd(t)
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the last one left the socket behind: %v", err)
	}
}

func TestWhereTheDoorMayBe(t *testing.T) {
	p := newPapers(t)
	tls := func(o admin.Options) admin.Options {
		o.TLSCertificate, o.TLSKey = p.certificate, p.key
		return o
	}
	const open, overheard = "can be reached from other hosts, and whoever reaches it commands weir: give token_file", "the token could be read on the way"
	for _, c := range []struct {
		name string
		o    admin.Options
		want string
	}{
		{"loopback", admin.Options{Address: "127.0.0.1:0"}, ""},
		{"loopback, any", admin.Options{Address: "127.8.8.8:0"}, ""},
		{"localhost", admin.Options{Address: "localhost:0"}, ""},
		{"every address", admin.Options{Address: ":0"}, open},
		{"every IPv4", admin.Options{Address: "0.0.0.0:0"}, open},
		{"every IPv6", admin.Options{Address: "[::]:0"}, open},
		{"a public one", admin.Options{Address: "192.0.2.1:0"}, open},
		{"TLS alone proves nothing", tls(admin.Options{Address: "0.0.0.0:0"}), open},
		{"a name", admin.Options{Address: "localhost.example:0"}, open},
		{"a token in the clear", admin.Options{Address: "0.0.0.0:0", TokenFile: p.token}, overheard},
		{"a token", tls(admin.Options{Address: "0.0.0.0:0", TokenFile: p.token}), ""},
		{"certificates", tls(admin.Options{Address: "0.0.0.0:0", TLSClientCA: p.ca}), ""},
		{"a certificate, no key", admin.Options{Address: "127.0.0.1:0", TLSCertificate: p.certificate}, "go together"},
		{"clients' certificates, none of its own", admin.Options{Address: "127.0.0.1:0", TLSClientCA: p.ca}, "give tls_certificate and tls_key"},
		{"not a certificate", admin.Options{Address: "127.0.0.1:0", TLSCertificate: p.token, TLSKey: p.key}, "tls_certificate: "},
		{"no authority", tls(admin.Options{Address: "127.0.0.1:0", TLSClientCA: p.token}), "holds no certificate in PEM"},
		{"no token", admin.Options{Address: "127.0.0.1:0", TokenFile: p.token + "-none"}, "token_file: open "},
		{"a short token", admin.Options{Address: "127.0.0.1:0", TokenFile: p.short}, "a token of 3 bytes, and 16 is the least"},
		{"abstract", admin.Options{Network: "unix", Address: "@weir"}, "use a path"},
		{"TLS on a socket", tls(admin.Options{Network: "unix", Address: socketPath(t)}), "no use for TLS"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.o.Network == "" {
				c.o.Network = "tcp"
			}
			wantError(t, try(c.o), c.want)
		})
	}
}
