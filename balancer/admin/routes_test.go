package admin_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/user"
	"runtime"
	"strings"
	"testing"

	"weir/backend/contain"
	"weir/balancer/admin"
	"weir/config"
)

func TestReady(t *testing.T) {
	h := open(t, admin.Options{})
	h.do(t, "GET", "/readyz", "").want(t, 200, "ok\n")
	h.op.NotReady = "stopping"
	h.do(t, "GET", "/readyz", "").want(t, 503, "stopping\n")
	h.do(t, "GET", "/healthz", "").want(t, 200, "ok\n")
}

func TestMetricsAndPprof(t *testing.T) {
	h := open(t, admin.Options{})
	h.do(t, "GET", "/metrics", "").want(t, 404, "there are no metrics")
	h.do(t, "GET", "/debug/pprof/", "").want(t, 404, "there is no GET /debug/pprof/")
	h.do(t, "GET", "/debug/pprof/heap", "").want(t, 404, "")
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "weir_up 1") })
	h = open(t, admin.Options{Metrics: metrics, Pprof: true})
	h.do(t, "GET", "/metrics", "").want(t, 200, "weir_up 1\n")
	h.do(t, "GET", "/debug/pprof/", "").want(t, 200, "goroutine")
	h.do(t, "GET", "/debug/pprof/goroutine?debug=1", "").want(t, 200, "goroutine profile")
}

func TestUnknownPaths(t *testing.T) {
	h := open(t, admin.Options{})
	h.do(t, "GET", "/", "").want(t, 404, "there is no GET /")
	h.do(t, "GET", "/v2/status", "").want(t, 404, "")
	a := h.do(t, "GET", "/v1/reload", "")
	a.want(t, 405, "there is no GET /v1/reload")
	if got := a.header.Get("Allow"); got != "POST" {
		t.Errorf("Allow: got %q", got)
	}
}

func TestBadRequests(t *testing.T) {
	h := open(t, admin.Options{})
	const backend = "/v1/frontends/pg/backends/db1"
	for _, c := range []struct {
		request, body string
		status        int
		want          string
	}{
		{"GET /v1/sessions?bakend=db1", "", 422, `there is no parameter \"bakend\"`},
		{"GET /v1/sessions?backend=a&backend=b", "", 422, "backend is given twice"},
		{"GET /v1/sessions?client=10.0.0", "", 422, "neither an IP address nor a prefix"},
		{"GET /v1/sessions?min_age_seconds=5m", "", 422, "not a number of seconds"},
		{"GET /v1/sessions?min_age_seconds=-1", "", 422, "not a number of seconds"},
		{"GET /v1/sessions?min_idle_seconds=NaN", "", 422, "not a number of seconds"},
		{"GET /v1/sessions?min_idle_seconds=1e300", "", 422, "not a number of seconds"},
		{"GET /v1/sessions?sort=size", "", 422, "none of [age idle bytes rtt]"},
		{"GET /v1/sessions?limit=0", "", 422, "not a number from 1 to 10000"},
		{"GET /v1/sessions?limit=10001", "", 422, "not a number from 1 to 10000"},
		{"GET /v1/sessions?tcp_info=yes", "", 422, "neither true nor false"},
		{"GET /v1/sessions?cursor=x", "", 422, "not one of this door's"},
		{"GET /v1/sessions/x", "", 422, "is not a number"},
		{"GET /v1/sessions/99", "", 404, "no session 99"},
		{"GET /v1/why", "", 422, "is not an IP address"},
		{"GET /v1/why?client=10.0.0.0/8", "", 422, "is not an IP address"},
		{"GET /v1/why?client=10.0.0.1&x=1", "", 422, `no parameter \"x\"`},
		{"GET /v1/why?client=10.0.0.1&frontend=none", "", 404, "no frontend"},
		{"POST /v1/sessions/kill", `{}`, 422, "which sessions?"},
		{"POST /v1/sessions/kill", ``, 400, "the body: EOF"},
		{"POST /v1/sessions/kill", `{"backendd":"db1"}`, 400, "unknown field"},
		{"POST /v1/sessions/kill", `{"id":1}{"id":2}`, 400, "behind its JSON"},
		{"POST /v1/sessions/kill", `{"id":1,"backend":"db1"}`, 422, "each without the others"},
		{"POST /v1/sessions/kill", `{"all":true,"id":1}`, 422, "each without the others"},
		{"POST /v1/sessions/kill", `{"client":"x"}`, 422, "neither an IP"},
		{"POST /v1/sessions/kill", `{"min_age_seconds":-5}`, 422, "is no time"},
		{"POST /v1/sessions/kill", `{"backend":"db1","min_idle_seconds":1e300}`, 422, "is no time"},
		{"PATCH " + backend, `{}`, 422, "nothing to change"},
		{"PATCH " + backend, `{"state":"up"}`, 422, "none of [ready drain maint]"},
		{"PATCH " + backend, `{"weight":1001}`, 422, "not from 0 to 1000"},
		{"PATCH " + backend, `{"weight":-1}`, 422, "not from 0 to 1000"},
		{"PATCH " + backend, `{"limit":-1}`, 422, "limit -1"},
		{"PATCH " + backend, `{"weight":"3"}`, 400, "weight"},
		{"PATCH /v1/frontends/pg/backends/none", `{"weight":3}`, 404, "no backend"},
		{"POST /v1/frontends/pg/backends", `{}`, 422, "address is missing"},
		{"POST /v1/frontends/pg/backends", `{"address":"a:1","weight":5000}`, 422, "weight 5000"},
		{"POST /v1/plan", `{"text":""}`, 422, "file is missing"},
		{"POST /v1/save", `{"x":1}`, 400, "unknown field"},
	} {
		method, path, _ := strings.Cut(c.request, " ")
		t.Run(c.request+" "+c.body, func(t *testing.T) { h.send(t, method, path, c.body).want(t, c.status, c.want) })
	}
}

