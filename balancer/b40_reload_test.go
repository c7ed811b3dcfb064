//go:build linux

package balancer_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/backend"
	"weir/balancer"
	"weir/config"
)

// mirror is a backend that sends back what it gets.
func mirror(t *testing.T) *server {
	t.Helper()
	return mirrorOn(t, "127.0.0.1:0")
}

func mirrorOn(t *testing.T, address string) *server {
	t.Helper()
	s := serverOn(t, address)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := s.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				sendBack(c)
			})
		}
	})
	t.Cleanup(func() { s.Close(); serving.Wait() })
	return s
}

// reload has weir go over to another file.
func (w *weir) reload(file string) (balancer.Plan, error) {
	w.t.Helper()
	cfg, err := config.Parse("next.toml", []byte(file))
	if err != nil {
		w.t.Fatalf("configuration:\n%s\n%v", file, err)
	}
	return w.b.Reload(w.t.Context(), cfg)
}

func (w *weir) mustReload(file string) balancer.Plan {
	w.t.Helper()
	plan, err := w.reload(file)
	if err != nil {
		w.t.Fatal(err)
	}
	return plan
}

// someFile is a configuration of the frontend f, with the first two backends and what else chance brings.
func someFile(r *rand.Rand, engine string, backends []*server) string {
	var b strings.Builder
	strategies := []string{"cyclic", "least-connections", "two-choices", "source-hash", "least-latency"}
	fmt.Fprintf(&b, "[[frontend]]\nname = \"f\"\nengine = %q\nbind_on = [\"127.0.0.1:0\", \"127.0.0.%d:0\"]\n", engine, 2+r.IntN(2))
	fmt.Fprintf(&b, "strategy = %q\nretries = 3\nidle_timeout = \"%ds\"\nmax_sessions = %d\n",
		strategies[r.IntN(len(strategies))], 20+r.IntN(40), 1000+r.IntN(10))
	if r.IntN(2) == 0 {
		b.WriteString("max_connections = 500\n[frontend.queue]\nsize = 1000\n[[frontend.class]]\nname = \"x\"\nmatch = [\"127.0.0.0/8\"]\n")
	}
	fmt.Fprintf(&b, "[frontend.health]\ninterval = \"%dms\"\n", 20+r.IntN(2)*10)
	for i, s := range backends {
		if i >= 2 && r.IntN(2) == 0 {
			continue
		}
		fmt.Fprintf(&b, "[[frontend.backend]]\nname = \"b%d\"\nforward_to = %q\nweight = %d\n", i, s.addr(), 1+r.IntN(5))
	}
	if r.IntN(2) == 0 {
		fmt.Fprintf(&b, "[[frontend]]\nname = \"other\"\nengine = %q\nbind_on = \"127.0.0.1:0\"\n[[frontend.backend]]\nforward_to = %q\n",
			engine, backends[0].addr())
	}
	return b.String()
}

// A hundred reloads, of which each changes nearly everything, while clients come and streams go on: nobody
// notices.
func TestB40Reload(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		backends := []*server{mirror(t), mirror(t), mirror(t), mirror(t)}
		r := rand.New(rand.NewPCG(40, 40))
		first := fmt.Sprintf("[[frontend]]\nname = \"f\"\nengine = %q\nbind_on = \"127.0.0.1:0\"\n"+
			"[[frontend.backend]]\nname = \"b0\"\nforward_to = %q\n[[frontend.backend]]\nname = \"b1\"\nforward_to = %q\n",
			engine, backends[0].addr(), backends[1].addr())
		w := startWeirFile(t, first)
		ctx, stop := context.WithCancel(t.Context())
		var clients sync.WaitGroup
		var visits, streamed atomic.Int64
		for range 4 {
			clients.Go(func() { visitUntil(ctx, t, w.addr, &visits) })
		}
		for range 3 {
			c := w.dial() // before any reload: on the backends that stay
			clients.Go(func() { streamUntil(ctx, t, c, &streamed) })
		}
		eventually(t, "streams to run", func() bool { return streamed.Load() > 0 })
		for i := range 100 {
			before := visits.Load()
			w.mustReload(someFile(r, engine, backends))
			eventually(t, "a client to be served by the new configuration", func() bool { return visits.Load() > before+2 })
			if n := w.b.Counters("f").Opened.Load(); n < uint64(before) {
				t.Fatalf("after reload %d: %d sessions counted, and there were %d before", i, n, before)
			}
		}
		stop()
		clients.Wait()
		t.Logf("%d visits and %d messages of streams during 100 reloads", visits.Load(), streamed.Load())
	})
}

