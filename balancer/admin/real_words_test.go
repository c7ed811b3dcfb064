//go:build linux

package admin_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weir/balancer/admin"
)

// A change by command that cannot be is refused in the words of the command: no place in a file, for nobody has written
// one, and what to do.
func TestChangesAreRefusedInTheirOwnWords(t *testing.T) {
	denied := filepath.Join(t.TempDir(), "deny.txt")
	os.WriteFile(denied, []byte("192.0.2.1\n"), 0o600)
	r := runReal(t, fmt.Sprintf(`
[[frontend]]
name = "web"
bind_on = "127.0.0.1:0"
queue = { size = 10 }
health = { kind = "none" }
backend = [{ name = "a", forward_to = %q, max_connections = 5 }, { name = "b", forward_to = %[1]q }]
[[frontend]]
name = "one"
bind_on = "127.0.0.1:0"
deny_file = %q
health = { kind = "none" }
backend = [{ name = "c", forward_to = %[1]q }]
`, echoServer(t), denied))
	number := func(n int) *int { return &n }
	word := func(s string) *string { return &s }
	set := func(frontend, backend string, c admin.BackendChange) error {
		_, err := r.asks.SetBackend(t.Context(), frontend, backend, c)
		return err
	}
	add := func(frontend string, b admin.NewBackend) error {
		_, err := r.asks.AddBackend(t.Context(), frontend, b)
		return err
	}
	remove := func(frontend, backend string) error {
		_, err := r.asks.RemoveBackend(t.Context(), frontend, backend)
		return err
	}
	const lastLimit = "a has the last limit of frontend web, and a queue needs one, for without it nobody would ever wait: " +
		"first give another backend a limit with 'weir limit', or the frontend max_connections in the file"
	for _, c := range []struct {
		what string
		err  error
		want string
	}{
		{"limit a none", set("web", "a", admin.BackendChange{Limit: number(0)}), lastLimit},
		{"limit a none, weight too", set("web", "a", admin.BackendChange{Limit: number(0), Weight: number(3)}), lastLimit},
		{"remove a", remove("web", "a"), lastLimit},
		{"limit b -1", set("web", "b", admin.BackendChange{Limit: number(-1)}), "limit -1 is not from 0 to 2147483647"},
		{"weight b 1001", set("web", "b", admin.BackendChange{Weight: number(1001)}), "weight 1001 is not from 0 to 1000"},
		{"drain what is not there", set("web", "x", admin.BackendChange{State: word("drain")}), "frontend web has no backend x"},
		{"drain where nothing is", set("x", "a", admin.BackendChange{State: word("drain")}), "no frontend x"},
		{"state up", set("web", "a", admin.BackendChange{State: word("up")}), `state "up" is none of [ready drain maint]`},
		{"remove the last", remove("one", "c"), "c is the last backend of frontend one: drain it, or remove the frontend from the file"},
		{"add a name twice", add("web", admin.NewBackend{Address: "127.0.0.1:1", Name: "a"}), "frontend web has a backend a already"},
		{"add to nothing", add("x", admin.NewBackend{Address: "127.0.0.1:1"}), "no frontend x"},
		{"add no port", add("web", admin.NewBackend{Address: "127.0.0.1"}), `address "127.0.0.1": "127.0.0.1" has no port; did you mean "127.0.0.1:8080"?`},
		{"add no host", add("web", admin.NewBackend{Address: ":80"}), `address ":80": ":80" has no host; `},
		{"add an unprintable name", add("web", admin.NewBackend{Address: "127.0.0.1:1", Name: "x\ty"}), `the name "x\ty" has characters that cannot be printed`},
		{"add with a weight", add("web", admin.NewBackend{Address: "127.0.0.1:1", Weight: number(5000)}), "weight 5000 is not from 0 to 1000"},
		{"add with a limit", add("web", admin.NewBackend{Address: "127.0.0.1:1", Limit: -4}), "limit -4 is not from 0 to 2147483647"},
	} {
		wantOwnWords(t, r, c.what, c.err, c.want)
	}
	os.WriteFile(denied, []byte("nonsense\n"), 0o600)
	wantOwnWords(t, nil, "another file is wrong", set("web", "b", admin.BackendChange{Weight: number(3)}), "the configuration could not be applied: "+denied+":1:1: ")
	os.Remove(denied)
	wantOwnWords(t, r, "another file is gone", set("web", "b", admin.BackendChange{Weight: number(3)}), "that would make the configuration wrong: frontend[1].deny_file: ")
	if b, _ := r.backend(t, "web", "b"); b.ConfiguredWeight != 1 {
		t.Errorf("the weight is %d, though the change was refused", b.ConfiguredWeight)
	}
	os.WriteFile(denied, nil, 0o600)
	if err := set("web", "b", admin.BackendChange{Limit: number(2)}); err != nil { // which is what the message advises
		t.Error(err)
	}
	if err := set("web", "a", admin.BackendChange{Limit: number(0)}); err != nil {
		t.Error(err)
	}
}

func wantOwnWords(t *testing.T, r *real, what string, err error, want string) {
	t.Helper()
	var p *admin.Problem
	if !errors.As(err, &p) || !strings.HasPrefix(p.Detail, want) || p.Status == 500 || len(p.Mistakes) > 0 {
		t.Errorf("%s: got %#v\nwant %s", what, err, want)
	}
	if err != nil && r != nil && strings.Contains(err.Error(), filepath.Base(r.file)) {
		t.Errorf("%s: a place in the file: %v", what, err)
	}
}
