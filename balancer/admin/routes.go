package admin

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/pprof"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

// openAPI describes what is below. A test holds the two against each other.
//
//go:embed openapi.json
var openAPI []byte

// openAPITag lets a client see that it has the description already.
var openAPITag = func() string {
	sum := sha256.Sum256(openAPI)
	return `"` + hex.EncodeToString(sum[:8]) + `"`
}()

// route is one thing to ask for. The pattern is one of [http.ServeMux], with a method.
type route struct {
	pattern string
	handle  http.HandlerFunc
}

// routes are all there are. Those that change something are told to the log by change.
func (d *Door) routes() []route {
	list := []route{
		{"GET /healthz", d.health},
		{"GET /readyz", d.ready},
		{"GET /metrics", d.metrics},
		{"GET /v1/openapi.json", d.describe},
		{"GET /v1/status", answer(d.status)},
		{"GET /v1/sessions", answer(d.sessions)},
		{"GET /v1/sessions/{id}", answer(d.session)},
		{"POST /v1/sessions/kill", d.kill},
		{"GET /v1/frontends/{frontend}/backends/{backend}", answer(d.backend)},
		{"POST /v1/frontends/{frontend}/backends", change(d, "add backend", d.addBackend)},
		{"PATCH /v1/frontends/{frontend}/backends/{backend}", change(d, "set backend", d.setBackend)},
		{"DELETE /v1/frontends/{frontend}/backends/{backend}", change(d, "remove backend", d.removeBackend)},
		{"POST /v1/frontends/{frontend}/failback", change(d, "failback", d.failback)},
		{"GET /v1/why", answer(d.why)},
		{"GET /v1/events", d.events},
		{"POST /v1/plan", answer(d.plan)},
		{"POST /v1/reload", change(d, "reload", d.reload)},
		{"POST /v1/upgrade", change(d, "upgrade", d.upgrade)},
		{"POST /v1/save", change(d, "save", d.save)},
	}
	if d.opts.Pprof {
		list = append(list, pprofRoutes()...)
	}
	return list
}

// pprofRoutes are for developers, and in no description. pprof bounds its own time.
func pprofRoutes() []route {
	return []route{
		{"GET /debug/pprof/", endless(pprof.Index)},
		{"GET /debug/pprof/cmdline", endless(pprof.Cmdline)},
		{"GET /debug/pprof/profile", endless(pprof.Profile)},
		{"GET /debug/pprof/symbol", endless(pprof.Symbol)},
		{"GET /debug/pprof/trace", endless(pprof.Trace)},
	}
}

// handler is all of the door.
func (d *Door) handler() http.Handler {
	mux := http.NewServeMux()
	for _, r := range d.routes() {
		mux.HandleFunc(r.pattern, r.handle)
	}
	return d.recovered(plain(d.guard(withDeadline(orProblem(mux)))))
}

// recovered keeps a panic from being more than the end of one request.
func (d *Door) recovered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			reason := recover()
			if reason == nil || reason == http.ErrAbortHandler {
				return
			}
			d.opts.Guard.Caught("admin: "+r.Method+" "+r.URL.Path, reason, debug.Stack())
			(&Problem{Status: http.StatusInternalServerError, Detail: "a panic, see the log"}).write(w)
		}()
		next.ServeHTTP(w, r)
	})
}

// plain tells browsers to make nothing of an answer but what it is, and nobody to keep it.
func plain(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// withDeadline bounds the time for an answer. The server's own WriteTimeout would hold for streams, too.
func withDeadline(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout)) // every connection has one
		next.ServeHTTP(w, r)
	})
}

// endless is for an answer that takes its time.
func endless(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		forgetDeadlines(w)
		next(w, r)
	}
}

// forgetDeadlines is for after a request was read. The deadline for reading it would otherwise end it.
func forgetDeadlines(w http.ResponseWriter) {
	c := http.NewResponseController(w)
	_ = c.SetReadDeadline(time.Time{})
	_ = c.SetWriteDeadline(time.Time{})
}

// orProblem has the mux say in JSON that there is no such path, or no such method.
func orProblem(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := mux.Handler(r); pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		silent := &headerOnly{header: http.Header{}}
		mux.ServeHTTP(silent, r)
		if allow := silent.header.Get("Allow"); allow != "" {
			w.Header().Set("Allow", allow)
		}
		p := Problem{Status: silent.status, Detail: fmt.Sprintf("there is no %s %s", r.Method, r.URL.Path)}
		p.write(w)
	})
}

// headerOnly takes down the head of an answer.
type headerOnly struct {
	header http.Header
	status int
}

func (h *headerOnly) Header() http.Header            { return h.header }
func (h *headerOnly) WriteHeader(status int)         { h.status = status }
func (h *headerOnly) Write(text []byte) (int, error) { return len(text), nil }

func (d *Door) health(w http.ResponseWriter, _ *http.Request) { word(w, http.StatusOK, "ok") }

