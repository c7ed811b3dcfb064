package admin_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"weir/balancer/admin"
	"weir/config"
)

func newClient(t *testing.T, o admin.ClientOptions) *admin.Client {
	t.Helper()
	c, err := admin.NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// same fails when what the client returns is not what the operator said.
func same[T any](t *testing.T, got T, err error, want T) {
	t.Helper()
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
}

// Whatever the client asks, the operator is asked the same.
func TestClientAsksTheOperator(t *testing.T) {
	h := open(t, admin.Options{})
	c, ctx := newClient(t, admin.ClientOptions{Address: "unix:" + h.Addr().String()}), t.Context()
	h.op.State.Frontends[0].Pool.Backends[0].Failed = map[string]uint64{}
	status, err := c.Status(ctx)
	same(t, status, err, h.op.State)
	s, err := c.Session(ctx, 4)
	same(t, s, err, h.op.Ended[0])
	n, err := c.Kill(ctx, admin.KillSelector{Client: "192.0.2.0/31"}, nil)
	same(t, n, err, admin.Killed{Count: 1, Of: 1})
	var told []admin.Killed
	n, err = c.Kill(ctx, admin.KillSelector{All: true, Limit: 2, PerSecond: 50}, func(k admin.Killed) { told = append(told, k) })
	same(t, n, err, admin.Killed{Count: 2, Of: 2})
	same(t, told, nil, []admin.Killed{{Count: 1, Of: 2}, {Count: 2, Of: 2}, {Count: 2, Of: 2}}) // the last one is the result
	_, err = c.Kill(ctx, admin.KillSelector{ID: 99}, nil)
	wantError(t, err, "no session 99 is live")
	one, err := c.Backend(ctx, "pg", "db1")
	same(t, one.Active, err, 3)
	drain, three := "drain", 3
	b, err := c.SetBackend(ctx, "pg", "db1", admin.BackendChange{State: &drain, Weight: &three})
	same(t, b.State, err, "drain")
	b, err = c.AddBackend(ctx, "pg", admin.NewBackend{Address: "unix:/run/x", Backup: true, Limit: 3})
	same(t, b.Name, err, "unix:/run/x")
	b, err = c.RemoveBackend(ctx, "pg", "db1")
	same(t, b.State, err, "removed")
	why, err := c.Why(ctx, "2001:db8::1", "pg", "127.0.0.1:5432")
	same(t, why[0].Result, err, "goes to db1")
	plan, err := c.Reload(ctx)
	same(t, plan.File, err, "/etc/weir.toml")
	u, err := c.Upgrade(ctx)
	same(t, u.PID, err, 4712)
	saved, err := c.Save(ctx)
	same(t, saved, err, admin.Saved{File: "/etc/weir.toml", Saved: h.op.State.Differs, Kept: "/etc/weir.toml.old"})
	same(t, h.op.Calls(), nil, []string{
		"kill {ID:0 Client:192.0.2.0/31 Backend: Frontend: MinAgeSeconds:0 MinIdleSeconds:0 All:false Limit:0 PerSecond:0}",
		"kill {ID:0 Client: Backend: Frontend: MinAgeSeconds:0 MinIdleSeconds:0 All:true Limit:2 PerSecond:50}",
		"kill {ID:99 Client: Backend: Frontend: MinAgeSeconds:0 MinIdleSeconds:0 All:false Limit:0 PerSecond:0}",
		"set pg/db1 state=drain weight=3 limit=-", "add pg unix:/run/x name= weight=- limit=3 backup=true", "remove pg/db1",
		"reload", "upgrade", "save",
	})
}

// Names may be anything that the file lets them be.
func TestClientNames(t *testing.T) {
	h := open(t, admin.Options{})
	c := newClient(t, admin.ClientOptions{Address: h.Addr().String()})
	for _, name := range []string{"unix:/run/db.sock", "[::1]:80", "..", ".", "a//b", "ä ö", "a%2Fb", "?x=1#y", "a;b"} {
		_, err := c.RemoveBackend(t.Context(), name, name)
		calls := h.op.Calls()
		if !errors.Is(err, admin.ErrNotFound) || calls[len(calls)-1] != "remove "+name+"/"+name {
			t.Errorf("%s: got %v and %s", name, err, calls[len(calls)-1])
		}
	}
}

func TestClientSessions(t *testing.T) {
	h := open(t, admin.Options{})
	c := newClient(t, admin.ClientOptions{Address: h.Addr().String()})
	q := admin.SessionQuery{Limit: 2, TCPInfo: true, Sort: "bytes", SessionFilter: admin.SessionFilter{
		Client: netip.MustParsePrefix("192.0.2.0/24"), Backend: "db1", Frontend: "pg", MinAge: 1500 * time.Millisecond, MinIdle: time.Nanosecond}}
	p, err := c.Sessions(t.Context(), q)
	if err != nil || p.Total != 3 || p.Next != "2" || !reflect.DeepEqual(p.Sessions, h.op.Live[:2]) {
		t.Errorf("got %+v, %v", p, err)
	}
	q.Cursor = p.Next
	p, err = c.Sessions(t.Context(), q)
	if err != nil || p.Next != "" || !reflect.DeepEqual(p.Sessions, h.op.Live[2:]) {
		t.Errorf("got %+v, %v", p, err)
	}
	if calls := h.op.Calls(); calls[1] != strings.Replace(calls[0], "Cursor:", "Cursor:2", 1) || !strings.Contains(calls[0], "MinAge:1.5s MinIdle:1ns} Sort:bytes Limit:2 ") {
		t.Errorf("got %q", calls)
	}
	if _, err := c.Sessions(t.Context(), admin.SessionQuery{}); err != nil {
		t.Error(err)
	}
	if calls := h.op.Calls(); !strings.Contains(calls[2], "Sort:age Limit:100 ") {
		t.Errorf("without a limit: got %q", calls[2])
	}
}

func TestClientPlan(t *testing.T) {
	h := open(t, admin.Options{})
	c := newClient(t, admin.ClientOptions{Address: h.Addr().String()})
	_, err := c.Plan(t.Context(), "/etc/new.toml", []byte("[frontend]\nbind_on = 5\n"))
	var p *admin.Problem
	if !errors.As(err, &p) || !errors.Is(err, admin.ErrInvalid) {
		t.Fatalf("got %v", err)
	}
	_, want := config.Parse("/etc/new.toml", []byte("[frontend]\nbind_on = 5\n"))
	same(t, p.ConfigMistakes(), nil, want.(config.Mistakes))
	big := "# " + strings.Repeat("\u0001", 15<<20) // six bytes of JSON each
	_, err = c.Plan(t.Context(), "/etc/new.toml", []byte(big))
	wantError(t, err, "/etc/new.toml:1:")
}

func TestClientSaysWhatIsWrong(t *testing.T) {
	p := newPapers(t)
	gone, left := socketPath(t), socketPath(t)
	stale(t, left)
	tcp := open(t, admin.Options{Network: "tcp", Address: "127.0.0.1:0", TokenFile: p.token})
	for _, c := range []struct {
		name string
		o    admin.ClientOptions
		want string
	}{
		{"no socket", admin.ClientOptions{Address: "unix:" + gone}, "weir is not running: nothing listens at " + gone},
		{"a stale one", admin.ClientOptions{Address: left}, "weir is not running: nothing listens at " + left},
		{"no port", admin.ClientOptions{Address: "127.0.0.1:1"}, "weir is not running: nothing listens at 127.0.0.1:1"},
		{"no token", admin.ClientOptions{Address: tcp.Addr().String()}, "wants another token: a bearer token is needed"},
		{"no token file", admin.ClientOptions{Address: tcp.Addr().String(), TokenFile: gone}, "read the token: open "},
		{"no address", admin.ClientOptions{Address: "ftp://x"}, `the address "ftp://x" is none of the forms`},
		{"a path", admin.ClientOptions{Address: "http://127.0.0.1:1/v1"}, "is none of the forms"},
		{"no authority", admin.ClientOptions{Address: "127.0.0.1:1", CA: gone}, "no such file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, err := admin.NewClient(c.o)
			if err == nil {
				_, err = client.Status(t.Context())
			}
			wantError(t, err, c.want)
			if running := !strings.Contains(c.want, "not running"); running == errors.Is(err, admin.ErrNotRunning) {
				t.Errorf("%v: is ErrNotRunning: %v", err, !running)
			}
		})
	}
	if os.Getuid() != 0 {
		os.Chmod(left, 0)
		_, err := newClient(t, admin.ClientOptions{Address: left}).Status(t.Context())
		wantError(t, err, "no permission for "+left)
	}
}

