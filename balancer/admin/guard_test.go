package admin_test

import (
	"os"
	"strings"
	"testing"

	"weir/balancer/admin"
)

// What a web page can have a browser send does not get through.
func TestWebPagesStayOutside(t *testing.T) {
	unix := open(t, admin.Options{})
	tcp := open(t, admin.Options{Network: "tcp", Address: "127.0.0.1:0", Hosts: []string{"weir.example"}})
	port := tcp.Addr().String()[strings.LastIndex(tcp.Addr().String(), ":"):]
	for _, c := range []struct {
		name string
		head []string
		want int
	}{
		{"localhost", nil, 200},
		{"localhost with a port", []string{"Host", "LocalHost" + port}, 200},
		{"an address", []string{"Host", "127.0.0.1" + port}, 200},
		{"another address", []string{"Host", "[::1]" + port}, 200},
		{"DNS rebinding", []string{"Host", "evil.example" + port}, 421},
		{"DNS rebinding, like localhost", []string{"Host", "localhost.evil.example"}, 421},
		{"DNS rebinding, like an address", []string{"Host", "127.0.0.1.evil.example"}, 421},
		{"same origin", []string{"Host", "localhost" + port, "Origin", "http://localhost" + port, "Sec-Fetch-Site", "same-origin"}, 200},
		{"typed", []string{"Sec-Fetch-Site", "none"}, 200},
		{"cross-site", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"same site, another port", []string{"Sec-Fetch-Site", "same-site"}, 403},
		{"another origin", []string{"Origin", "http://evil.example"}, 403},
		{"another port", []string{"Host", "localhost" + port, "Origin", "http://localhost:1"}, 403},
		{"a file or a sandbox", []string{"Origin", "null"}, 403},
		{"an empty origin", []string{"Origin", ""}, 403},
		{"two origins", []string{"Host", "localhost", "Origin", "http://localhost", "Origin", "http://evil.example"}, 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, h := range []*house{unix, tcp} {
				h.do(t, "GET", "/v1/status", "", c.head...).want(t, c.want, "")
				h.do(t, "GET", "/healthz", "", c.head...).want(t, c.want, "")
				h.do(t, "POST", "/v1/reload", "", append([]string{"Content-Type", "application/json"}, c.head...)...).want(t, c.want, "")
			}
		})
	}
	tcp.do(t, "GET", "/v1/status", "", "Host", "Weir.Example:443").want(t, 200, "")
	tcp.do(t, "GET", "/v1/status", "", "Host", "weir").want(t, 421, "")
	unix.do(t, "GET", "/v1/status", "", "Host", "weir").want(t, 200, "")
	if got := tcp.op.Calls(); len(got) != 6 { // one for each 200 of the table
		t.Errorf("the operator was called %d times, want 6: %q", len(got), got)
	}
}

// A form may be sent anywhere by any page, without asking.
func TestChangesAreJSON(t *testing.T) {
	h := open(t, admin.Options{})
	for kind, want := range map[string]int{
		"application/json": 200, "application/json; charset=utf-8": 200, "Application/JSON": 200,
		"": 415, "text/plain": 415, "application/x-www-form-urlencoded": 415, "multipart/form-data; boundary=x": 415,
		"text/plain; application/json": 415, "application/jsonp": 415,
	} {
		before := len(h.op.Calls())
		h.do(t, "POST", "/v1/save", "{}", "Content-Type", kind).want(t, want, "")
		h.do(t, "DELETE", "/v1/frontends/pg/backends/db1", "", "Content-Type", kind).want(t, want, "")
		if done := len(h.op.Calls()) - before; done != 0 && want != 200 || done != 2 && want == 200 {
			t.Errorf("%q: %d calls", kind, done)
		}
	}
	a := h.do(t, "OPTIONS", "/v1/save", "", "Access-Control-Request-Method", "POST")
	a.want(t, 415, "")
	for name := range a.header {
		if strings.HasPrefix(name, "Access-Control-") {
			t.Errorf("got %s", name)
		}
	}
}

func TestAnswersAreInert(t *testing.T) {
	a := open(t, admin.Options{}).do(t, "GET", "/v1/status", "")
	for name, want := range map[string]string{
		"Content-Type": "application/json", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store",
		"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'", "Cross-Origin-Resource-Policy": "same-origin",
	} {
		if got := a.header.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func TestToken(t *testing.T) {
	p := newPapers(t)
	h := open(t, admin.Options{Network: "tcp", Address: "127.0.0.1:0", TokenFile: p.token, Pprof: true})
	for value, want := range map[string]int{
		"": 401, "Bearer": 401, "Bearer ": 401, "Bearer wrong": 401, "Bearer " + secret + "x": 401, "Bearer " + secret[:5]: 401,
		"Basic " + secret: 401, secret: 401, "Bearer " + secret: 200, "bearer " + secret: 200,
	} {
		for _, path := range []string{"/v1/status", "/v1/openapi.json", "/debug/pprof/cmdline"} {
			if got := h.do(t, "GET", path, "", "Authorization", value); got.status != want {
				t.Errorf("%q: %s: got %d, want %d", value, path, got.status, want)
			}
		}
	}
	a := h.do(t, "GET", "/v1/none", "")
	a.want(t, 401, "bearer token")
	if got := a.header.Get("WWW-Authenticate"); got != `Bearer realm="weir"` {
		t.Errorf("got %q", got)
	}
	h.do(t, "GET", "/metrics", "").want(t, 401, "")
	h.do(t, "GET", "/healthz", "").want(t, 200, "ok")
	h.do(t, "GET", "/readyz", "").want(t, 200, "ok")

	h.do(t, "POST", "/v1/reload", "", "Authorization", "Bearer "+secret, "Content-Type", "application/json").want(t, 200, "")
	if got := h.op.LastWho(); got.Name != "token" || !strings.HasPrefix(got.Address, "127.0.0.1:") || got.UID != -1 {
		t.Errorf("got %+v, want token", got)
	}

	const next = "another token that is long"
	os.WriteFile(p.token, []byte(next), 0o600)
	if err := h.Refresh(); err != nil {
		t.Fatal(err)
	}
	h.do(t, "GET", "/v1/status", "", "Authorization", "Bearer "+secret).want(t, 401, "")
	h.do(t, "GET", "/v1/status", "", "Authorization", "Bearer "+next).want(t, 200, "")
	os.WriteFile(p.token, nil, 0o600)
	if err := h.Refresh(); err == nil {
		t.Error("an empty token was taken")
	}
	h.do(t, "GET", "/v1/status", "").want(t, 401, "")
}

// Whoever listens on the loopback without a token is told what that means.
func TestOpenDoorIsWarnedOf(t *testing.T) {
	p := newPapers(t)
	for _, c := range []struct {
		o    admin.Options
		want bool
	}{
		{admin.Options{Network: "tcp", Address: "127.0.0.1:0"}, true},
		{admin.Options{Network: "tcp", Address: "127.0.0.1:0", TokenFile: p.token}, false},
		{admin.Options{}, false},
	} {
		h := open(t, c.o)
		if got := strings.Contains(h.log.String(), "every user of this host can command weir"); got != c.want {
			t.Errorf("%+v: got %v, want %v: %s", c.o, got, c.want, h.log)
		}
	}
}
