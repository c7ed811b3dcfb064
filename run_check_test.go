//go:build linux

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// openDir is a directory in which any user may look around, for those tests that need one who is not root.
func openDir(t *testing.T) string {
	t.Helper()
	dir := shortTempDir(t)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

const smallest = "[frontend]\nbind_on = \"127.0.0.1:0\"\nbackend = { forward_to = \"127.0.0.1:1\" }\n"

// What this user and this machine would refuse to a start a check says in the same words, and where the file asks
// for it.
func TestB45CheckSaysWhatAStartWouldRefuse(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(t *testing.T, dir string)
		// text has DIR for the directory.
		text string
		want string // after the name of the file
		user bool   // as one who is not root
	}{
		{"a log directory that is not there", nil, smallest + "[log]\nfile = \"DIR/no/weir.log\"\n",
			`:5:8: log.file: the directory "DIR/no" for the log does not exist; create it: mkdir -p DIR/no`, false},
		{"a log that is a directory", nil, smallest + "[log]\nfile = \"DIR\"\n",
			`:5:8: log.file: cannot open the log "DIR": is a directory; `, false},
		{"a log directory that we may not write", nil, smallest + "[log]\nfile = \"DIR/weir.log\"\n",
			`:5:8: log.file: this user (uid 65534) may not create a file in the directory "DIR" for the log: permission denied; `, true},
		{"a log that we may not write", func(t *testing.T, dir string) { write(t, filepath.Join(dir, "weir.log"), "") },
			smallest + "[log]\nfile = \"DIR/weir.log\"\n", `:5:8: log.file: cannot open the log "DIR/weir.log": permission denied; `, true},
		{"a log behind a link to nowhere", func(t *testing.T, dir string) { point(t, filepath.Join(dir, "log"), "no/weir.log") },
			smallest + "[log]\nfile = \"DIR/log\"\n", `:5:8: log.file: the directory "DIR/no" for the log does not exist; `, false},
		{"a token that we may not read", func(t *testing.T, dir string) { write(t, filepath.Join(dir, "token"), strings.Repeat("x", 20)) },
			smallest + "[admin]\nbind_on = \"127.0.0.1:0\"\ntoken_file = \"DIR/token\"\n",
			`:6:14: admin.token_file: this user may not read "DIR/token"; let the user that weir runs as read it`, true},
		{"a list that we may not read", func(t *testing.T, dir string) { write(t, filepath.Join(dir, "deny"), "10.0.0.0/8\n") },
			"[frontend]\nbind_on = \"127.0.0.1:0\"\ndeny_file = \"DIR/deny\"\nbackend = { forward_to = \"127.0.0.1:1\" }\n",
			`:3:13: frontend.deny_file: cannot read "DIR/deny": permission denied`, true},
		{"no token", nil, smallest + "[admin]\nbind_on = \"127.0.0.1:0\"\ntoken_file = \"DIR/token\"\n",
			`:6:14: admin.token_file: cannot read "DIR/token": no such file or directory`, false},
		{"a door in a directory that is not there", nil, smallest + "[admin]\nbind_on = \"unix:DIR/no/admin.sock\"\n",
			`:5:11: admin.bind_on: the directory "DIR/no" for the socket does not exist; create it: mkdir -p DIR/no`, false},
		{"a door where a file is", func(t *testing.T, dir string) { write(t, filepath.Join(dir, "admin.sock"), "") },
			smallest + "[admin]\nbind_on = \"unix:DIR/admin.sock\"\n",
			`:5:11: admin.bind_on: something else than a socket is at "DIR/admin.sock"; move it away, or listen elsewhere`, false},
		{"a frontend in a directory that is not there", nil, strings.Replace(smallest, "127.0.0.1:0", "unix:DIR/no/front.sock", 1),
			`:2:11: frontend.bind_on: the directory "DIR/no" for the socket does not exist; `, false},
		{"one path by two names", func(t *testing.T, dir string) { point(t, filepath.Join(dir, "link"), ".") },
			strings.Replace(smallest, "\"127.0.0.1:0\"", "[\"unix:DIR/front.sock\",\n\"unix:DIR/link/front.sock\"]", 1),
			`:3:1: frontend.bind_on[1]: "DIR/link/front.sock" and "DIR/front.sock" are the same path, through a link; one socket can be bound once`, false},
		{"a frontend in a directory that is none", func(t *testing.T, dir string) { write(t, filepath.Join(dir, "file"), "") },
			strings.Replace(smallest, "127.0.0.1:0", "unix:DIR/file/front.sock", 1),
			`:2:11: frontend.bind_on: "DIR/file" is no directory; name a path inside a directory`, false},
		{"a frontend in a directory that we may not write", nil, strings.Replace(smallest, "127.0.0.1:0", "unix:DIR/front.sock", 1),
			`:2:11: frontend.bind_on: this user (uid 65534) may not create a file in the directory "DIR" for the socket: permission denied; `, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.user && os.Geteuid() != 0 {
				t.Skip("SKIPPED: needs root, to be another user")
			}
			dir := openDir(t)
			if c.set != nil {
				c.set(t, dir)
			}
			file := filepath.Join(dir, "weir.toml")
			write(t, file, strings.ReplaceAll(c.text, "DIR", dir))
			if err := os.Chmod(file, 0o644); err != nil {
				t.Fatal(err)
			}
			want := file + strings.ReplaceAll(c.want, "DIR", dir)
			for _, command := range []string{"check", "run"} {
				code, stderr := as(t, c.user, command, "-c", file)
				if code != 1 || !strings.HasPrefix(stderr, want) || strings.Count(stderr, "\n") != 1 {
					t.Errorf("weir %s: exit %d\n%s\nwant\n%s", command, code, stderr, want)
				}
			}
			if _, err := os.Lstat(filepath.Join(dir, "weir.log")); !errors.Is(err, fs.ErrNotExist) && c.set == nil {
				t.Errorf("a log was made: %v", err)
			}
		})
	}
}

