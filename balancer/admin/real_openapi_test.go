//go:build linux

package admin_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"weir/balancer/admin"
)

// fullFile has everything of which the API can tell.
func fullFile(engine, socket string, one, two, dead, hole string) string {
	return fmt.Sprintf(`
[[frontend]]
name = "pg"
engine = %[1]q
bind_on = ["127.0.0.1:0", "unix:%[2]s"]
strategy = "least-connections"
retries = 3
max_sessions = 100
max_connections = 90
protocol = "postgres"
on_refuse = "speak"
health = { kind = "none", slow_start = "1h" }
queue = { size = 1, timeout = "1h" }
rate = { sessions = 1000, burst = 1000 }
client = { rate = 1000, burst = 1000, max_sessions = 50 }
passive = { failures = 1, eject_for = "1h" }
class = [{ name = "batch", match = ["127.0.0.11"], weight = 3 }, { name = "local", match = ["unix:%[2]s"] }]
backend = [
  { name = "gone", forward_to = %[5]q, weight = 1000 },
  { name = "db1", forward_to = %[3]q, weight = 2, max_connections = 1 },
  { name = "db2", forward_to = %[4]q, max_connections = "auto", min = 1, max = 1 },
  { name = "db3", forward_to = %[4]q, backup = true, max_connections = 7 },
]
[[frontend]]
name = "hole"
engine = %[1]q
bind_on = "127.0.0.1:0"
connect_timeout = "1h"
health = { kind = "none" }
backend = [{ forward_to = %[6]q }]
[[frontend]]
name = "shut"
engine = %[1]q
bind_on = "127.0.0.1:0"
deny = "127.0.0.0/8"
failback = "manual"
health = { interval = "10ms", fall = 1 }
backend = [{ name = "primary", forward_to = %[5]q }, { name = "standby", forward_to = %[3]q, backup = "full" }]
`, engine, socket, one, two, dead, hole)
}

// filled notes which properties of which schemas ever had a value that is not nothing.
type filled map[string]bool

func (f filled) note(d *description, s *schema, value any) {
	name, ok := strings.CutPrefix(s.Ref, "#/components/schemas/")
	if ok {
		s = d.Components.Schemas[name]
	}
	switch v := value.(type) {
	case map[string]any:
		for key, e := range v {
			of := s.Properties[key]
			if of == nil {
				continue
			}
			if e != nil && e != "" && e != 0.0 && e != false && fmt.Sprint(e) != "[]" && fmt.Sprint(e) != "map[]" {
				f[name+"."+key] = true
			}
			f.note(d, of, e)
		}
	case []any:
		for _, e := range v {
			f.note(d, s.Items, e)
		}
	}
}

