//go:build linux

package balancer_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"weir/frontend"
	"weir/frontend/reactor"
)

// A reload of backlog reaches the sockets that listen already.
func TestReloadOfBacklog(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		file := func(backlog int) string {
			return fmt.Sprintf("[[frontend]]\nname = \"f\"\nengine = %q\nbind_on = \"127.0.0.1:0\"\nbacklog = %d\n", engine, backlog) + to(deadAddress(t))
		}
		w := startWeirFile(t, file(7))
		most := 0
		for _, backlog := range []int{7, 100, 0, 9} {
			w.mustReload(file(backlog))
			for _, s := range w.b.Listening("f").Sockets() {
				info, err := unix.GetsockoptTCPInfo(int(s.FD), unix.IPPROTO_TCP, unix.TCP_INFO)
				if err != nil {
					t.Fatal(err)
				}
				got := int(info.Sacked) // of a socket that listens: sk_max_ack_backlog
				if backlog == 0 {
					most = got
				}
				if want := backlog; want != 0 && got != want || got < 9 && backlog == 0 {
					t.Errorf("backlog = %d: the socket's is %d (most %d)", want, got, most)
				}
			}
		}
	})
}

// A frontend goes over to the other engine and back: new sessions run on the new one, those that run finish on the old
// one, are listed and can be killed; nobody is refused, and the counts go on.
func TestReloadOfEngine(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		s := mirror(t)
		path := filepath.Join(t.TempDir(), "front")
		file := func(engine, more string) string {
			return fmt.Sprintf("[[frontend]]\nname = \"f\"\nengine = %q\nbind_on = [\"127.0.0.1:0\", \"unix:%s\"]\n%s\n", engine, path, more) + to(s.addr()) + noProbes
		}
		w := startWeirFile(t, file(engine, ""))
		v := &visitors{t: t, port: portNumber(t, w.addr)}
		defer v.end()
		v.expect(true, false)
		first, killed := w.dial(), w.dial()
		say := func(text string) {
			t.Helper()
			send(t, first, text)
			expect(t, first, text)
		}
		send(t, killed, "x")
		expect(t, killed, "x")
		say("before")
		names := []string{otherEngine[engine], engine}
		for i := range 6 {
			before := w.b.Counters("f").Opened.Load()
			plan := w.mustReload(file(names[i%2], ""))
			if len(plan.Changes) != 1 || !strings.Contains(plan.Changes[0].Note, "running sessions") {
				t.Errorf("the plan is %v", plan.Changes)
			}
			if view, _ := w.b.View("f"); view.Engine != names[i%2] || len(view.Addrs) != 2 || view.Addrs[0].String() != w.addr {
				t.Errorf("the engine is %s, at %v", view.Engine, view.Addrs)
			}
			v.settle()
			say("still here")
			c := dialUnix(t, path)
			send(t, c, "by the path")
			expect(t, c, "by the path")
			c.Close()
			if after := w.b.Counters("f").Opened.Load(); after <= before {
				t.Errorf("%d sessions counted, and %d before", after, before)
			}
		}
		view, _ := w.b.View("f")
		find := killed.LocalAddr().String()
		n, err := view.Kill(t.Context(), func(i *frontend.Info) bool { return i.Client.String() == find }, frontend.Killed)
		if n != 1 || err != nil {
			t.Errorf("%d sessions of the old engine killed, %v; want 1", n, err)
		}
		expectClosed(t, killed)
		seen := 0
		view.Sessions(context.Background(), frontend.Inspect{}, func(i *frontend.Info) bool {
			if i.Client.String() == first.LocalAddr().String() {
				seen++
			}
			return true
		})
		if seen != 1 {
			t.Errorf("the session of before is listed %d times", seen)
		}
		// A backend that goes takes the sessions of the old engines along.
		v.end()
		v.stop = [2]context.CancelFunc{}
		w.mustReload(strings.Replace(file(engine, ""), s.addr(), mirror(t).addr(), 1) + "[shutdown]\ndrain = \"0s\"\n")
		expectClosed(t, first)
	})
}

// A session of an engine that went is cut when weir stops, if it does not end by itself.
func TestReloadOfEngineThenStop(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		s := mirror(t)
		file := func(engine string) string {
			return fmt.Sprintf("[[frontend]]\nname = \"f\"\nengine = %q\nbind_on = \"127.0.0.1:0\"\n", engine) + to(s.addr()) + noProbes
		}
		w := startWeirFile(t, file(engine))
		c := w.dial()
		send(t, c, "x")
		expect(t, c, "x")
		w.mustReload(file(otherEngine[engine]))
		w.stop()
		w.kill()
		expectClosed(t, c)
	})
}

// pin_loops changes in a reload, in the loops that run.
func TestReloadOfPinLoops(t *testing.T) {
	s := mirror(t)
	file := func(pin bool) string {
		return fmt.Sprintf("pin_loops = %v\n[[frontend]]\nname = \"f\"\nengine = \"reactor\"\nbind_on = \"127.0.0.1:0\"\n", pin) + to(s.addr()) + noProbes
	}
	var may unix.CPUSet
	if err := unix.SchedGetaffinity(os.Getpid(), &may); err != nil {
		t.Fatal(err)
	}
	if err := reactor.MayPin(reactor.Loops()); err != nil || may.Count() < 2 {
		if os.Getenv("CI") == "true" {
			t.Fatalf("loops cannot be pinned: %v", err)
		}
		t.Skipf("SKIPPED: loops cannot be pinned to %d cores: %v", may.Count(), err)
	}
	w := startWeirFile(t, file(false))
	for _, pin := range []bool{true, false, true} {
		if plan := w.mustReload(file(pin)); fmt.Sprint(plan.Changes) != fmt.Sprintf("[~ pin_loops: %v -> %v]", !pin, pin) {
			t.Errorf("the plan is %v", plan.Changes)
		}
		want := 0
		if pin {
			want = may.Count()
		}
		eventually(t, fmt.Sprintf("%d threads with one core", want), func() bool { return threadsWithOneCore(t) == want })
		for range 20 {
			c := w.dial()
			send(t, c, "x")
			expect(t, c, "x")
			c.Close()
		}
	}
}

// threadsWithOneCore counts the threads of this process that may run on one core only.
func threadsWithOneCore(t *testing.T) (n int) {
	t.Helper()
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, thread := range threads {
		var may unix.CPUSet
		id, _ := strconv.Atoi(thread.Name())
		if unix.SchedGetaffinity(id, &may) == nil && may.Count() == 1 { // or it has ended
			n++
		}
	}
	return n
}

// A path that was deleted, or that a dead socket was put at, is opened again by a reload.
func TestReloadOpensPathAgain(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		s := mirror(t)
		path := filepath.Join(t.TempDir(), "front")
		file := fmt.Sprintf("[[frontend]]\nname = \"f\"\nengine = %q\nbind_on = [\"127.0.0.1:0\", \"unix:%s\"]\n", engine, path) + to(s.addr()) + noProbes
		w := startWeirFile(t, file)
		visit := func() {
			t.Helper()
			c := dialUnix(t, path)
			send(t, c, "hello")
			expect(t, c, "hello")
			c.Close()
		}
		visit()
		for _, replaced := range []bool{false, true} {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if replaced {
				dead := listenUnix(t, path)
				dead.SetUnlinkOnClose(false)
				dead.Close()
			}
			w.mustReload(file)
			visit()
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		live := listenUnix(t, path)
		if _, err := w.reload(file); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("got %v, want an error that names %s", err, path)
		}
		if err := w.canPlan(file); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("plan: got %v, want an error that names %s", err, path)
		}
		live.Close()
	})
}
