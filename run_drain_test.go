//go:build linux

package main

import (
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// drainable runs a weir with one session, which is at the backend "one".
func drainable(t *testing.T, engine string) (o *operator, c *net.TCPConn, w *process) {
	t.Helper()
	_, one := echoServer(t, "127.0.0.1:0", "")
	_, two := echoServer(t, "127.0.0.1:0", "")
	dir := shortTempDir(t)
	o = &operator{t: t, door: filepath.Join(dir, "admin.sock"), file: filepath.Join(dir, "weir.toml")}
	write(t, o.file, fmt.Sprintf("[admin]\nbind_on = %q\n[[frontend]]\nname = \"web\"\nengine = %q\nstrategy = \"first\"\nbind_on = \"127.0.0.1:0\"\n"+
		"[frontend.health]\nkind = \"none\"\n[[frontend.backend]]\nname = \"one\"\nforward_to = %q\n[[frontend.backend]]\nname = \"two\"\nforward_to = %q\n",
		"unix:"+o.door, engine, one, two))
	w = start(t, ".", "run", "-v", "-c", o.file)
	c = dial(t, logField(t, w.stderr.await(t, "listening for connections"), "bind_on"))
	goOn(t, c, "here")
	return o, c, w
}

// begin starts a command that takes its time.
func (o *operator) begin(args ...string) *process {
	o.t.Helper()
	return start(o.t, ".", append(args, "--admin", "unix:"+o.door)...)
}

// A drain is waited for until the last session has ended, and an event tells of it.
func TestDrainWaitsForTheLastSession(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		o, c, _ := drainable(t, engine)
		events := o.begin("events")
		p := o.begin("drain", "one", "--wait")
		p.stdout.await(t, "web/one is drain (set to drain by")
		eventually(t, "the events", func() bool { // until the stream is there
			o.do("ready", "two")
			return strings.Contains(events.stdout.String(), "backend two of web was changed")
		})
		goOn(t, c, "it goes on")
		if got := p.stdout.String(); strings.Contains(got, "drained") {
			t.Errorf("it has a session, and yet %s", got)
		}
		c.Close()
		p.wantExit(t, 0)
		if got := p.stdout.String(); !strings.HasSuffix(got, "web/one is drained: no sessions left\n") {
			t.Errorf("got %s", got)
		}
		events.stdout.await(t, "backend one of web is drained: no sessions left")
	})
}

// Ctrl-C and the end of the time leave a drain in place; or what is left is ended then.
func TestDrainThatIsGivenUp(t *testing.T) {
	o, c, w := drainable(t, "copy")
	p := o.begin("drain", "one", "--wait")
	p.stdout.await(t, "web/one is drain")
	p.signal(syscall.SIGINT)
	p.wantExit(t, 4)
	const stays = ": the drain stays in place ('weir ready' undoes it); web/one: 1 session\n"
	if got := p.stderr.String(); got != "weir: interrupted"+stays {
		t.Errorf("got %q", got)
	}
	r := weir(t, ".", "drain", "one", "--wait", "--timeout", "200ms", "--admin", "unix:"+o.door)
	if r.code != 4 || r.stderr != "weir: not drained after 200ms"+stays {
		t.Errorf("got exit %d, %q", r.code, r.stderr)
	}
	goOn(t, c, "still here")
	if b, _ := o.backend("one"); b.State != "drain" {
		t.Errorf("it is %s, want drain", b.State)
	}
	if out := o.do("drain", "one", "--wait", "--timeout", "200ms", "--then-kill"); !strings.HasSuffix(out, "ended 1 session of web/one\nweb/one is drained: no sessions left\n") {
		t.Errorf("got %s", out)
	}
	if line := w.stderr.await(t, "served connection"); logField(t, line, "outcome") != "killed" {
		t.Errorf("the session ended as %s", line)
	}
}

// A removed backend is listed as long as it has a session, and its sessions can be ended by its name.
func TestRemovedBackendIsListed(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		o, c, _ := drainable(t, engine)
		o.do("remove", "one")
		if b, there := o.backend("one"); !there || b.State != "removed" || b.Active != 1 {
			t.Errorf("got %+v, %v", b, there)
		}
		if got := o.do("sessions", "--backend", "one"); !strings.Contains(got, c.LocalAddr().String()) {
			t.Errorf("its sessions: %s", got)
		}
		r := weir(t, ".", "weight", "one", "3", "--admin", "unix:"+o.door)
		if r.code != 1 || !strings.Contains(r.stderr, "one of frontend web is removed: its sessions, 1 now, have the drain time to finish") {
			t.Errorf("weir weight: exit %d, %s", r.code, r.stderr)
		}
		if got := o.do("kill", "--backend", "one"); got != "ended 1 session\n" {
			t.Errorf("got %s", got)
		}
		eventually(t, "it to be gone", func() bool { _, there := o.backend("one"); return !there })
	})
}

// With a rate Ctrl-C ends no more sessions.
func TestKillIsInterrupted(t *testing.T) {
	o, c, w := drainable(t, "reactor")
	address := c.RemoteAddr().String()
	var others []*net.TCPConn
	for range 3 {
		other := dial(t, address)
		goOn(t, other, "here")
		others = append(others, other)
	}
	p := o.begin("kill", "--all", "--rate", "1/min")
	w.stderr.await(t, `"outcome":"killed"`)
	p.signal(syscall.SIGINT)
	p.wantExit(t, 4)
	// weir may have ended the session before the command has heard of it.
	if got := p.stderr.String(); got != "weir: interrupted: ended 1 of 4 sessions\n" && got != "weir: interrupted: ended 0 of 0 sessions\n" {
		t.Errorf("got %q", got)
	}
	for _, other := range others {
		goOn(t, other, "still here")
	}
	if got := o.do("kill", "--backend", "one", "--limit", "2", "--rate", "50/s"); got != "ended 2 sessions\n" {
		t.Errorf("got %s", got)
	}
	goOn(t, others[2], "the youngest")
}

// The status is shown again and again until Ctrl-C, which is no failure.
func TestStatusIsWatched(t *testing.T) {
	o, _, _ := drainable(t, "copy")
	p := o.begin("status", "--watch", "100ms")
	p.stdout.awaitNth(t, "frontend web on ", 3)
	p.signal(syscall.SIGINT)
	p.wantExit(t, 0)
	out := p.stdout.String()
	if !strings.HasPrefix(out, "--- 20") || strings.Count(out, "\n--- 20") < 2 || strings.Contains(out, "\x1b") {
		t.Errorf("got %s", out)
	}
	cmd := exec.Command(binary, "status", "--watch", "100ms", "--admin", "unix:"+o.door)
	if got := screenOf(t, cmd, 2, "\x1b[J"); !strings.HasPrefix(got, "\x1b[?7l\x1b[Hweir ") {
		t.Errorf("on a terminal: %q", got)
	}
}