// visitUntil makes one short visit after the other, none of which may fail.
func visitUntil(ctx context.Context, t *testing.T, addr string, visits *atomic.Int64) {
	for ctx.Err() == nil {
		c, err := net.DialTimeout("tcp", addr, patience)
		if err != nil {
			t.Error(err)
			return
		}
		c.SetDeadline(time.Now().Add(patience))
		io.WriteString(c, "visit")
		c.(*net.TCPConn).CloseWrite()
		got, err := io.ReadAll(c)
		c.Close()
		if err != nil || string(got) != "visit" {
			t.Errorf("a visit got %q and %v", got, err)
			return
		}
		visits.Add(1)
	}
}

// streamUntil sends and gets back messages on one connection, and compares what came in the end.
func streamUntil(ctx context.Context, t *testing.T, c net.Conn, messages *atomic.Int64) {
	defer c.Close()
	c.SetDeadline(time.Now().Add(4 * patience))
	sent, got := sha256.New(), sha256.New()
	out, in := make([]byte, 3000), make([]byte, 3000)
	for i := 0; ctx.Err() == nil; i++ {
		for j := range out {
			out[j] = byte(i + j)
		}
		sent.Write(out)
		if _, err := c.Write(out); err != nil {
			t.Errorf("stream, message %d: %v", i, err)
			return
		}
		if _, err := io.ReadFull(c, in); err != nil {
			t.Errorf("stream, message %d: %v", i, err)
			return
		}
		got.Write(in)
		messages.Add(1)
	}
	if string(sent.Sum(nil)) != string(got.Sum(nil)) {
		t.Error("a stream came back changed")
	}
}

// What stays keeps its state: what a probe has found, what is counted, who waits.
func TestB40ReloadKeepsState(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		g := newGauge(t)
		file := func(limit int, more string) string {
			return fmt.Sprintf("[[frontend]]\nname = \"f\"\nengine = %q\nbind_on = \"127.0.0.1:0\"\n"+
				"[frontend.queue]\nsize = 10\n[frontend.health]\nkind = \"none\"\n"+
				"[[frontend.backend]]\nname = \"g\"\nforward_to = %q\nmax_connections = %d\n%s", engine, g.addr(), limit, more)
		}
		w := startWeirFile(t, file(1, ""))
		pool := w.b.Pool("f")
		first := w.visitor()
		second := w.dial()
		eventually(t, "one to wait", func() bool { return pool.QueueSnapshot().Length == 1 })
		plan := w.mustReload(file(2, ""))
		if got := fmt.Sprint(plan.Changes); got != "[~ frontend f: backend g: max_connections: 1 -> 2]" {
			t.Errorf("the plan says %s", got)
		}
		send(t, second, "x")
		expect(t, second, "k") // the new limit let it in
		if s := pool.Snapshot()[0]; s.Active != 2 || s.Totals.Sessions != 2 {
			t.Errorf("after the reload: %+v", s)
		}
		if w.b.Pool("f") != pool {
			t.Error("another pool")
		}
		pool.SetAdmin(pool.Backends()[0], backend.AdminMaint, "test")
		w.mustReload(file(3, ""))
		if s := pool.Snapshot()[0]; s.State != backend.Maint || s.Max != 3 {
			t.Errorf("after a reload in maintenance: %+v", s)
		}
		first.Close()
		second.Close()
	})
}