// What the API description promises a real weir keeps: its answers are as described, every property is filled by
// something, and every word for a state that occurs is described.
func TestRealAnswersAreAsDescribed(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		d := readDescription(t)
		socket := socketPath(t)
		text := fullFile(engine, socket, echoServer(t), echoServer(t), dead(t), blackHole(t))
		r := runReal(t, text)
		seen, states := filled{}, map[string]bool{}
		asked := map[string]bool{}
		ask := func(pattern, path, body string) any {
			t.Helper()
			method, of, _ := strings.Cut(pattern, " ")
			if path == "" {
				path = of
			}
			o := d.Paths[of][strings.ToLower(method)]
			if body != "" {
				text := decode(t, body)
				d.check(t, pattern+", body", o.RequestBody.Content["application/json"].Schema, text)
			}
			a := r.send(t, method, path, body)
			a.want(t, 200, "")
			s := o.Responses["200"].Content["application/json"].Schema
			value := decode(t, a.body)
			d.check(t, pattern, s, value)
			seen.note(d, s, value)
			asked[pattern] = true
			return value
		}
		in := func(c net.Conn, state string) admin.Session {
			t.Helper()
			s := r.session(t, c, state)
			ask("GET /v1/sessions", "/v1/sessions?tcp_info=true&limit=1", "")
			ask("GET /v1/sessions/{id}", fmt.Sprint("/v1/sessions/", s.ID), "")
			states[s.State] = true
			return s
		}

		first := r.dial(t, "127.0.0.11", r.address("pg"))
		talk(t, first)
		if s := in(first, "relaying"); s.Class != "batch" || s.Tries != 2 || s.WaitedSeconds <= 0 || s.ConnectSeconds <= 0 ||
			s.ClientTCP.RTTVarSeconds <= 0 || s.BackendTCP.RTTVarSeconds <= 0 {
			t.Errorf("a live session: %s", jsonOf(t, s))
		}
		second := r.dial(t, "", socket)
		talk(t, second)
		if s := in(second, "relaying"); s.Class != "local" {
			t.Errorf("a session of a unix socket: %s", jsonOf(t, s))
		}
		third := r.dial(t, "127.0.0.1", r.address("pg"))
		if s := in(third, "queued"); s.Class != "default" || s.WaitedSeconds <= 0 {
			t.Errorf("a session that waits: %s", jsonOf(t, s))
		}
		fourth := r.dial(t, "127.0.0.1", r.address("pg"))
		in(fourth, "refusing")
		in(r.dial(t, "127.0.0.1", r.address("hole")), "connecting")
		ask("GET /v1/why", "/v1/why?client=127.0.0.1", "")
		first.(*net.TCPConn).CloseWrite()
		half := in(first, "half-closed")
		if c, err := net.Dial("tcp", r.address("shut")); err == nil { // the reset may come before that
			defer c.Close()
		}
		refused := r.event(t, "a refusal", func(e *admin.Event) bool { return e.Kind == "refused" && e.Outcome == "denied" })
		if refused.Frontend != "shut" || refused.Count != 1 {
			t.Errorf("got %+v", refused)
		}

		ask("GET /v1/status", "", "")
		ask("GET /v1/frontends/{frontend}/backends/{backend}", "/v1/frontends/pg/backends/db1", "")
		ask("PATCH /v1/frontends/{frontend}/backends/{backend}", "/v1/frontends/pg/backends/db1", `{"weight":7,"limit":3}`)
		third.SetDeadline(noon) // it has a place now
		in(third, "relaying")
		ask("PATCH /v1/frontends/{frontend}/backends/{backend}", "/v1/frontends/pg/backends/db3", `{"state":"drain"}`)
		ask("POST /v1/frontends/{frontend}/backends", "/v1/frontends/pg/backends", fmt.Sprintf(`{"address":%q,"name":"db4"}`, echoServer(t)))
		ask("DELETE /v1/frontends/{frontend}/backends/{backend}", "/v1/frontends/pg/backends/db3", "")
		ask("GET /v1/status", "", "")
		ask("GET /v1/why", "/v1/why?client=127.0.0.11&frontend=pg", "")
		ask("GET /v1/why", "/v1/why?client=127.0.0.11&frontend=shut", "")
		ask("POST /v1/sessions/kill", "", fmt.Sprintf(`{"id":%d}`, half.ID))
		eventually(t, "the session to end", func() bool {
			ended, err := r.asks.Session(t.Context(), half.ID)
			if err != nil {
				t.Fatal(err)
			}
			if ended.Ended != nil && (ended.Class != "batch" || ended.Tries != 2) {
				t.Errorf("one that has ended: %s", jsonOf(t, ended))
			}
			states[ended.State] = true
			return ended.Ended != nil
		})
		ask("GET /v1/sessions/{id}", fmt.Sprint("/v1/sessions/", half.ID), "")
		text = fmt.Sprintf("log = { file = %q }\n", r.file+".log") + strings.Replace(text, "weight = 2,", "weight = 5,", 1)
		before, rest, _ := strings.Cut(text, "[[frontend]]\nname = \"hole\"") // which has a session
		_, after, _ := strings.Cut(rest, "[[frontend]]\n")
		text = before + "[[frontend]]\n" + after
		text = strings.Replace(text, "failback = \"manual\"", "protocol = \"mysql\"\non_refuse = \"speak\"", 1)
		ask("POST /v1/plan", "", jsonOf(t, admin.PlanRequest{File: r.file, Text: text}))
		ask("POST /v1/frontends/{frontend}/failback", "/v1/frontends/pg/failback", "")
		ask("POST /v1/save", "", "{}")
		ask("POST /v1/reload", "", "")
		ask("POST /v1/upgrade", "", "")
		ask("GET /v1/status", "", "")

		r.event(t, "the upgrade", func(e *admin.Event) bool { return e.Kind == "upgrade" })
		event := d.Paths["/v1/events"]["get"].Responses["200"].Content["application/jsonl"].Schema
		for _, e := range r.allEvents() {
			value := decode(t, jsonOf(t, e))
			d.check(t, "an event", event, value)
			seen.note(d, event, value)
		}
		for _, state := range []string{"queued", "connecting", "relaying", "half-closed", "refusing", "ended"} {
			if !states[state] {
				t.Errorf("no session was %s", state)
			}
		}
		for _, pattern := range r.Patterns() {
			if !asked[pattern] && strings.HasPrefix(strings.Fields(pattern)[1], "/v1/") && pattern != "GET /v1/events" && pattern != "GET /v1/openapi.json" {
				t.Errorf("%s was not asked", pattern)
			}
		}
		never := map[string]string{
			"TCPInfo.retransmissions": "loopback loses nothing",
			"ClientTable.full":        "it has room for 65536",
			"Ended.error":             "the operator killed it",
			"Backend.elsewhere":       "nothing was renamed",
			"Backend.early_ends":      "every server answers",
			"Backend.leaving":         "there is always another backend",
			"FailedBack.changed":      "the primary stays away",
		}
		for name, s := range d.Components.Schemas {
			if slices.Contains([]string{"Problem", "Mistake", "KillSelector", "BackendChange", "NewBackend", "PlanRequest"}, name) {
				continue // what is asked, and what goes wrong
			}
			for property := range s.Properties {
				key := name + "." + property
				if _, excused := never[key]; !seen[key] && !excused {
					t.Errorf("%s is never filled", key)
				}
			}
		}
		io.Copy(io.Discard, fourth)
	})
}

