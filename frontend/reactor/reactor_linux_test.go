package reactor

import (
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"weir/backend"
	"weir/backend/contain"
	"weir/backend/sockopt"
	"weir/frontend"
	"weir/frontend/reactor/loop"
	"weir/frontend/relay"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A session is ten cache lines: what it needs only to connect, or to end badly, is elsewhere.
func TestSessionIsSmall(t *testing.T) {
	t.Logf("a session has %d bytes", unsafe.Sizeof(session{}))
	if size := unsafe.Sizeof(session{}); size > 640 {
		t.Errorf("a session has %d bytes, want at most 640", size)
	}
}

// serving runs one frontend with one backend on a reactor of one loop, and returns where it listens.
func serving(t testing.TB, backendAddr netip.AddrPort) (netip.AddrPort, *Server) {
	t.Helper()
	return servingWith(t, backendAddr, nil)
}

// servingWith has a guard.
func servingWith(t testing.TB, backendAddr netip.AddrPort, guard *contain.Guard) (netip.AddrPort, *Server) {
	t.Helper()
	pool, err := backend.NewPool(backend.PoolOptions{
		Strategy: "cyclic",
		Backends: []backend.Options{{Name: "b", Network: "tcp", Address: backendAddr.String(), Weight: 1, Up: true}},
	})
	if err != nil {
		t.Fatal(err)
	}
	stock := relay.NewStock(relay.MaxPipes)
	r, err := New(1, stock, guard)
	if err != nil {
		t.Fatal(err)
	}
	s, err := r.Open(t.Context(), frontend.Options{
		Name: "f", Bind: []frontend.Bind{{Network: "tcp4", Address: "127.0.0.1:0"}}, Pool: pool, Stock: stock,
		Log: zerolog.Nop(), Guard: guard,
		Rules: frontend.Rules{
			Dialer:           backend.NewDialer(time.Second, sockopt.Options{}, nil),
			HalfCloseTimeout: time.Minute, IdleTimeout: time.Minute, SessionTimeout: time.Hour,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Start()
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan struct{})
	go func() { s.Serve(ctx); close(served) }()
	t.Cleanup(func() {
		stop()
		<-served
		s.Drain(ctx)
		r.Stop()
		r.Close()
		stock.Close()
	})
	return netip.MustParseAddrPort(s.Addrs()[0].String()), s
}

// raw is a listening socket used by system calls alone, which allocate nothing.
type raw struct {
	fd   int
	addr netip.AddrPort
	sa   unix.RawSockaddrAny
	poll [1]unix.PollFd
	buf  [256]byte
}

func newRaw(t testing.TB) *raw {
	t.Helper()
	fd, errno := loop.Socket(unix.AF_INET)
	if errno != 0 {
		t.Fatal(errno)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if errno := loop.Bind(fd, inetSockaddr(netip.MustParseAddrPort("127.0.0.1:0"))); errno != 0 {
		t.Fatal(errno)
	}
	if err := unix.Listen(fd, 1024); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return &raw{fd: fd, addr: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(sa.(*unix.SockaddrInet4).Port))}
}

// wait blocks until fd can be read.
func (r *raw) wait(t testing.TB, fd int) {
	r.poll[0] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
	for {
		n, err := unix.Poll(r.poll[:], 10000)
		if err == unix.EINTR {
			continue
		}
		if n != 1 {
			t.Fatalf("waited in vain: %v", err)
		}
		return
	}
}

// session opens one connection through weir, sends a request and an answer, and closes it: the client
// first, then the backend.
func (r *raw) session(t testing.TB, weir []byte) {
	client, server := r.exchange(t, weir)
	r.closeInTurn(t, client, server)
}

// exchange opens one connection through weir and sends a request and an answer.
func (r *raw) exchange(t testing.TB, weir []byte) (client, server int) {
	client, _ = loop.Socket(unix.AF_INET)
	loop.Connect(client, weir)
	r.wait(t, r.fd)
	server, errno := loop.Accept(r.fd, &r.sa)
	if errno != 0 {
		t.Fatal(errno)
	}
	for _, way := range [][2]int{{client, server}, {server, client}} {
		if n, errno := loop.Send(way[0], r.buf[:100]); n != 100 {
			t.Fatal(errno)
		}
		r.wait(t, way[1])
		if n, errno := loop.Recv(way[1], r.buf[:]); n != 100 {
			t.Fatalf("read %d bytes: %v", n, errno)
		}
	}
	return client, server
}

// closeInTurn closes one end, and the other once it has heard of that.
func (r *raw) closeInTurn(t testing.TB, first, second int) {
	loop.Close(first)
	r.wait(t, second)
	if n, errno := loop.Recv(second, r.buf[:]); n != 0 || errno != 0 {
		t.Fatalf("read %d bytes and %v, want the end", n, errno)
	}
	loop.Close(second)
}

// In the steady state a session allocates nothing.
func TestSessionsAllocateNothing(t *testing.T) {
	r := newRaw(t)
	at, s := serving(t, r.addr)
	weir := inetSockaddr(at)
	for range 200 {
		r.session(t, weir)
	}
	const sessions = 2000
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range sessions {
		r.session(t, weir)
	}
	runtime.ReadMemStats(&after)
	// The runtime itself allocates a little now and then.
	if n := after.Mallocs - before.Mallocs; n > sessions/20 {
		t.Errorf("%d allocations for %d sessions, want none", n, sessions)
	}
	if got := s.Counters().Opened.Load(); got != 200+sessions {
		t.Errorf("%d sessions opened, want %d", got, 200+sessions)
	}
}

// BenchmarkSession is a whole session, client and backend included.
func BenchmarkSession(b *testing.B) {
	r := newRaw(b)
	at, _ := serving(b, r.addr)
	weir := inetSockaddr(at)
	b.ReportAllocs()
	for b.Loop() {
		r.session(b, weir)
	}
}

// BenchmarkMessage is one 64-byte message there and back through an open session.
func BenchmarkMessage(b *testing.B) {
	r := newRaw(b)
	at, _ := serving(b, r.addr)
	client, _ := loop.Socket(unix.AF_INET)
	defer unix.Close(client)
	loop.Connect(client, inetSockaddr(at))
	r.wait(b, r.fd)
	server, _ := loop.Accept(r.fd, &r.sa)
	defer unix.Close(server)
	b.ReportAllocs()
	for b.Loop() {
		for _, way := range [][2]int{{client, server}, {server, client}} {
			loop.Send(way[0], r.buf[:64])
			r.wait(b, way[1])
			loop.Recv(way[1], r.buf[:])
		}
	}
}

// Every malformed or odd address keeps its meaning on the way to the kernel and back.
func TestSockaddr(t *testing.T) {
	for _, text := range []string{"127.0.0.1:80", "[::1]:443", "255.255.255.255:65535", "[2001:db8::1]:1", "[fe80::1%lo]:9"} {
		want := netip.MustParseAddrPort(text)
		var sa unix.RawSockaddrAny
		copy((*[unsafe.Sizeof(sa)]byte)(unsafe.Pointer(&sa))[:], inetSockaddr(want))
		if got := peer(&sa); got != want {
			t.Errorf("%s came back as %s", want, got)
		}
	}
	var sa unix.RawSockaddrAny
	copy((*[unsafe.Sizeof(sa)]byte)(unsafe.Pointer(&sa))[:], inetSockaddr(netip.MustParseAddrPort("[::ffff:10.1.2.3]:5")))
	if got, want := peer(&sa), netip.MustParseAddrPort("10.1.2.3:5"); got != want {
		t.Errorf("a mapped address came back as %s, want %s", got, want)
	}
}

// Listeners that are handed over before anybody was accepted are closed as well, and stay closed.
func TestHandOverBeforeServing(t *testing.T) {
	stock := relay.NewStock(0)
	defer stock.Close()
	r, err := New(1, stock, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	pool, err := backend.NewPool(backend.PoolOptions{Strategy: "first", Backends: []backend.Options{{Name: "b", Network: "tcp", Address: "127.0.0.1:1"}}})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "front")
	s, err := r.Open(t.Context(), frontend.Options{
		Bind: []frontend.Bind{{Network: "tcp4", Address: "127.0.0.1:0"}, {Network: "unix", Address: path}},
		Pool: pool, Stock: stock, Log: zerolog.Nop(),
		Rules: frontend.Rules{Dialer: backend.NewDialer(time.Second, sockopt.Options{}, nil)},
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Start()
	defer r.Stop()
	s.Listening().HandOver()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Serve(ended); err != nil {
		t.Error(err)
	}
	s.Drain(t.Context())
	if n := len(s.Listening().Sockets()); n != 0 {
		t.Errorf("%d sockets can be handed over once more", n)
	}
	for _, a := range s.Addrs() {
		if c, err := net.Dial(a.Network(), a.String()); err == nil {
			c.Close()
			t.Errorf("%s is still open", a)
		}
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the path is gone: %v", err)
	}
}

// What is set on a socket that two servers have is set when the second begins to serve: until then the first may
// be the one that goes on.
func TestInheritedSocketIsLeftAloneUntilServing(t *testing.T) {
	_, first := serving(t, netip.MustParseAddrPort("127.0.0.1:1"))
	until(t, "the first to serve", func() bool { return first.Listening().Serving() })
	sockets := first.Listening().Sockets()
	files, err := frontend.Copies(sockets)
	if err != nil {
		t.Fatal(err)
	}
	there, err := frontend.Inherit(files)
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	userTimeout := func() int {
		v, err := unix.GetsockoptInt(int(sockets[0].FD), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	second, err := first.reactor.Open(t.Context(), frontend.Options{
		Bind: []frontend.Bind{{Network: "tcp4", Address: first.Addrs()[0].String()}}, Inherited: there,
		Pool: first.Options.Pool, Stock: first.Options.Stock, Log: zerolog.Nop(),
		Rules: frontend.Rules{Dialer: backend.NewDialer(time.Second, sockopt.Options{}, nil), Socket: sockopt.Options{UserTimeout: 7 * time.Second}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := userTimeout(); got != 0 {
		t.Errorf("before it serves: TCP_USER_TIMEOUT %d, want 0 as before", got)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := second.Serve(ended); err != nil {
		t.Error(err)
	}
	second.Drain(t.Context())
	if got := userTimeout(); got != 7000 {
		t.Errorf("when it has served: TCP_USER_TIMEOUT %d, want 7000", got)
	}
}