// as runs weir to its end, as a user who is not root if asked to.
func as(t *testing.T, user bool, args ...string) (code int, stderr string) {
	t.Helper()
	if !user {
		r := weir(t, ".", args...)
		return r.code, r.stderr
	}
	program := filepath.Join(openDir(t), "weir")
	install(t, program)
	cmd := exec.Command(program, args...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	var text strings.Builder
	cmd.Stderr = &text
	timer := time.AfterFunc(patience, func() { cmd.Process.Kill() })
	defer timer.Stop()
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), text.String()
}

// What a start would do all the same is a warning: it is printed, and the file is right.
func TestCheckWarns(t *testing.T) {
	for _, c := range []struct{ name, text, want, count string }{
		{"probes of MySQL", strings.Replace(smallest, "127.0.0.1:1\"", "127.0.0.1:3306\"", 1), ":3:26: warning: frontend.backend.forward_to: a TCP probe", "1 warning"},
		{"an address of another machine", strings.Replace(smallest, "127.0.0.1:0", "192.0.2.1:7070", 1),
			":2:11: warning: frontend.bind_on: no interface of this machine has 192.0.2.1", "1 warning"},
		{"a source of another machine", strings.Replace(smallest, "bind_on", "source_address = [\"127.0.0.9\", \"2001:db8::1\"]\nbind_on", 1),
			":2:32: warning: frontend.source_address[1]: no interface of this machine has 2001:db8::1: connections to backends cannot come from there", "1 warning"},
		{"more sessions than open files", "max_sessions = 2147483647\n" + smallest, ":1:16: warning: max_sessions: 2147483647 sessions are more than the limit of ", "1 warning"},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "weir.toml")
			write(t, file, c.text)
			r := weir(t, ".", "check", "-c", file)
			r.want(t, 0, file+": ok: 1 frontend, 1 backend, "+c.count+"\n", file+c.want)
			if strings.Count(r.stderr, "\n") != 1 {
				t.Errorf("got %s", r.stderr)
			}
			r = weir(t, ".", "check", "--print", "-c", file)
			r.want(t, 0, "[[frontend]]", file+c.want)
		})
	}
}

// A port that needs a privilege is warned of: what starts weir may give it.
func TestCheckWarnsOfAPrivilegedPort(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: needs root, to be another user")
	}
	if got := read(t, "/proc/sys/net/ipv4/ip_unprivileged_port_start"); got != "1024\n" {
		t.Skipf("SKIPPED: here ports from %s on need no privilege", strings.TrimSpace(got))
	}
	file := filepath.Join(openDir(t), "weir.toml")
	write(t, file, strings.Replace(smallest, "127.0.0.1:0", "127.0.0.1:443", 1))
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if code, stderr := as(t, true, "check", "-c", file); code != 0 || !strings.Contains(stderr, ":2:11: warning: frontend.bind_on: this user (uid 65534) may not listen on port 443") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	weir(t, ".", "check", "-c", file).want(t, 0, "ok: 1 frontend, 1 backend\n", "")
}

