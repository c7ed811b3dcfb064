package remote

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"weir/balancer/admin"
	"weir/config"
)

const wantStatus = `
weir v1.0.0, pid 4711, serving, up for 3 h 12 min, /etc/weir.toml reloaded 1 h ago

frontend pg on 127.0.0.1:5432 (reactor)
  3 sessions of at most 500, 1204 since the start; 52.4 MB up, 1.31 GB down
  ended: 1190 normal, 11 backend reset
  new sessions: 100 a second, 20 at once
  clients: 12 known, of at most 65536; each 20 sessions, 10 a second, 5 at once
  least-connections: 1 of 2 backends usable, 3 connections of at most 100
  queue: 2 of at most 100 wait, up to 5 s; 40 served after 37.5 ms on average, 95 % within 1 ms, 1 refused
  class reports: weight 1, 1 active, 2 queued
  class web: weight 4, 2 active, 0 queued
  BACKEND  STATE  FOR    ACTIVE    LIMIT  WEIGHT  SESSIONS  FAILED  ADDRESS        WHY
  db1      up     3 h         3  40 auto       3      1100       0  10.0.0.5:5432  the probes say so
  db2      down   4 min       0        -       1       104       7  10.0.0.6:5432  backup; connection refused, 3 of 3

differs from the file ('weir save' keeps it and 'weir reload' undoes it, but for drain and maint):
  pg/db1: weight is 3, the file has 1 (by root (uid 0, pid 99), 1 min ago)
`

func TestStatus(t *testing.T) {
	op := open(t)
	wantText(t, weir(t, "status"), wantStatus)
	var s admin.Status
	if err := json.Unmarshal([]byte(weir(t, "status --json")), &s); err != nil || s.PID != 4711 || len(s.Frontends[0].Pool.Backends) != 2 {
		t.Errorf("--json: got %+v, %v", s, err)
	}
	op.State = admin.Status{Version: "weir v1", PID: 1, State: "starting", StartedAt: noon, Frontends: []admin.Frontend{{Name: ":80", Addresses: []string{":80"}, Engine: "copy",
		Pool: admin.Pool{Strategy: "cyclic", Usable: 1, Backends: []admin.Backend{{Name: "a:1", Address: "a:1", State: "up", Since: noon, Weight: 0.25, ConfiguredWeight: 1, Added: true}}}}}}
	wantText(t, weir(t, "status"), `
weir v1, pid 1, starting, up for 0 s

frontend :80 (copy)
  0 sessions, 0 since the start; 0 B up, 0 B down
  cyclic: 1 of 1 backend usable, 0 connections
  BACKEND  STATE  FOR  ACTIVE  LIMIT     WEIGHT  SESSIONS  FAILED  ADDRESS  WHY
  a:1      up     0 s       0      -  0.25 of 1         0       0  -        added
`)
}

// Those that are removed but still have sessions stand behind the others, and count as none of the frontend's. They can be
// named where sessions are meant, and say what they are elsewhere.
func TestRemovedBackends(t *testing.T) {
	op := open(t)
	b := &op.State.Frontends[0].Pool.Backends
	*b = append(*b, admin.Backend{Name: "old", Address: "10.0.0.4:5432", State: "removed", Reason: "no longer in the configuration", Since: noon.Add(-time.Minute), Active: 7, Sessions: 900},
		admin.Backend{Name: "db2", Address: "10.0.0.3:5432", State: "removed", Since: noon, Active: 1})
	out := weir(t, "status")
	for _, want := range []string{
		"least-connections: 1 of 2 backends usable",
		"  old      removed  1 min       7        -       0       900       0  10.0.0.4:5432  no longer in the configuration\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	weir(t, "kill --backend old")
	if got := lastCall(op); !strings.HasPrefix(got, "kill {ID:0 Client: Backend:old Frontend:pg") {
		t.Errorf("got %s", got)
	}
	weir(t, "sessions --backend db2") // which is there and was another before: both are meant
	if got := lastCall(op); !strings.Contains(got, "Backend:db2 Frontend:pg") {
		t.Errorf("got %s", got)
	}
	for words, want := range map[string]string{"kill --backend ": "db1 db2 old", "sessions --backend o": "old", "drain ": "db1 db2", "weight o": ""} {
		if got := complete(t, strings.Split(words, " ")...); !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("completing %q: got %q, want %q", words, got, want)
		}
	}
}

