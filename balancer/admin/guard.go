package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// guard lets through what comes from an operator, and stops what a web page makes an operator's browser
// send. A page can have a browser on this host connect to a door on the loopback, either as what it is
// (cross-site request forgery) or, with a name of its own that it has made to mean 127.0.0.1 (DNS
// rebinding), as if it were of the same origin. The former shows in Origin and Sec-Fetch-Site, which no
// script can forge, the latter in Host.
func (d *Door) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := d.objection(r)
		if p == nil {
			p = d.seat(r)
		}
		if p != nil {
			w.Header().Set("Connection", "close") // so that strangers do not hold the connections there are
			p.write(w)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// objection returns why a request is refused, or nil.
func (d *Door) objection(r *http.Request) *Problem {
	switch {
	case !d.knowsHost(r.Host):
		return &Problem{Status: http.StatusMisdirectedRequest, Detail: "the Host of the request is not one of this door's names"}
	case fromElsewhere(r):
		return &Problem{Status: http.StatusForbidden, Detail: "the request comes from a web page of another site"}
	case !asksHealth(r) && !d.knowsToken(r):
		return &Problem{Status: http.StatusUnauthorized, Detail: "a bearer token is needed: 'Authorization: Bearer TOKEN'"}
	case changes(r) && !isJSON(r):
		return &Problem{Status: http.StatusUnsupportedMediaType, Detail: "a change needs 'Content-Type: application/json'"}
	}
	return nil
}

// knowsHost takes addresses, names that always mean this host, and those in Options.Hosts: a page can
// choose what its own name means, but not what an address does.
func (d *Door) knowsHost(hostPort string) bool {
	host := hostPort
	if h, _, err := net.SplitHostPort(hostPort); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return host == "localhost" || d.unix && host == unixHost || slices.ContainsFunc(d.hosts, func(name string) bool { return strings.EqualFold(name, host) })
}

// unixHost is the Host in requests of [Client] to a unix socket, which has none.
const unixHost = "weir"

// fromElsewhere says whether a browser sent the request for another page than one of our own. Other
// clients send neither header.
func fromElsewhere(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none": // none: the user typed the address
	default:
		return true
	}
	origins := r.Header.Values("Origin")
	return slices.ContainsFunc(origins, func(origin string) bool {
		u, err := url.Parse(origin)
		return err != nil || u.Host == "" || !strings.EqualFold(u.Host, r.Host)
	})
}

// asksHealth marks what needs no token: whether to send clients here is asked by balancers and by kubelets,
// which have none, and told in one word. A connection to a frontend tells as much.
func asksHealth(r *http.Request) bool { return r.URL.Path == "/healthz" || r.URL.Path == "/readyz" }

// knowsToken compares in a time that tells nothing of the token, not even its length.
func (d *Door) knowsToken(r *http.Request) bool {
	want := d.token.Load()
	if want == nil {
		return true
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	got := sha256.Sum256([]byte(token))
	return strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(got[:], want[:]) == 1
}

func changes(r *http.Request) bool { return r.Method != http.MethodGet && r.Method != http.MethodHead }

// isJSON: forms, which a page may send anywhere without asking, are never JSON.
func isJSON(r *http.Request) bool {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && kind == "application/json"
}