// A file for another machine is judged by itself; what it says that is wrong anywhere stays wrong.
func TestCheckElsewhere(t *testing.T) {
	file := filepath.Join(t.TempDir(), "weir.toml")
	write(t, file, strings.Replace(smallest, "127.0.0.1:0", "unix:/nowhere/front.sock", 1)+"[log]\nfile = \"/nowhere/weir.log\"\n")
	weir(t, ".", "check", "-c", file).want(t, 1, "", `"/nowhere" for the log does not exist`)
	weir(t, ".", "check", "--elsewhere", "-c", file).want(t, 0, "ok: 1 frontend, 1 backend\n", "")
}

// A weir that cannot have the descriptors for its file says so in a check as at its start.
func TestCheckCountsDescriptors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "weir.toml")
	write(t, file, smallest)
	for _, command := range []string{"check", "run"} {
		out, err := exec.Command("sh", "-c", "ulimit -n 30 && exec \"$0\" "+command+" -c \"$1\"", binary, file).CombinedOutput()
		if err == nil || !strings.HasPrefix(string(out), file+":1:1: share descriptors: the limit of 30 open files leaves none for sessions") {
			t.Errorf("weir %s: %v: %s", command, err, out)
		}
	}
}

// A running weir logs the warnings of its file; plan and reload print them. What a reload cannot use changes nothing.
func TestWarningsWhileItRuns(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		dir := shortTempDir(t)
		o := &operator{t: t, door: filepath.Join(dir, "admin.sock"), file: filepath.Join(dir, "weir.toml")}
		text := fmt.Sprintf("[admin]\nbind_on = \"unix:%s\"\n[frontend]\nname = \"db\"\nengine = %q\nbind_on = \"127.0.0.1:0\"\n%%s[frontend.backend]\nforward_to = %%q\n", o.door, engine)
		write(t, o.file, fmt.Sprintf(text, "", "127.0.0.1:3306"))
		p := start(t, ".", "run", "-v", "-c", o.file)
		p.stderr.await(t, "listening for connections")
		if line := p.stderr.await(t, "the configuration may not do what is meant"); !strings.Contains(line, ":8:14: warning: frontend.backend.forward_to: a TCP probe") {
			t.Errorf("the log says %s", line)
		}
		write(t, o.file, fmt.Sprintf(text, "source_address = \"192.0.2.1\"\n", "127.0.0.1:1"))
		const warning = ":7:18: warning: frontend.source_address: no interface of this machine has 192.0.2.1"
		if r := weir(t, ".", "plan", "-c", o.file, "--admin", "unix:"+o.door); r.code != 3 || !strings.Contains(r.stderr, warning) {
			t.Errorf("weir plan: exit %d: %s", r.code, r.stderr)
		}
		if r := weir(t, ".", "reload", "--admin", "unix:"+o.door); r.code != 0 || !strings.Contains(r.stderr, warning) {
			t.Errorf("weir reload: exit %d: %s", r.code, r.stderr)
		}
		p.signal(syscall.SIGHUP)
		p.stderr.await(t, warning)
		write(t, o.file, fmt.Sprintf(strings.Replace(text, "127.0.0.1:0", "unix:/nowhere/front.sock", 1), "", "127.0.0.1:1"))
		for _, command := range []string{"reload", "plan"} {
			args := []string{command, "--admin", "unix:" + o.door}
			if command == "plan" {
				args = append(args, "-c", o.file)
			}
			weir(t, ".", args...).want(t, 1, "", `:6:11: frontend.bind_on: the directory "/nowhere" for the socket does not exist; `)
		}
		write(t, o.file, fmt.Sprintf(text, "", "127.0.0.1:1")+"[log]\nfile = \"/nowhere/weir.log\"\n") // of the next start
		weir(t, ".", "reload", "--admin", "unix:"+o.door).want(t, 0, "log.file",
			`:10:8: warning: log.file: the directory "/nowhere" for the log does not exist: the next start would fail; create it: `)
		p.signal(os.Interrupt)
		p.wantExit(t, 0)
	})
}
