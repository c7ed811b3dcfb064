//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/balancer/admin"
)

// operator runs weir's commands against a weir that runs.
type operator struct {
	t    *testing.T
	door string
	file string
}

// do runs a command that must succeed, and returns what it said.
func (o *operator) do(args ...string) string {
	o.t.Helper()
	r := weir(o.t, ".", append(args, "--admin", "unix:"+o.door)...)
	if r.code != 0 {
		o.t.Fatalf("weir %v: exit %d: %s", args, r.code, r.stderr)
	}
	return r.stdout
}

// backend returns one backend as status tells it.
func (o *operator) backend(name string) (b admin.Backend, found bool) {
	o.t.Helper()
	for _, b := range o.status().Frontends[0].Pool.Backends {
		if b.Name == name {
			return b, true
		}
	}
	return b, false
}

func (o *operator) status() (s admin.Status) {
	o.t.Helper()
	if err := json.Unmarshal([]byte(o.do("status", "--json")), &s); err != nil {
		o.t.Fatal(err)
	}
	return s
}

// Every command does what it says to a weir that runs.
func TestOperate(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		_, one := echoServer(t, "127.0.0.1:0", "")
		_, two := echoServer(t, "127.0.0.1:0", "")
		dir := shortTempDir(t)
		o := &operator{t: t, door: filepath.Join(dir, "admin.sock"), file: filepath.Join(dir, "weir.toml")}
		text := fmt.Sprintf("[admin]\nbind_on = %q\n[[frontend]]\nname = \"web\"\nengine = %q\nbind_on = \"127.0.0.1:0\"\n[frontend.health]\nkind = \"none\"\n"+
			"[[frontend.backend]]\nname = \"one\" # the first\nforward_to = %q\n[[frontend.backend]]\nname = \"two\"\nforward_to = %q\n", "unix:"+o.door, engine, one, two)
		write(t, o.file, text)
		p := start(t, ".", "run", "-v", "-c", o.file)
		address := logField(t, p.stderr.await(t, "listening for connections"), "bind_on")

		for _, step := range []struct{ command, state string }{{"drain", "drain"}, {"maint", "maint"}, {"ready", "up"}} {
			o.do(step.command, "one")
			if b, _ := o.backend("one"); b.State != step.state {
				t.Errorf("after weir %s it is %s, want %s", step.command, b.State, step.state)
			}
		}
		o.do("weight", "web/one", "7")
		o.do("limit", "one", "3")
		if b, _ := o.backend("one"); b.ConfiguredWeight != 7 || b.Limit != 3 {
			t.Errorf("weight %d and limit %d, want 7 and 3", b.ConfiguredWeight, b.Limit)
		}
		o.do("add", two, "--name", "three")
		if b, found := o.backend("three"); !found || !b.Added {
			t.Errorf("an added backend: %+v, %t", b, found)
		}
		o.do("remove", "two")
		if _, found := o.backend("two"); found {
			t.Error("a removed backend is still there")
		}
		var differs []string
		for _, d := range o.status().Differs {
			differs = append(differs, d.Backend+" "+d.What)
		}
		if got := strings.Join(differs, ", "); got != "one weight, one limit, three added, two removed" {
			t.Errorf("differs from the file: %s", got)
		}

		c := dial(t, address)
		goOn(t, c, "here")
		if got := o.do("sessions"); !strings.Contains(got, c.LocalAddr().String()) {
			t.Errorf("weir sessions does not tell of %s:\n%s", c.LocalAddr(), got)
		}
		if got := o.do("why", "127.0.0.1"); !strings.Contains(got, "one") || !strings.Contains(got, "three") {
			t.Errorf("weir why says\n%s", got)
		}
		o.do("kill", "--client", "127.0.0.1")
		c.SetDeadline(time.Now().Add(patience))
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("a session that was killed goes on")
		}
		if line := p.stderr.await(t, "served connection"); logField(t, line, "outcome") != "killed" {
			t.Errorf("it ended as %s", line)
		} else if got := o.do("sessions", logField(t, line, "session")); !strings.Contains(got, "killed") {
			t.Errorf("its record says\n%s", got)
		}

		if r := weir(t, ".", "plan", "-c", o.file, "--admin", "unix:"+o.door); r.code != 3 || !strings.Contains(r.stdout, "two") {
			t.Errorf("weir plan: exit %d\n%s", r.code, r.stdout)
		}
		write(t, o.file, text+"weight = 9\n")
		if r := weir(t, ".", "save", "--admin", "unix:"+o.door); r.code != 1 || !strings.Contains(r.stderr, "was changed since weir read it") {
			t.Errorf("weir save into a file that somebody works at: exit %d\n%s", r.code, r.stderr)
		}
		write(t, o.file, text+"# and nothing more\n") // a comment changes nothing
		o.do("save")
		if got := read(t, o.file+".old"); got != text+"# and nothing more\n" {
			t.Errorf("the old file says\n%s", got)
		}
		first, _, _ := strings.Cut(text, "[[frontend.backend]]\nname = \"two\"")
		want := first + "weight = 7\nmax_connections = 3\n" +
			fmt.Sprintf("\n[[frontend.backend]]\nname = \"three\"\nforward_to = %q\nweight = 1\n", two) + "# and nothing more\n"
		if got := read(t, o.file); got != want {
			t.Errorf("weir save wrote\n%s\nwant\n%s", got, want)
		}
		if r := weir(t, ".", "plan", "-c", o.file, "--admin", "unix:"+o.door); r.code != 0 {
			t.Errorf("weir plan after weir save: exit %d\n%s", r.code, r.stdout)
		}
		write(t, o.file, text+"wrong = 1\n")
		if r := weir(t, ".", "reload", "--admin", "unix:"+o.door); r.code != 1 || !strings.Contains(r.stderr, ":15:1: ") {
			t.Errorf("weir reload of a wrong file: exit %d\n%s", r.code, r.stderr)
		}
		write(t, o.file, text)
		o.do("reload")
		if got := o.status().Differs; len(got) != 0 {
			t.Errorf("after a reload %v differs", got)
		}
		o.do("remove", "two")
		o.do("add", two, "--name", "two")
		if b, _ := o.backend("two"); b.Added || len(o.status().Differs) != 0 {
			t.Errorf("removed and added again, it counts as added: %+v", b)
		}
		before := o.status().PID
		o.do("upgrade")
		if after := o.status().PID; after == before {
			t.Error("the same process answers after an upgrade")
		}
		if got, err := talk(address, "new"); err != nil || got != "new" {
			t.Errorf("got %q and %v from the new process", got, err)
		}
		if process, err := os.FindProcess(o.status().PID); err == nil {
			process.Signal(os.Interrupt)
		}
		p.wantExit(t, 0)
	})
}

