//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// watching starts a weir that watches a file, and returns it with its address.
func watching(t *testing.T, file string) (*process, string) {
	t.Helper()
	p := start(t, ".", "run", "-v", "--watch", "--watch-settle", "200ms", "-c", file)
	return p, logField(t, p.stderr.await(t, "listening for connections"), "bind_on")
}

// wantTalk wants an answer that begins so.
func wantTalk(t *testing.T, address, want string) {
	t.Helper()
	if got, err := talk(address, "x"); err != nil || !strings.HasPrefix(got, want) {
		t.Errorf("got %q and %v, want %q", got, err, want)
	}
}

// With --watch weir goes over to what the file says by itself, however it is reached; and a wrong file changes
// nothing.
func TestWatch(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		_, first := echoServer(t, "127.0.0.1:0", "one")
		_, second := echoServer(t, "127.0.0.1:0", "two")
		keys := fmt.Sprintf("name = \"web\"\nengine = %q\nbind_on = \"127.0.0.1:0\"\nhealth = { kind = \"none\" }", engine)
		dir := t.TempDir()
		text := map[string]string{"1": read(t, configure(t, keys, first)), "2": read(t, configure(t, keys, second))}
		for _, release := range []string{"1", "2"} {
			if err := os.Mkdir(filepath.Join(dir, release), 0o755); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, release, "weir.toml"), text[release])
		}
		point(t, filepath.Join(dir, "current"), "1")
		p, address := watching(t, filepath.Join(dir, "current", "weir.toml"))
		wantTalk(t, address, "one")
		write(t, filepath.Join(dir, "1", "weir.toml"), "what?")
		p.stderr.await(t, "cannot reload: nothing has changed")
		wantTalk(t, address, "one")
		point(t, filepath.Join(dir, "current"), "2")
		p.stderr.await(t, "configuration reloaded")
		wantTalk(t, address, "two")
		next := filepath.Join(dir, "2", "weir.toml~") // replaced, as editors do
		write(t, next, text["1"])
		if err := os.Rename(next, filepath.Join(dir, "2", "weir.toml")); err != nil {
			t.Fatal(err)
		}
		p.stderr.awaitNth(t, "configuration reloaded", 2)
		wantTalk(t, address, "one")
		p.signal(os.Interrupt)
		p.wantExit(t, 0)
	})
}

// A list that the file names is watched as the file is.
func TestWatchList(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		_, echo := echoServer(t, "127.0.0.1:0", "one")
		file := configure(t, fmt.Sprintf("engine = %q\nbind_on = \"127.0.0.1:0\"\ndeny_file = \"deny\"\nhealth = { kind = \"none\" }", engine), echo)
		list := filepath.Join(filepath.Dir(file), "lists")
		write(t, list, "10.0.0.0/8\n")
		point(t, filepath.Join(filepath.Dir(file), "deny"), "lists")
		p, address := watching(t, file)
		wantTalk(t, address, "one")
		write(t, list, "127.0.0.1\n")
		p.stderr.await(t, "configuration reloaded")
		if got, err := talk(address, "x"); err == nil && got != "" {
			t.Errorf("got %q, want no answer for who is denied", got)
		}
		p.signal(os.Interrupt)
		p.wantExit(t, 0)
	})
}

// A file that has lost its tail, as one that is half written, does not cut the sessions of the backends in it.
func TestWatchKeepsSessions(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		_, one := echoServer(t, "127.0.0.1:0", "")
		_, two := echoServer(t, "127.0.0.1:0", "")
		keys := fmt.Sprintf("engine = %q\nbind_on = \"127.0.0.1:0\"\nhealth = { kind = \"none\" }", engine)
		file := configure(t, keys, one, two)
		whole := read(t, file)
		half := read(t, configure(t, keys, one))
		write(t, file, whole+"[shutdown]\ndrain = \"0s\"\n") // what is taken away is cut at once
		p, address := watching(t, file)
		first, second := dial(t, address), dial(t, address) // one on each
		goOn(t, first, "first")
		goOn(t, second, "second")
		write(t, file, half)
		line := p.stderr.await(t, "the file takes away what sessions run on")
		if !strings.Contains(line, two) {
			t.Errorf("the backend is not in %s", line)
		}
		write(t, file, whole+"[shutdown]\ndrain = \"0s\"\n")
		p.stderr.await(t, "weir goes by what the file says")
		goOn(t, first, "first again")
		goOn(t, second, "second again")
		if got := p.stderr.String(); strings.Contains(got, "configuration reloaded") {
			t.Errorf("it was reloaded:\n%s", got)
		}
		first.Close()
		second.Close()
		p.signal(os.Interrupt)
		p.wantExit(t, 0)
	})
}

// A token that was replaced opens the door, and what an operator changed before goes on.
func TestWatchToken(t *testing.T) {
	const old, fresh = "a-token-of-many-bytes", "another-token-of-many-bytes"
	file := configure(t, "bind_on = \"127.0.0.1:0\"\nhealth = { kind = \"none\" }", "127.0.0.1:1")
	dir := filepath.Dir(file)
	write(t, filepath.Join(dir, "token"), old)
	door := listenOnce(t)
	write(t, file, read(t, file)+fmt.Sprintf("name = \"one\"\n[admin]\nbind_on = %q\ntoken_file = \"token\"\n", door))
	p, _ := watching(t, file)
	ask := func(token string, args ...string) result {
		t.Helper()
		name := filepath.Join(t.TempDir(), "token")
		write(t, name, token)
		return weir(t, ".", append(args, "--admin", door, "--admin-token-file", name)...)
	}
	ask(old, "weight", "one", "7").want(t, 0, "7", "")
	write(t, filepath.Join(dir, "token"), fresh)
	p.stderr.await(t, "the token and the certificates were read again")
	ask(fresh, "status", "--json").want(t, 0, `"configured_weight": 7`, "")
	if r := ask(old, "status"); r.code == 0 {
		t.Error("the old token still opens the door")
	}
	p.signal(os.Interrupt)
	p.wantExit(t, 0)
}

func TestWatchSettleIsChecked(t *testing.T) {
	weir(t, ".", "run", "--watch-settle", "5s").want(t, 2, "", "--watch-settle has no meaning without --watch")
	weir(t, ".", "run", "--watch", "--watch-settle", "5ms").want(t, 2, "", "--watch-settle 5ms is too short: the least is 100ms")
}