func (d *Door) ready(w http.ResponseWriter, _ *http.Request) {
	if ok, why := d.operator.Ready(); !ok {
		word(w, http.StatusServiceUnavailable, why)
		return
	}
	word(w, http.StatusOK, "ok")
}

func word(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	fmt.Fprintln(w, text)
}

func (d *Door) metrics(w http.ResponseWriter, r *http.Request) {
	if d.opts.Metrics == nil {
		(&Problem{Status: http.StatusNotFound, Detail: "there are no metrics"}).write(w)
		return
	}
	d.opts.Metrics.ServeHTTP(w, r)
}

func (d *Door) describe(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("ETag", openAPITag)
	if r.Header.Get("If-None-Match") == openAPITag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(openAPI)
}

func (d *Door) status(*http.Request) (Status, error) { return d.operator.Status(), nil }

func (d *Door) sessions(r *http.Request) (SessionPage, error) {
	q, err := parseQuery(r.URL.Query())
	if err != nil {
		return SessionPage{}, err
	}
	return d.operator.Sessions(r.Context(), q)
}

func (d *Door) session(r *http.Request) (Session, error) {
	id, err := strconv.ParseUint(r.PathValue("id"), 10, 64)
	if err != nil {
		return Session{}, Invalid("session %q is not a number", r.PathValue("id"))
	}
	return d.operator.Session(r.Context(), id)
}

func (d *Door) why(r *http.Request) ([]Why, error) {
	p := parameters{values: r.URL.Query()}
	client, frontend, bind := p.text("client"), p.text("frontend"), p.text("bind")
	if err := p.end(); err != nil {
		return nil, err
	}
	prefix, err := ParseClient(client)
	if err != nil || !prefix.IsSingleIP() {
		return nil, Invalid("client %q is not an IP address", client)
	}
	return d.operator.Why(r.Context(), prefix.Addr().String(), frontend, bind)
}

func (d *Door) plan(r *http.Request) (Plan, error) {
	var q PlanRequest
	if err := read(r, &q, maxPlan); err != nil {
		return Plan{}, err
	}
	if q.File == "" {
		return Plan{}, Invalid("file is missing: what is it called?")
	}
	return d.operator.Plan(r.Context(), q.File, []byte(q.Text))
}

func (d *Door) backend(r *http.Request) (Backend, error) {
	return d.operator.Backend(r.Context(), r.PathValue("frontend"), r.PathValue("backend"))
}

// kill is a change that may take its time: with a rate it goes on only while who asked waits, and tells of how far it has
// come if that is asked for.
func (d *Door) kill(w http.ResponseWriter, r *http.Request) {
	if !strings.Contains(r.Header.Get("Accept"), linesType) {
		change(d, "kill", func(ctx context.Context, r *http.Request, k KillSelector, who Who) (Killed, error) {
			return d.doKill(ctx, r, k, who, func(Killed) {})
		})(w, r)
		return
	}
	lines := &progress{w: w, out: http.NewResponseController(w)}
	change(d, "kill", func(ctx context.Context, r *http.Request, k KillSelector, who Who) (Killed, error) {
		return d.doKill(ctx, r, k, who, lines.tell)
	})(lines, r)
}

func (d *Door) doKill(ctx context.Context, r *http.Request, k KillSelector, who Who, tell func(Killed)) (Killed, error) {
	if _, err := k.Filter(); err != nil {
		return Killed{}, err
	}
	if k.PerSecond > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(d.closing, cancel)()
	}
	return d.operator.Kill(ctx, who, k, tell)
}

func (d *Door) setBackend(ctx context.Context, r *http.Request, c BackendChange, who Who) (Backend, error) {
	if err := c.check(); err != nil {
		return Backend{}, err
	}
	return d.operator.SetBackend(ctx, who, r.PathValue("frontend"), r.PathValue("backend"), c)
}

func (d *Door) addBackend(ctx context.Context, r *http.Request, b NewBackend, who Who) (Backend, error) {
	if err := b.check(); err != nil {
		return Backend{}, err
	}
	return d.operator.AddBackend(ctx, who, r.PathValue("frontend"), b)
}

func (d *Door) removeBackend(ctx context.Context, r *http.Request, _ nothing, who Who) (Backend, error) {
	return d.operator.RemoveBackend(ctx, who, r.PathValue("frontend"), r.PathValue("backend"))
}

func (d *Door) reload(ctx context.Context, _ *http.Request, _ nothing, who Who) (Plan, error) {
	return d.operator.Reload(ctx, who)
}

func (d *Door) upgrade(ctx context.Context, _ *http.Request, _ nothing, who Who) (Upgraded, error) {
	return d.operator.Upgrade(ctx, who)
}

func (d *Door) failback(ctx context.Context, r *http.Request, _ nothing, who Who) (FailedBack, error) {
	return d.operator.Failback(ctx, who, r.PathValue("frontend"))
}

func (d *Door) save(ctx context.Context, _ *http.Request, _ nothing, who Who) (Saved, error) {
	return d.operator.Save(ctx, who)
}
