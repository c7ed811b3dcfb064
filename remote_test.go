//go:build linux

package main

import (
	"context"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"weir/balancer/admin"
	"weir/balancer/admin/admintest"
)

// fakeDoor opens a door with a weir behind it that never was, and returns what --admin takes.
func fakeDoor(t *testing.T) (*admintest.Operator, string) {
	t.Helper()
	op := admintest.New(time.Now())
	path := filepath.Join(shortTempDir(t), "admin.sock")
	d, err := admin.New(admin.Options{Network: "unix", Address: path, Log: zerolog.Nop()}, op)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- d.Serve(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return op, "unix:" + path
}

// The built binary asks a door. What the commands show is tested where they are.
func TestRemoteCommands(t *testing.T) {
	op, address := fakeDoor(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "new.toml"), read(t, "examples/two-echo.toml"))
	write(t, filepath.Join(dir, "bad.toml"), "[frontend]\nbind_on = 7070\n")
	op.Planned.Changed = true
	for _, c := range []struct {
		args           string
		code           int
		stdout, stderr string
	}{
		{"status", 0, "frontend pg on 127.0.0.1:5432", ""},
		{"status --json", 0, `"name": "db1"`, ""},
		{"-v status", 0, "frontend pg", ""},
		{"sessions --limit 2", 0, "… and 1 more", ""},
		{"sessions 4", 0, "backend reset (SD)", ""},
		{"sessions 99", 1, "", "weir: no session 99: it is not live"},
		{"kill 2", 0, "ended 1 session\n", ""},
		{"kill", 2, "", "weir: which sessions? give an id, a filter, or all\nRun 'weir kill --help' for usage.\n"},
		{"drain db1", 0, "pg/db1 is drain", ""},
		{"drain db9", 1, "", `weir: there is no backend "db9": there are pg/db1, pg/db2` + "\n"},
		{"drain", 2, "", "weir: drain needs more: weir drain BACKEND... [--wait [--timeout TIME [--then-kill]]]\n"},
		{"drain db2 --wait", 0, "pg/db2 is drained: no sessions left\n", ""},
		{"drain db1 --then-kill", 2, "", "weir: --timeout and --then-kill go with --wait\n"},
		{"drain db1 --wait --timeout 100ms", 4, "pg/db1 is drain", "weir: not drained after 100ms: the drain stays in place"},
		{"kill --all --limit 2 --rate 50/s", 0, "ended 2 sessions\n", ""},
		{"kill --all --rate fast", 2, "", "weir: --rate: \"fast\" is no rate: 20/s is one, and 30/min\n"},
		{"status --watch never", 2, "", "weir: --watch never is not a time of 100ms or more, such as 2s\n"},
		{"why 192.0.2.1 --bind 127.0.0.1:5432", 0, "at frontend pg (127.0.0.1:5432) goes to db1", ""},
		{"ready db2", 0, "pg/db2 is up", ""},
		{"maint pg/db2", 0, "pg/db2 is maint", ""},
		{"weight db1 7 --json", 0, `"configured_weight": 7`, ""},
		{"limit db1 none", 0, "pg/db1 is up", ""},
		{"add 127.0.0.1:1 --name db3", 0, "pg/db3 is down (not probed yet)", ""},
		{"remove db2", 0, "pg/db2 is removed", ""},
		{"why 192.0.2.1", 0, "goes to db1", ""},
		{"plan -c new.toml", 3, "new.toml changes:", ""},
		{"plan -c bad.toml", 1, "", "bad.toml:2:11: "},
		{"plan", 2, "", "-c NEW is missing"},
		{"reload", 0, "reloaded, with changes", ""},
		{"upgrade", 0, "pid 4712 has taken over", ""},
		{"save", 0, "saved 1 change", ""},
		{"status --admin unix:/none", 1, "", "weir: weir is not running: nothing listens at /none\n"},
		{"complete -- drain d", 0, "db1\ndb2\n", ""},
	} {
		t.Run(c.args, func(t *testing.T) {
			t.Setenv("WEIR_ADMIN", address)
			weir(t, dir, strings.Fields(c.args)...).want(t, c.code, c.stdout, c.stderr)
		})
	}
}

func TestRemoteEvents(t *testing.T) {
	op, address := fakeDoor(t)
	p := start(t, ".", "events", "-f", "--admin", address)
	eventually(t, "the event", func() bool { // until the stream is there
		op.Feed.Publish(admin.Event{At: time.Now(), Kind: "backend", Message: "pg/db1 is down"})
		return strings.Contains(p.stdout.String(), "pg/db1 is down\n")
	})
	if line := p.stdout.await(t, "down"); !regexp.MustCompile(`^\d\d:\d\d:\d\d pg/db1 is down\n$`).MatchString(line) {
		t.Errorf("got %q", line)
	}
}

// Every command has its help, and bash completes the binary's own names.
func TestRemoteHelpAndCompletion(t *testing.T) {
	for _, command := range strings.Fields("status sessions kill drain ready maint weight limit add remove events why plan reload upgrade save completion") {
		weir(t, ".", command, "--help").want(t, 0, "weir "+command+" ", "")
	}
	script := `source <("$0" completion bash); COMP_LINE="$0 drain d"; COMP_POINT=${#COMP_LINE}; _weir; echo "${COMPREPLY[@]}"`
	_, address := fakeDoor(t)
	cmd := exec.Command("bash", "-c", script, binary)
	cmd.Env = append(cmd.Environ(), "WEIR_ADMIN="+address)
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "db1 db2\n" {
		t.Errorf("got %q, %v", out, err)
	}
}