// A terminal gets colours, and lines that fit.
func TestTerminal(t *testing.T) {
	open(t)
	out, err := on(t, screen{width: 100, colours: true}, "status")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\x1b[32mup\x1b[0m     3 h", "\x1b[31mdown\x1b[0m   4 min", "10.0.0.6:5432  backup; connecti…\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in %q", want, out)
		}
	}
	out, _ = on(t, screen{width: 100}, "status")
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "  db") && utf8.RuneCountInString(line) > 101 { // with its end
			t.Errorf("too long: %s", line)
		}
	}
	if strings.Contains(out, "\x1b") {
		t.Error("colours, though none are welcome")
	}
}

// What a stranger has put into a reason does not steer the terminal.
func TestNothingSteersTheTerminal(t *testing.T) {
	op := open(t)
	const evil = "\x1b[31m\a"
	op.State.Frontends[0].Pool.Backends[0].Reason = evil
	op.State.Frontends[0].Name = evil
	op.State.Differs[0].Who = evil
	op.Live[0].Backend, op.Ended[0].Ended.Error = evil, evil
	for _, command := range []string{"status", "sessions", "sessions 4"} {
		if out := weir(t, command); strings.ContainsAny(out, "\x1b\a") {
			t.Errorf("weir %s: got %q", command, out)
		}
	}
}

func TestSessions(t *testing.T) {
	op := open(t)
	wantText(t, weir(t, "sessions"), `
ID  CLIENT           FRONTEND  BACKEND  STATE     AGE  IDLE    UP  DOWN
 3  192.0.2.3:40000  pg        db1      relaying  3 h   3 s  3 kB  3 MB
 2  192.0.2.2:40000  pg        db1      relaying  2 h   2 s  2 kB  2 MB
 1  192.0.2.1:40000  pg        db1      relaying  1 h   1 s  1 kB  1 MB
`)
	wantText(t, weir(t, "sessions --tcp --limit 1"), `
ID  CLIENT           FRONTEND  BACKEND  STATE     AGE  IDLE    UP  DOWN    RTT  RESENT  RTT BACK  RESENT BACK
 3  192.0.2.3:40000  pg        db1      relaying  3 h   3 s  3 kB  3 MB  12 ms       3    400 µs            0
… and 2 more: --limit shows more of them
`)
	wantText(t, weir(t, "sessions --min-age 4h"), "no sessions\n")
	weir(t, "sessions --client 192.0.2.0/24 --backend db1 --min-age 1h30m --min-idle 1s --sort rtt --limit 20000")
	if got, want := lastCall(op), "sessions {SessionFilter:{Client:192.0.2.0/24 Backend:db1 Frontend:pg MinAge:1h30m0s MinIdle:1s} Sort:rtt Limit:10000 Cursor: TCPInfo:true}"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	var p admin.SessionPage
	if err := json.Unmarshal([]byte(weir(t, "sessions --json --limit 2")), &p); err != nil || len(p.Sessions) != 2 || p.Total != 3 {
		t.Errorf("--json: got %+v, %v", p, err)
	}
}

func TestOneSession(t *testing.T) {
	op := open(t)
	wantText(t, weir(t, "sessions 4"), `
session 4: 192.0.2.4:40000 at pg, to db1, class web
  ended `+noon.Add(-time.Minute).Local().Format(time.DateTime)+` after 4 h: backend reset (SD)
  read: connection reset by peer
  waited 2 ms, connected in 1 ms, 1 try
  4 kB up, 4 MB down
  client: round trip 12 ms ± 3 ms, 4 retransmissions
  backend: round trip 400 µs ± 100 µs, 0 retransmissions
`)
	if got := weir(t, "sessions 1"); !strings.Contains(got, "\n  relaying for 1 h, idle for 1 s\n") {
		t.Errorf("got %s", got)
	}
	if got := weir(t, "sessions 4 --json"); !strings.Contains(got, `"outcome": "backend reset"`) {
		t.Errorf("got %s", got)
	}
	op.Live[2].State, op.Live[2].Tries = "queued", 0
	if got := weir(t, "sessions 1"); !strings.Contains(got, "\n  waited 2 ms, never connected to a backend\n") {
		t.Errorf("got %s", got)
	}
	_, err := on(t, screen{}, "sessions", "99")
	wantError(t, err, "no session 99: it is not live")
}