// A backend that is removed lets its sessions finish, and cuts them when the time is up. One that is added
// serves once a probe has seen it.
func TestB40BackendsComeAndGo(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		a, b := mirror(t), mirror(t)
		file := func(drain string, backends ...string) string {
			return fmt.Sprintf("[[frontend]]\nname = \"f\"\nengine = %q\nbind_on = \"127.0.0.1:0\"\n"+
				"[frontend.health]\ninterval = \"10ms\"\n%s\n[shutdown]\ndrain = %q\n", engine, strings.Join(backends, ""), drain)
		}
		w := startWeirFile(t, file("30s", to(a.addr())))
		stays, goes := w.dial(), w.dial()
		for _, c := range []net.Conn{stays, goes} {
			send(t, c, "hello")
			expect(t, c, "hello")
		}
		plan := w.mustReload(file("30s", to(b.addr())))
		if plan.Ends != 2 {
			t.Errorf("the plan ends %d sessions, want 2", plan.Ends)
		}
		w.state(0, backend.Up)
		c := w.dial()
		send(t, c, "new")
		expect(t, c, "new")
		if got := w.b.Pool("f").Snapshot()[0]; got.Active != 1 || got.Backend.Address() != b.addr() {
			t.Errorf("the new backend has %d sessions, want 1", got.Active)
		}
		send(t, stays, "still here")
		expect(t, stays, "still here")
		w.mustReload(file("0s", to(b.addr()), to(a.addr())))
		w.state(1, backend.Up)
		w.mustReload(file("0s", to(a.addr())))
		expectReset(t, c) // its backend went, and had no time
	})
}

// A backend that was down, and is not probed any more, serves again: nobody else could bring it back.
func TestB40ProbesEnd(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		file := func(health string) string {
			return fmt.Sprintf("[[frontend]]\nname = \"f\"\nengine = %q\nbind_on = \"127.0.0.1:0\"\n[frontend.health]\n%s\n", engine, health) +
				to(deadAddress(t), "name = \"b\"")
		}
		probed := file("interval = \"10ms\"\nfall = 1")
		w := startWeirFile(t, probed)
		w.state(0, backend.Down)
		w.mustReload(probed + "disabled = true\n") // it says nothing of its health that it is not asked
		if n := w.log.count("no longer probed"); n != 0 {
			t.Error("a disabled backend counts as up")
		}
		w.mustReload(strings.Replace(probed, "interval = \"10ms\"\nfall = 1", "kind = \"none\"", 1))
		w.state(0, backend.Up)
	})
}

// Nothing changes when something of the new configuration cannot be had.
func TestB40ReloadThatFails(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		a, taken := mirror(t), newServer(t)
		head := fmt.Sprintf("[[frontend]]\nname = \"f\"\nengine = %q\n", engine)
		w := startWeirFile(t, head+"bind_on = \"127.0.0.1:0\"\n"+to(a.addr()))
		for name, file := range map[string]string{
			taken.addr(): head + fmt.Sprintf("bind_on = [\"127.0.0.1:0\", \"127.0.0.2:0\", %q]\nretries = 9\n", taken.addr()) + to(a.addr()),
			"no-such-ip": head + "bind_on = [\"127.0.0.1:0\", \"[fe80::1%no-such-ip]:0\"]\nretries = 9\n" + to(a.addr()),
		} {
			if _, err := w.reload(file); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("got %v, want an error that names %s", err, name)
			}
		}
		c := w.dial()
		send(t, c, "as before")
		expect(t, c, "as before")
		if n := len(w.b.Addrs("f")); n != 1 {
			t.Errorf("%d listeners, want the 1 of before", n)
		}
	})
}

// otherEngine is the one that a test does not run with.
var otherEngine = map[string]string{"copy": "reactor", "reactor": "copy"}