// wordsOf returns the values of the string constants of a file whose names begin so, or whose type that is.
func wordsOf(t *testing.T, file, prefix, kind string) (words []string) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), filepath.FromSlash(file), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, declared := range parsed.Decls {
		g, ok := declared.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		for _, spec := range g.Specs {
			v := spec.(*ast.ValueSpec)
			of, _ := v.Type.(*ast.Ident)
			if prefix != "" && strings.HasPrefix(v.Names[0].Name, prefix) || kind != "" && of != nil && of.Name == kind {
				word, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				words = append(words, word)
			}
		}
	}
	return words
}

// The API has all words that the code has.
func TestEveryWordIsDescribed(t *testing.T) {
	phases := append(wordsOf(t, "../../frontend/inspect.go", "Phase", ""), "ended")
	states := wordsOf(t, "../../backend/backend.go", "", "State")
	for _, c := range []struct {
		what      string
		got, want []string
	}{{"SessionStates", admin.SessionStates, phases}, {"BackendStates", admin.BackendStates, states}} {
		got, want := slices.Sorted(slices.Values(c.got)), slices.Sorted(slices.Values(c.want))
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", c.what, got, want)
		}
	}
}

// The fake stands in for the real thing: to the same questions it gives answers of the same shape.
func TestTheFakeIsLikeTheRealOperator(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		socket := socketPath(t)
		r := runReal(t, fullFile(engine, socket, echoServer(t), echoServer(t), dead(t), dead(t)))
		c := r.dial(t, "127.0.0.11", r.address("pg"))
		talk(t, c)
		h := open(t, admin.Options{})
		pool := &h.op.State.Frontends[0].Pool
		gone := pool.Backends[0]
		until := time.Now().Add(time.Hour)
		gone.Name, gone.State, gone.EjectedUntil = "gone", "ejected", &until // as the real one has it, first
		pool.Backends = append([]admin.Backend{gone}, pool.Backends...)
		id := func(h *house) string {
			var p admin.SessionPage
			if err := json.Unmarshal([]byte(h.do(t, "GET", "/v1/sessions", "").body), &p); err != nil {
				t.Fatal(err)
			}
			return fmt.Sprint(p.Sessions[0].ID)
		}
		for _, q := range []struct{ method, path, body string }{
			{"GET", "/v1/sessions?tcp_info=true", ""},
			{"GET", "/v1/sessions?cursor=x", ""},
			{"GET", "/v1/sessions?frontend=none", ""},
			{"GET", "/v1/sessions/ID", ""},
			{"GET", "/v1/sessions/999999999", ""},
			{"GET", "/v1/why?client=127.0.0.1&frontend=pg", ""},
			{"GET", "/v1/why?client=127.0.0.1&frontend=none", ""},
			{"GET", "/v1/why?client=127.0.0.1&bind=9.9.9.9:9", ""},
			{"PATCH", "/v1/frontends/pg/backends/db1", `{"state":"drain"}`},
			{"PATCH", "/v1/frontends/pg/backends/db1", `{"weight":3,"limit":5}`},
			{"GET", "/v1/status", ""},
			{"PATCH", "/v1/frontends/pg/backends/none", `{"weight":3}`},
			{"PATCH", "/v1/frontends/none/backends/db1", `{"weight":3}`},
			{"POST", "/v1/frontends/pg/backends", `{"address":"127.0.0.1:9","name":"db9","limit":4}`},
			{"DELETE", "/v1/frontends/pg/backends/db2", ""},
			{"DELETE", "/v1/frontends/pg/backends/none", ""},
			{"POST", "/v1/sessions/kill", `{"id":ID}`},
			{"POST", "/v1/sessions/kill", `{"backend":"none"}`},
			{"POST", "/v1/sessions/kill", `{"all":true,"limit":2,"per_second":1000}`},
			{"POST", "/v1/sessions/kill", `{"id":999999999}`},
			{"GET", "/v1/frontends/pg/backends/db1", ""},
			{"GET", "/v1/frontends/pg/backends/none", ""},
			{"GET", "/v1/frontends/none/backends/db1", ""},
			{"POST", "/v1/plan", `{"file":"/x","text":"[frontend]\nbind_on = 5\n"}`},
			{"POST", "/v1/save", ""},
			{"POST", "/v1/reload", ""},
			{"POST", "/v1/upgrade", ""},
		} {
			var got [2]string
			for i, h := range []*house{h, r.house} {
				path, body := q.path, q.body
				if strings.Contains(path+body, "ID") {
					with := strings.NewReplacer("ID", id(h))
					path, body = with.Replace(path), with.Replace(body)
				}
				a := h.send(t, q.method, path, body)
				got[i] = fmt.Sprint(a.status, " ", a.header.Get("Content-Type"), " ", shape(decode(t, a.body)))
			}
			if got[0] != got[1] {
				t.Errorf("%s %s %s: the fake gives\n%s\nand the real one\n%s", q.method, q.path, q.body, got[0], got[1])
			}
		}
	})
}

// shape is the kinds and names of a value. A list has that of its first element; what may be absent counts for nothing.
func shape(value any) string {
	switch v := value.(type) {
	case map[string]any:
		var keys []string
		for key, e := range v {
			switch key {
			case "reloaded_at", "outcomes", "failed", "mistakes": // absent at first, or a map
				continue
			}
			keys = append(keys, key+":"+shape(e))
		}
		slices.Sort(keys)
		return "{" + strings.Join(keys, " ") + "}"
	case []any:
		if len(v) == 0 {
			return "[]"
		}
		return "[" + shape(v[0]) + "]"
	case nil:
		return "null"
	}
	return fmt.Sprintf("%T", value)
}
