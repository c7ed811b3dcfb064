package config

import (
	"fmt"
	"strings"
	"testing"
)

// TCP probes of MySQL and MariaDB end with the server refusing this host. The warning stands where the file says it.
func TestB83TCPProbesOfMySQLAreWarnedOf(t *testing.T) {
	const refused = "on_refuse = \"speak\"\nprotocol = \"mysql\"\n"
	for _, c := range []struct {
		name, keys, health, address string
		want                        string // place and key; "": no warning
	}{
		{"the protocol", refused, "", "10.0.0.5:5000", "4:12: warning: frontend.protocol: "},
		{"the kind", refused, "kind = \"tcp\"", "10.0.0.5:5000", "6:8: warning: frontend.health.kind: "},
		{"the port", "", "", "10.0.0.5:3306", "6:14: warning: frontend.backend.forward_to: "},
		{"a probed port", "", "port = 3306", "10.0.0.5:5000", "4:8: warning: frontend.health.port: "},
		{"another port is probed", refused, "port = 9200", "10.0.0.5:3306", ""},
		{"no probes", refused, "kind = \"none\"", "10.0.0.5:3306", ""},
		{"something else", "", "", "10.0.0.5:5432", ""},
		{"something else in its own protocol", "on_refuse = \"speak\"\nprotocol = \"postgres\"\n", "", "10.0.0.5:5432", ""},
	} {
		text := fmt.Sprintf("[frontend]\nbind_on = \":7070\"\n%s[frontend.health]\n%s\n[frontend.backend]\nforward_to = %q\n", c.keys, c.health, c.address)
		r, err := ReadText("db.toml", []byte(text))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		switch {
		case c.want == "" && len(r.Warnings) > 0:
			t.Errorf("%s: got %v, want no warning", c.name, r.Warnings)
		case c.want != "" && (len(r.Warnings) != 1 || !strings.HasPrefix(r.Warnings[0].String(), "db.toml:"+c.want)):
			t.Errorf("%s: got %v, want one at %s", c.name, r.Warnings, c.want)
		case c.want != "":
			for _, words := range []string{"max_connect_errors", "is blocked because of many connection errors", "health.port", `kind = "none"`} {
				if !strings.Contains(r.Warnings[0].String(), words) {
					t.Errorf("%s: %q is not in %s", c.name, words, r.Warnings[0])
				}
			}
		}
	}
}

func TestWarningsAreInOrder(t *testing.T) {
	text := ""
	for range 3 {
		text += "[[frontend]]\nbind_on = \"127.0.0.1:0\"\n[[frontend.backend]]\nforward_to = \"127.0.0.1:3306\"\n"
	}
	text = strings.Replace(text, "127.0.0.1:0", "127.0.0.2:0", 1)
	text = strings.Replace(text, "127.0.0.1:0", "127.0.0.3:0", 1)
	r, err := ReadText("db.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	r.Warn("about the second frontend", "", &r.Config.Frontends[1].BindOn)
	r.Warn("about all", "")
	r.Warnings.Sort()
	var lines []string
	for _, w := range r.Warnings {
		lines = append(lines, fmt.Sprint(w.Line))
	}
	if got := strings.Join(lines, " "); got != "1 4 6 8 12" {
		t.Errorf("lines %s: %v", got, r.Warnings.Strings())
	}
}

// A frontend that forwards to itself is warned of; one that forwards to another is not.
func TestAFrontendThatIsItsOwnBackendIsWarnedOf(t *testing.T) {
	for _, c := range []struct {
		listens, forwards string
		warned            bool
	}{
		{"127.0.0.1:7070", "127.0.0.1:7070", true},
		{":7070", "127.0.0.1:7070", true},
		{":7070", "localhost:7070", true},
		{"0.0.0.0:7070", "127.0.0.2:7070", true},
		{"[::]:7070", "[::1]:7070", true},
		{"0.0.0.0:7070", "[::1]:7070", false},
		{"unix:/run/db.sock", "unix:/run/db.sock", true},
		{"127.0.0.1:7070", "127.0.0.2:7070", false},
		{"127.0.0.1:7070", "127.0.0.1:7071", false},
		{":7070", "10.0.0.5:7070", false}, // whose address that is the file does not say
		{":7070", "db.example:7070", false},
		{"127.0.0.1:7070", "unix:/run/db.sock", false},
	} {
		r, err := ReadText("weir.toml", fmt.Appendf(nil, "[frontend]\nbind_on = %q\nbackend = { forward_to = %q }\n", c.listens, c.forwards))
		if err != nil {
			t.Fatal(err)
		}
		if warned := len(r.Warnings) == 1 && strings.HasPrefix(r.Warnings[0].String(), "weir.toml:3:26: warning: frontend.backend.forward_to: "); warned != c.warned {
			t.Errorf("%s to %s: got %v", c.listens, c.forwards, r.Warnings)
		}
	}
}