// Frontends swap their addresses, and hand them to frontends of other names and engines: nobody is refused.
func TestB40AddressesMove(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		s := mirror(t)
		frontend := func(name, engine, bind string) string {
			return fmt.Sprintf("[[frontend]]\nname = %q\nengine = %q\nbind_on = %q\n", name, engine, bind) + to(s.addr())
		}
		const here, there = "127.0.0.1:0", "127.0.0.2:0"
		w := startWeirFile(t, frontend("f", engine, here)+frontend("g", engine, there))
		first, second := w.addr, w.b.Addrs("g")[0].String()
		ctx, stop := context.WithCancel(t.Context())
		var clients sync.WaitGroup
		var visits [2]atomic.Int64
		for i, addr := range []string{first, second} {
			clients.Go(func() { visitUntil(ctx, t, addr, &visits[i]) })
			clients.Go(func() { visitUntil(ctx, t, addr, &visits[i]) })
		}
		for _, next := range []string{
			frontend("f", engine, there) + frontend("g", engine, here),
			frontend("f", engine, there) + frontend("renamed", engine, here),
			frontend("f", engine, here) + frontend("other", otherEngine[engine], there),
			frontend("f", engine, there) + frontend("g", engine, here),
			frontend("f", engine, here) + frontend("g", engine, there),
		} {
			w.mustReload(next)
			for j := range visits {
				before := visits[j].Load()
				eventually(t, "visits at both addresses", func() bool { return visits[j].Load() > before+5 })
			}
		}
		if got := w.b.Addrs("f")[0].String(); got != first {
			t.Errorf("f listens on %s in the end, want %s", got, first)
		}
		stop()
		clients.Wait()
	})
}

// The path of a unix socket stays while frontends hand it on, also when a reload fails, and goes with the last.
func TestB40UnixSocketsMove(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		s, taken := mirror(t), newServer(t)
		path := filepath.Join(t.TempDir(), "front")
		f := fmt.Sprintf("[[frontend]]\nname = \"f\"\nengine = %q\nbind_on = \"127.0.0.1:0\"\n", engine) + to(s.addr())
		on := func(name, engine string) string {
			return fmt.Sprintf("[[frontend]]\nname = %q\nengine = %q\nbind_on = %q\n", name, engine, "unix:"+path) + to(s.addr())
		}
		w := startWeirFile(t, f+on("a", engine))
		visit := func() {
			t.Helper()
			c := dialUnix(t, path)
			send(t, c, "hello")
			expect(t, c, "hello")
			c.Close()
		}
		visit()
		plan := w.mustReload(f + on("b", engine))
		if got := fmt.Sprint(plan.Changes); got != `[~ frontend b: name: "a" -> "b"]` {
			t.Errorf("the plan says %s", got)
		}
		visit()
		w.mustReload(f + on("c", otherEngine[engine]))
		visit()
		if _, err := w.reload(strings.Replace(f, "127.0.0.1:0", taken.addr(), 1) + on("d", engine)); err == nil {
			t.Error("a reload that needs an address in use went well")
		}
		visit()
		w.mustReload(f)
		eventually(t, "the path to be gone", func() bool {
			_, err := os.Lstat(path)
			return errors.Is(err, fs.ErrNotExist)
		})
	})
}

// Listeners come and go, and so do frontends.
func TestB40ListenersComeAndGo(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		a := mirror(t)
		one := fmt.Sprintf("[[frontend]]\nname = \"f\"\nengine = %q\nbind_on = \"127.0.0.1:0\"\n", engine) + to(a.addr())
		two := strings.Replace(one, "\"127.0.0.1:0\"", "[\"127.0.0.1:0\", \"127.0.0.2:0\"]", 1)
		w := startWeirFile(t, one)
		w.mustReload(two + strings.Replace(one, `"f"`, `"g"`, 1))
		second, other := w.b.Addrs("f")[1].String(), w.b.Addrs("g")[0].String()
		for _, addr := range []string{w.addr, second, other} {
			c := dialTCP(t, addr)
			send(t, c, addr)
			expect(t, c, addr)
			c.Close()
		}
		w.mustReload(one)
		for _, addr := range []string{second, other} {
			eventually(t, addr+" to be closed", func() bool {
				c, err := net.Dial("tcp", addr)
				if err == nil {
					c.Close()
				}
				return err != nil
			})
		}
		c := w.dial()
		send(t, c, "still")
		expect(t, c, "still")
	})
}