// Something else than weir may listen there.
func TestClientOfAnotherServer(t *testing.T) {
	for want, handler := range map[string]http.HandlerFunc{
		"does not answer as weir does: 404 Not Found":   http.NotFound,
		"does not answer as weir does: invalid char":    func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") },
		"does not answer as weir does: 302 Found":       func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
		"does not answer as weir does: json: cannot un": func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "[]") },
	} {
		s := httptest.NewServer(handler)
		defer s.Close()
		_, err := newClient(t, admin.ClientOptions{Address: s.URL}).Status(t.Context())
		wantError(t, err, want)
	}
}

// The client finds the door that the same file opens.
func TestOptionsOfTheFile(t *testing.T) {
	p := newPapers(t)
	for bind, want := range map[string]string{
		"unix:/run/x.sock": "unix:/run/x.sock", "127.0.0.1:9000": "127.0.0.1:9000", ":9000": "127.0.0.1:9000", "0.0.0.0:9000": "127.0.0.1:9000", "[::]:9000": "[::1]:9000",
	} {
		a, err := config.ParseListen(bind)
		if err != nil {
			t.Fatal(err)
		}
		o := admin.ClientOptionsOf(&config.Admin{BindOn: a, TokenFile: p.token, TLSCertificate: p.certificate})
		same(t, o, nil, admin.ClientOptions{Address: want, TokenFile: p.token, CA: p.certificate})
	}
	a := config.Address{Network: "tcp", Address: "127.0.0.1:0"}
	file := config.Admin{BindOn: a, TokenFile: p.token, TLSCertificate: p.certificate, TLSKey: p.key}
	h := open(t, admin.OptionsOf(&file))
	file.BindOn.Address = h.Addr().String()
	file.TLSCertificate = p.ca // it is not its own authority here
	if _, err := newClient(t, admin.ClientOptionsOf(&file)).Status(t.Context()); err != nil {
		t.Error(err)
	}
}