func TestKill(t *testing.T) {
	op := open(t)
	for command, want := range map[string]string{
		"kill 2":                              "kill {ID:2 Client: Backend: Frontend: MinAgeSeconds:0 MinIdleSeconds:0 All:false Limit:0 PerSecond:0}",
		"kill --backend db1":                  "kill {ID:0 Client: Backend:db1 Frontend:pg MinAgeSeconds:0 MinIdleSeconds:0 All:false Limit:0 PerSecond:0}",
		"kill --backend pg/db1":               "kill {ID:0 Client: Backend:db1 Frontend:pg MinAgeSeconds:0 MinIdleSeconds:0 All:false Limit:0 PerSecond:0}",
		"kill --frontend pg --backend pg/db1": "kill {ID:0 Client: Backend:db1 Frontend:pg MinAgeSeconds:0 MinIdleSeconds:0 All:false Limit:0 PerSecond:0}",
		"kill --client ::1 --min-idle 90s":    "kill {ID:0 Client:::1 Backend: Frontend: MinAgeSeconds:0 MinIdleSeconds:90 All:false Limit:0 PerSecond:0}",
		"kill --all":                          "kill {ID:0 Client: Backend: Frontend: MinAgeSeconds:0 MinIdleSeconds:0 All:true Limit:0 PerSecond:0}",
	} {
		weir(t, command)
		if got := lastCall(op); got != want {
			t.Errorf("weir %s: got %s, want %s", command, got, want)
		}
	}
	wantText(t, weir(t, "kill 2"), "ended 1 session\n")
	wantText(t, weir(t, "kill --all"), "ended 3 sessions\n")
	wantText(t, weir(t, "kill --json --all"), "{\n  \"count\": 3,\n  \"of\": 3\n}\n")
	for command, want := range map[string]string{
		"kill --all --limit 2":                     "All:true Limit:2 PerSecond:0}",
		"kill --backend db1 --rate 20/s":           "All:false Limit:0 PerSecond:20}",
		"kill --frontend pg --rate 30/min":         "All:false Limit:0 PerSecond:0.5}",
		"kill --limit 1 --frontend pg --rate 7200": "All:false Limit:1 PerSecond:7200}",
		"kill --all --rate 1800/h":                 "All:true Limit:0 PerSecond:0.5}",
	} {
		weir(t, command)
		if got := lastCall(op); !strings.HasSuffix(got, want) {
			t.Errorf("weir %s: got %s, want %s", command, got, want)
		}
	}
	wantText(t, weir(t, "kill --all --limit 2"), "ended 2 sessions\n")
	wantText(t, weir(t, "kill --all --rate 20/s"), "ended 3 sessions\n")
	out, err := on(t, screen{width: 80}, "kill", "--all", "--rate", "20/s")
	if want := "\r\x1b[Kended 1 of 3 sessions\r\x1b[Kended 2 of 3 sessions\r\x1b[Kended 3 sessions\n"; out != want || err != nil {
		t.Errorf("on a terminal: got %q, %v, want %q", out, err, want)
	}
}

