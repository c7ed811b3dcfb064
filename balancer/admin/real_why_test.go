//go:build linux

package admin_test

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"weir/balancer/admin"
)

// freeAddress returns an address of this host at which nobody listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// What the class of a client is may depend on where it comes to: then there is an answer for each, and they are what
// happens.
func TestWhyKnowsClassesOfListeners(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		inside, outside := freeAddress(t), freeAddress(t)
		r := runReal(t, fmt.Sprintf(`
[[frontend]]
name = "web"
engine = %q
bind_on = ["127.0.0.1:0", %q, %q]
queue = { size = 1, timeout = "1h" }
class = [{ name = "inside", match = [%q], max_connections = 1 }]
health = { kind = "none" }
backend = [{ name = "one", forward_to = %q }]
[[frontend]]
name = "other"
engine = %[1]q
bind_on = "127.0.0.1:0"
health = { kind = "none" }
backend = [{ forward_to = %[5]q }]
`, engine, inside, outside, inside, echoServer(t)))
		ask := func(frontend, bind string) []string {
			t.Helper()
			list, err := r.asks.Why(t.Context(), "127.0.0.1", frontend, bind)
			if err != nil {
				t.Fatal(err)
			}
			var words []string
			for _, w := range list {
				words = append(words, fmt.Sprintf("%s at %d of %s: %s", w.Frontend, len(w.Listeners), w.Class, w.Result))
			}
			return words
		}
		want := func(got []string, want ...string) {
			t.Helper()
			if !slices.Equal(got, want) {
				t.Errorf("got  %q\nwant %q", got, want)
			}
		}
		const full = "gets none now: class inside is at its limit, 1 of 1; it would wait, with 0 of its class and 0 in all before it"
		want(ask("web", ""), "web at 2 of default: goes to one", "web at 1 of inside: goes to one")
		want(ask("", inside), "web at 1 of inside: goes to one")
		c := r.dial(t, "127.0.0.1", inside)
		talk(t, c)
		if s := r.session(t, c, "relaying"); s.Class != "inside" {
			t.Errorf("the session is of class %q", s.Class)
		}
		want(ask("web", ""), "web at 2 of default: goes to one", "web at 1 of inside: "+full)
		want(ask("", outside), "web at 1 of default: goes to one")
		want(ask("web", r.address("web")), "web at 1 of default: goes to one") // where the kernel chose the port
		_, err := r.asks.Why(t.Context(), "127.0.0.1", "web", "127.0.0.1:1")
		wantError(t, err, "frontend web does not listen at 127.0.0.1:1: it does at "+r.address("web"))
		_, err = r.asks.Why(t.Context(), "127.0.0.1", "", "127.0.0.1:1")
		wantError(t, err, "no frontend listens at 127.0.0.1:1: they do at ")
		list, err := r.asks.Why(t.Context(), "127.0.0.1", "other", "")
		if err != nil || len(list) != 1 || list[0].Class != "" || list[0].Listeners[0] != r.address("other") {
			t.Errorf("a frontend without classes: got %+v, %v", list, err)
		}
	})
}

// A listener may be asked for by what the file calls it.
func TestWhyTakesTheFilesWords(t *testing.T) {
	_, port, _ := net.SplitHostPort(freeAddress(t))
	r := runReal(t, fmt.Sprintf("[frontend]\nbind_on = \":%s\"\nhealth = { kind = \"none\" }\nbackend = [{ forward_to = %q }]\n", port, echoServer(t)))
	for _, bind := range []string{":" + port, r.address(":" + port)} {
		list, err := r.asks.Why(t.Context(), "127.0.0.1", "", bind)
		if err != nil || len(list) != 1 || !strings.HasSuffix(list[0].Listeners[0], ":"+port) {
			t.Errorf("%s: got %+v, %v", bind, list, err)
		}
	}
	var none []admin.Why
	if list, err := r.asks.Why(t.Context(), "127.0.0.1", "", "127.0.0.1:"+port); err == nil {
		t.Errorf("another host: got %v, want %v", list, none)
	}
}