// The kernel says who is at the other end of a unix socket; the log says who wanted what, and whether it was
// done.
func TestWhoAndWhat(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("SKIPPED: only Linux tells who has connected")
	}
	h := open(t, admin.Options{})
	h.send(t, "PATCH", "/v1/frontends/pg/backends/db1", `{"weight":3}`).want(t, 200, `"configured_weight":3`)
	h.send(t, "POST", "/v1/sessions/kill", `{"backend":"db1"}`).want(t, 200, `{"count":3,"of":3}`)
	h.op.Err = errors.New("the disk is full")
	h.send(t, "POST", "/v1/save", "").want(t, 500, "the disk is full")
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	want := admin.Who{Name: me.Username, UID: os.Getuid(), PID: os.Getpid()}
	if got := h.op.LastWho(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	log := h.log.String()
	for _, line := range []string{
		fmt.Sprintf(`"who":%q,"what":"set backend","frontend":"pg","backend":"db1","change":{"weight":3},"message":"changed by an operator"`, want),
		fmt.Sprintf(`"who":%q,"what":"kill","change":{"backend":"db1"},"count":3,"message":"changed by an operator"`, want),
		fmt.Sprintf(`"who":%q,"what":"save","error":"the disk is full","message":"the operator's change was not made"`, want),
	} {
		if !strings.Contains(log, line) {
			t.Errorf("the log has no\n%s\nin\n%s", line, log)
		}
	}
	before := h.log.String()
	h.do(t, "GET", "/v1/status", "")
	h.send(t, "POST", "/v1/plan", `{"file":"/x","text":""}`)
	if after := h.log.String(); after != before {
		t.Errorf("what changes nothing was logged: %s", after[len(before):])
	}
}

func TestErrorsOfTheOperator(t *testing.T) {
	h := open(t, admin.Options{})
	for _, c := range []struct {
		err    error
		status int
		want   string
	}{
		{admin.NotFound("no such thing"), 404, `"detail":"no such thing"`},
		{fmt.Errorf("reload: %w", admin.Conflict("it stops")), 409, `"detail":"reload: it stops"`},
		{admin.Invalid("no"), 422, `"detail":"no"`},
		{errors.New("disk"), 500, `"detail":"disk"`},
		{fmt.Errorf("read: %w", config.Mistakes{{File: "w.toml", Line: 3, Column: 5, Path: "frontend.name", Message: "no", Hint: "yes"}}), 422,
			`"mistakes":[{"file":"w.toml","line":3,"column":5,"key":"frontend.name","message":"no","hint":"yes"}]`},
	} {
		h.op.Err = c.err
		h.send(t, "POST", "/v1/reload", "").want(t, c.status, c.want)
	}
}

// panics is an operator that panics.
type panics struct{ admin.Operator }

func (panics) Status() admin.Status { panic("oh no") }

func TestPanicIsOneRequest(t *testing.T) {
	h := open(t, admin.Options{})
	h.op.State.Frontends = nil
	guard := contain.New(nil)
	d, err := admin.New(admin.Options{Network: "unix", Address: socketPath(t), Guard: guard}, panics{h.op})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- d.Serve(t.Context()) }()
	h.aim(d.Addr(), "http://")
	h.do(t, "GET", "/v1/status", "").want(t, 500, "a panic, see the log")
	if guard.Count() != 1 {
		t.Errorf("%d panics are counted, want 1", guard.Count())
	}
	h.do(t, "GET", "/healthz", "").want(t, 200, "ok")
	d.Close()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// The door closes though a stream is open.
func TestEndWithAStream(t *testing.T) {
	h := open(t, admin.Options{})
	c, err := admin.NewClient(admin.ClientOptions{Address: "unix:" + h.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() {
		for e, err := range c.Events(t.Context()) {
			if err != nil {
				ended <- err
				return
			}
			if e.Message == "hello" {
				h.stop()
			}
		}
	}()
	for {
		h.op.Feed.Publish(admin.Event{Message: "hello"}) // until the stream is there
		select {
		case err := <-ended:
			wantError(t, err, "weir has closed its door")
			h.wantEnd(t)
			return
		default:
			runtime.Gosched()
		}
	}
}