func TestChangesOfBackends(t *testing.T) {
	op := open(t)
	for _, c := range []struct{ command, call, out string }{
		{"drain db1", "set pg/db1 state=drain weight=- limit=-", "pg/db1 is drain (the probes say so): weight 3, limit 40 auto, 3 sessions now\n"},
		{"ready pg/db2", "set pg/db2 state=ready weight=- limit=-", "pg/db2 is up (connection refused, 3 of 3): weight 1, 0 sessions now\n"},
		{"maint db2", "set pg/db2 state=maint weight=- limit=-", "pg/db2 is maint (connection refused, 3 of 3): weight 1, 0 sessions now\n"},
		{"weight db2 0", "set pg/db2 state=- weight=0 limit=-", "pg/db2 is down (connection refused, 3 of 3): weight 0, 0 sessions now\n"},
		{"limit db2 5", "set pg/db2 state=- weight=- limit=5", "pg/db2 is down (connection refused, 3 of 3): weight 1, limit 5, 0 sessions now\n"},
		{"limit db2 none", "set pg/db2 state=- weight=- limit=0", "pg/db2 is down (connection refused, 3 of 3): weight 1, 0 sessions now\n"},
		{"remove db2", "remove pg/db2", "pg/db2 is removed (connection refused, 3 of 3): weight 1, 0 sessions now\n"},
		{"add 10.0.0.7:5432", "add pg 10.0.0.7:5432 name= weight=1 limit=0 backup=false", "pg/10.0.0.7:5432 is down (not probed yet): weight 0, 0 sessions now\n"},
		{"add unix:/run/x --name db3 --backup --limit=4 --weight 2 --frontend other", "add other unix:/run/x name=db3 weight=2 limit=4 backup=true", "other/db3 is down (not probed yet): weight 0, 0 sessions now\n"},
	} {
		wantText(t, weir(t, c.command), c.out)
		if got := lastCall(op); got != c.call {
			t.Errorf("weir %s: got %s, want %s", c.command, got, c.call)
		}
	}
	if got := weir(t, "drain db1 --json"); !strings.Contains(got, `"state": "drain"`) {
		t.Errorf("got %s", got)
	}
	before := len(op.Calls())
	_, err := on(t, screen{}, "drain", "db1", "none")
	wantError(t, err, `there is no backend "none": there are pg/db1, pg/db2`)
	if got := op.Calls()[before:]; len(got) != 0 {
		t.Errorf("one name was wrong, and yet %q", got)
	}
	op.State.Frontends = append(op.State.Frontends, op.State.Frontends[0])
	op.State.Frontends[1].Name = "pg2"
	_, err = on(t, screen{}, "drain", "db1")
	wantError(t, err, `there is more than one backend "db1": which of pg/db1, pg2/db1?`)
	weir(t, "drain pg2/db1 pg/db1")
	if got := op.Calls(); got[len(got)-2] != "set pg2/db1 state=drain weight=- limit=-" {
		t.Errorf("got %q", got)
	}
	_, err = on(t, screen{}, "add", "10.0.0.7:1")
	wantError(t, err, "--frontend is missing: which of pg, pg2?")
}

func TestWhy(t *testing.T) {
	open(t)
	wantText(t, weir(t, "why 192.0.2.1"), `
192.0.2.1 at frontend pg goes to db1
  let in: no list forbids it
  class web
  1 of 20 sessions of this client
     BACKEND  WHY
  →  db1      has the fewest connections for its weight
     db2      down: connection refused, 3 of 3
`)
	wantText(t, weir(t, "why 203.0.113.1 --frontend pg"), `
203.0.113.1 at frontend pg is refused: denied
  not let in: denied by 203.0.113.0/24
`)
	if got := weir(t, "why --json 192.0.2.1"); !strings.Contains(got, `"chosen": true`) {
		t.Errorf("got %s", got)
	}
	for _, bind := range []string{"--bind 127.0.0.1:5432", "--bind=127.0.0.1:5432 --frontend pg"} {
		if got := weir(t, "why 192.0.2.1 "+bind); !strings.HasPrefix(got, "192.0.2.1 at frontend pg (127.0.0.1:5432) goes to db1\n") {
			t.Errorf("%s: got %s", bind, got)
		}
	}
	_, err := on(t, screen{}, "why", "192.0.2.1", "--bind", "127.0.0.1:1")
	wantError(t, err, "no frontend listens at 127.0.0.1:1")
	_, err = on(t, screen{}, "why", "192.0.2.1", "--frontend", "none")
	wantError(t, err, `no frontend "none"`)
}

const file = "[frontend]\nbind_on = \":7070\"\nbackend = { forward_to = \"127.0.0.1:1\" }\n"