// A file that is reached through a link is written where it is, and reads the same afterwards.
func TestSaveThroughALink(t *testing.T) {
	dir := shortTempDir(t)
	file := filepath.Join(dir, "weir.toml")
	o := &operator{t: t, door: filepath.Join(dir, "admin.sock"), file: filepath.Join(dir, "conf", "main.toml")}
	if err := os.Mkdir(filepath.Dir(o.file), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, o.file, fmt.Sprintf("[admin]\nbind_on = %q\n[frontend]\nbind_on = \"127.0.0.1:0\"\n[[frontend.backend]]\nname = \"one\"\nforward_to = \"127.0.0.1:1\"\n", "unix:"+o.door))
	if err := os.Chmod(o.file, 0o664); err != nil {
		t.Fatal(err)
	}
	point(t, file, "conf/main.toml")
	p := start(t, ".", "run", "-v", "-c", file)
	p.stderr.await(t, "listening for connections")
	o.do("weight", "one", "7")
	o.do("save")
	if to, err := os.Readlink(file); err != nil || to != "conf/main.toml" {
		t.Errorf("the link leads to %q (%v)", to, err)
	}
	if info, err := os.Stat(o.file); err != nil || info.Mode() != 0o664 {
		t.Errorf("the file has mode %v (%v)", info.Mode(), err)
	}
	if got := read(t, o.file); !strings.HasSuffix(got, "weight = 7\n") {
		t.Errorf("the file says\n%s", got)
	}
	p.signal(os.Interrupt)
	p.wantExit(t, 0)
}

// A file without a header for each backend is written anew, and the one with the comments kept.
func TestSaveWritesAnew(t *testing.T) {
	dir := shortTempDir(t)
	o := &operator{t: t, door: filepath.Join(dir, "admin.sock"), file: filepath.Join(dir, "weir.toml")}
	text := fmt.Sprintf("# short\nadmin = { bind_on = %q }\nfrontend = { bind_on = \"127.0.0.1:0\", backend = [{ name = \"one\", forward_to = \"127.0.0.1:1\" }] }\n", "unix:"+o.door)
	write(t, o.file, text)
	p := start(t, ".", "run", "-v", "-c", o.file)
	p.stderr.await(t, "listening for connections")
	o.do("weight", "one", "7")
	if got := o.do("save"); !strings.Contains(got, "the whole file was written anew: its comments are in "+o.file+".old") {
		t.Errorf("weir save says\n%s", got)
	}
	if got := read(t, o.file+".old"); got != text {
		t.Errorf("the old file says\n%s", got)
	}
	if got := read(t, o.file); !strings.Contains(got, "weight = 7\n") {
		t.Errorf("the new file says\n%s", got)
	}
	if r := weir(t, ".", "plan", "-c", o.file, "--admin", "unix:"+o.door); r.code != 0 {
		t.Errorf("weir plan after weir save: exit %d\n%s", r.code, r.stdout)
	}
	p.signal(os.Interrupt)
	p.wantExit(t, 0)
}