func TestPlan(t *testing.T) {
	op := open(t)
	dir := t.TempDir()
	t.Chdir(dir)
	os.WriteFile("new.toml", []byte(file), 0o600)
	os.WriteFile("bad.toml", []byte("[frontend]\nbind_on = 5\n"), 0o600)
	wantText(t, weir(t, "plan -c new.toml"), "new.toml: no change\n")
	if got, want := lastCall(op), "plan "+filepath.Join(dir, "new.toml"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	op.Planned = admin.Plan{Changed: true, SessionsEnded: 4, Changes: []admin.Change{
		{Action: "change", Frontend: "pg", Backend: "db1", Key: "weight", From: "1", To: "3", Note: "at once"},
		{Action: "remove", Frontend: "pg", Backend: "db2", SessionsEnded: 4}, {Action: "add", Frontend: "web"}, {Action: "change", Key: "max_sessions", From: "0", To: "5"},
	}}
	out, err := on(t, screen{}, "plan", "-c", "new.toml")
	var status ExitStatus
	if !errors.As(err, &status) || status != 3 {
		t.Errorf("got %v, want exit status 3", err)
	}
	wantText(t, out, `
new.toml changes:
     WHERE   WHAT          FROM  TO  ENDS  NOTE
  ~  pg/db1  weight        1     3      -  at once
  -  pg/db2  backend       -     -      4
  +  web     frontend      -     -      -
  ~  weir    max_sessions  0     5      -
would end 4 live sessions
`)
	before := len(op.Calls())
	_, err = on(t, screen{}, "plan", "-c", "bad.toml")
	var mistakes config.Mistakes
	if !errors.As(err, &mistakes) || !strings.Contains(err.Error(), "\nbad.toml:2:11: frontend.bind_on: ") || len(op.Calls()) != before {
		t.Errorf("got %v and calls %q", err, op.Calls()[before:])
	}
	_, err = on(t, screen{}, "plan")
	wantError(t, err, "-c NEW is missing")
}

func TestReloadUpgradeSave(t *testing.T) {
	op := open(t)
	wantText(t, weir(t, "reload"), "/etc/weir.toml: no change\n")
	wantText(t, weir(t, "upgrade"), "pid 4712 has taken over; the old process drains\n")
	wantText(t, weir(t, "save"), "/etc/weir.toml: saved 1 change\n  pg/db1: weight = 3 (was 1)\n")
	op.Rewrites = true
	wantText(t, weir(t, "save"), "/etc/weir.toml: saved 1 change\n  pg/db1: weight = 3 (was 1)\nthe whole file was written anew: its comments are in /etc/weir.toml.old\n")
	op.Planned = admin.Plan{File: "/etc/weir.toml", Changed: true, SessionsEnded: 1, Changes: []admin.Change{{Action: "remove", Frontend: "web", SessionsEnded: 1}}}
	wantText(t, weir(t, "reload"), `
/etc/weir.toml reloaded, with changes:
     WHERE  WHAT      FROM  TO  ENDS  NOTE
  -  web    frontend  -     -      1
ends 1 live session
`)
	for _, command := range []string{"reload", "upgrade", "save"} {
		if got := weir(t, command+" --json"); !json.Valid([]byte(got)) {
			t.Errorf("%s --json: got %s", command, got)
		}
	}
	_, op.Err = config.Parse("/etc/weir.toml", []byte("[frontend]\nbind_on = 5\n"))
	_, err := on(t, screen{}, "reload")
	var mistakes config.Mistakes
	if !errors.As(err, &mistakes) || err.Error() != op.Err.Error() {
		t.Errorf("got %v, want %v", err, op.Err)
	}
	op.Err = admin.Conflict("an upgrade is under way")
	_, err = on(t, screen{}, "upgrade")
	wantError(t, err, "an upgrade is under way")
}

func TestBadCommandLines(t *testing.T) {
	open(t)
	for command, want := range map[string]string{
		"status x":                      `status takes no argument without --watch, but got "x"`,
		"status --watch x":              "--watch x is not a time of 100ms or more",
		"status --watch 1ms":            "--watch 1ms is not a time of 100ms or more",
		"status --watch 5s 6s":          `status takes no further argument, but got "6s"`,
		"kill --all --rate fast":        `--rate: "fast" is no rate: 20/s is one, and 30/min`,
		"kill --all --rate 0/s":         `--rate: "0/s" is no rate`,
		"kill --all --rate 5/":          `--rate: "5/" is no rate`,
		"kill --all --rate 5/day":       `--rate: "5/day" is no rate`,
		"kill --all --rate 9999999999":  `--rate: "9999999999" is not from 0.001/s to 1000000/s`,
		"kill --all --limit 0":          "--limit 0 is less than 1",
		"kill --limit 5":                "which sessions?",
		"kill --rate 5/s":               "which sessions?",
		"drain db1 --timeout 5s":        "--timeout and --then-kill go with --wait",
		"drain db1 --then-kill":         "--timeout and --then-kill go with --wait",
		"drain db1 --wait --then-kill":  "--then-kill needs a --timeout: when?",
		"drain db1 --wait --timeout 0s": "--timeout 0s is not more than 0",
		"drain":                         "drain needs more: weir drain BACKEND...",
		"weight db1":                    "weight needs more",
		"weight db1 1 2":                `weight takes no further argument, but got "2"`,
		"weight db1 much":               `weight "much" is not a whole number from 0 to 1000`,
		"limit db1 -5":                  `limit "-5" is not a whole number of 0 or more, nor none`,
		"drain db1 --frob":              "unknown flag --frob",
		"drain db1 --admin":             "--admin needs a value",
		"sessions x":                    `session "x" is not a number`,
		"sessions --limit 0":            "--limit 0 is less than 1",
		"sessions --min-age -5s":        "--min-age -5s is negative",
		"sessions --client x":           `client "x" is neither`,
		"kill":                          "which sessions?",
		"kill 0":                        `session "0" is not a number`,
		"kill 1 --backend db1":          "each without the others",
		"kill --all --client 10.0.0.1":  "each without the others",
		"why nobody":                    `"nobody" is not an IP address`,
		"why 10.0.0.0/8":                "is not an IP address",
		"completion csh":                `"csh" is none of bash, zsh, fish`,
		"status --admin-key x":          "--admin-certificate and --admin-key go together",
		"sessions 1 --min-age eternity": `invalid value "eternity" for --min-age`,
	} {
		_, err := on(t, screen{}, strings.Fields(command)...)
		if !errors.Is(err, errUsage) {
			t.Errorf("weir %s: got %v, want a bad command line", command, err)
		}
		wantError(t, err, want)
	}
}

// Which weir is asked: --admin, or the file's, or the environment's.
func TestWhichWeir(t *testing.T) {
	open(t)
	dir := t.TempDir()
	real := os.Getenv("WEIR_ADMIN")
	with := func(name, bind string) string {
		path := filepath.Join(dir, name)
		os.WriteFile(path, []byte(file+"[admin]\nbind_on = \""+bind+"\"\n"), 0o600)
		return path
	}
	good, gone, none := with("good.toml", real), with("gone.toml", "unix:"+dir+"/gone.sock"), filepath.Join(dir, "none.toml")
	os.WriteFile(none, []byte(file), 0o600)
	const notRunning = "weir is not running: nothing listens at "
	for _, c := range []struct{ env, command, want string }{
		{real, "status", ""},
		{real, "status --admin unix:/none", notRunning + "/none"},
		{"unix:/none", "status", notRunning + "/none"},
		{"", "status", notRunning + "/run/weir/admin.sock"},
		{"", "status -c " + good, ""},
		{"", "-c " + good + " status", ""},
		{real, "status -c " + gone, notRunning + dir + "/gone.sock"},
		{"", "status -c " + gone + " --admin " + real, ""},
		{"", "status -c " + none, "none.toml opens no door: it has no admin.bind_on"},
		{"", "status -c /none.toml", "read config: "},
		{real, "plan -c " + gone, ""},
		{"", "plan -c " + good, ""},
		{"", "plan -c " + none, notRunning + "/run/weir/admin.sock"},
		{real, "status --admin ftp://x", "is none of the forms"},
	} {
		t.Setenv("WEIR_ADMIN", c.env)
		_, err := on(t, screen{}, strings.Fields(c.command)...)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("WEIR_ADMIN=%s weir %s: got %v, want %q", c.env, c.command, err, c.want)
		}
	}
}
