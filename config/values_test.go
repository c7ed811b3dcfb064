package config

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestParseDuration(t *testing.T) {
	for _, c := range []struct {
		text string
		want time.Duration
		back string
	}{
		{"0", 0, "0s"},
		{"0s", 0, "0s"},
		{"5s", 5 * time.Second, "5s"},
		{"250ms", 250 * time.Millisecond, "250ms"},
		{"1.5s", 1500 * time.Millisecond, "1.5s"},
		{"90s", 90 * time.Second, "1m30s"},
		{"300s", 5 * time.Minute, "5m"},
		{"60m", time.Hour, "1h"},
		{"1h0m5s", time.Hour + 5*time.Second, "1h0m5s"},
		{"100m", 100 * time.Minute, "1h40m"},
		{"10h", 10 * time.Hour, "10h"},
		{"20m0s", 20 * time.Minute, "20m"},
		{"10us", 10 * time.Microsecond, "10µs"},
	} {
		got, f := parseDuration(c.text)
		if f != nil || time.Duration(got) != c.want || got.String() != c.back {
			t.Errorf("%q: got %v %v, want %v", c.text, got, f, c.back)
		}
		if again, f := parseDuration(got.String()); f != nil || again != got {
			t.Errorf("%q: got %v from its own text %s", c.text, again, got)
		}
	}
}

func TestDurationHints(t *testing.T) {
	for text, want := range map[string]string{
		"5":        `durations have units: did you mean "5s"?`,
		"1.5":      `durations have units: did you mean "1.5s"?`,
		"+7":       `durations have units: did you mean "7s"?`,
		"5 s":      `did you mean "5s"?`,
		"5sec":     `did you mean "5s"?`,
		"10 mins":  `did you mean "10m"?`,
		"2 HOURS":  `did you mean "2h"?`,
		"3 days":   `did you mean "72h"?`,
		"1w":       `did you mean "168h"?`,
		"20 msecs": `did you mean "20ms"?`,
		"-1s":      `a duration is 0s or more`,
		"":         `durations look like "250ms", "5s" or "1m30s"`,
		"5 moons":  `durations look like "250ms", "5s" or "1m30s"`,
	} {
		if _, f := parseDuration(text); f == nil || f.hint != want {
			t.Errorf("%q: got %v, want %s", text, f, want)
		}
	}
}

func TestParseAddress(t *testing.T) {
	const both, listen, dial = "both", "listen", "dial"
	for _, c := range []struct{ text, role, network, address string }{
		{"127.0.0.1:80", both, "tcp", "127.0.0.1:80"},
		{"[::1]:65535", both, "tcp", "[::1]:65535"},
		{"[fe80::1%eth0]:80", both, "tcp", "[fe80::1%eth0]:80"},
		{"localhost:80", both, "tcp", "localhost:80"},
		{":80", listen, "tcp", ":80"},
		{"[::]:0", listen, "tcp", "[::]:0"},
		{"0.0.0.0:80", both, "tcp4", "0.0.0.0:80"},
		{"db.example.com.:5432", dial, "tcp", "db.example.com.:5432"},
		{"db_1:5432", dial, "tcp", "db_1:5432"},
		{"unix:/run/a b.sock", both, "unix", "/run/a b.sock"},
		{"unix:@a", both, "unix", "@a"},
		{"unix:/" + strings.Repeat("a", 106), both, "unix", "/" + strings.Repeat("a", 106)},
	} {
		a, f := parseAddress(c.text)
		if f != nil {
			t.Errorf("%q: got %v", c.text, *f)
			continue
		}
		if f := a.listenFault(); (f == nil) != (c.role != dial) {
			t.Errorf("%q: got %v for listening, want role %s", c.text, f, c.role)
		}
		if f := a.dialFault(); (f == nil) != (c.role != listen) {
			t.Errorf("%q: got %v for dialling, want role %s", c.text, f, c.role)
		}
		if network, address := a.Listen(); network != c.network || address != c.address || a.String() != c.text {
			t.Errorf("%q: got %s %s %s, want %s %s", c.text, network, address, a, c.network, c.address)
		}
	}
}

// What Address.Listen knows about Go: 0.0.0.0 must not be open for IPv6.
func TestListenOnAnyIPv4(t *testing.T) {
	a, f := parseAddress("0.0.0.0:0")
	if f != nil {
		t.Fatal(*f)
	}
	l, err := net.Listen(a.Listen())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if got := l.Addr().(*net.TCPAddr).IP.String(); got != "0.0.0.0" {
		t.Errorf("got a listener on %s, want 0.0.0.0", got)
	}
}

func TestUnixPathsFitTheKernel(t *testing.T) {
	name := filepath.Join(t.TempDir(), "s")
	name += strings.Repeat("s", maxUnixPath-len(name))
	a, f := parseAddress("unix:" + name)
	if f != nil {
		t.Fatal(*f)
	}
	l, err := net.Listen(a.Listen())
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}

func TestNearest(t *testing.T) {
	valid := []string{"bind_on", "strategy", "retries", "name", "rise", "fall"}
	for name, want := range map[string]string{
		"bindon": "bind_on", "BIND-ON": "bind_on", "bind": "bind_on", "stratgey": "strategy",
		"nam": "name", "raise": "rise", "colour": "", "": "", "b": "", "ri": "", strings.Repeat("x", 99): "",
	} {
		if got, ok := nearest(name, valid); got != want || ok != (want != "") {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}

func TestEdits(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"abc", "abc", 0}, {"abc", "acb", 1}, {"abc", "ab", 1}, {"abc", "abcd", 1},
		{"abc", "axc", 1}, {"kitten", "sitting", 3}, {"abcdefghijkl", "a", 9}, {"abcdefghi", "zyxwvutsr", 9},
	} {
		if got := edits(c.a, c.b, 9); got != c.want {
			t.Errorf("%q to %q: got %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func TestParseListen(t *testing.T) {
	for text, want := range map[string]string{
		":9000":            "",
		"unix:@admin":      "",
		"9000":             `"9000" has no host; did you mean "127.0.0.1:9000"?`,
		"example.com:9000": `"example.com" cannot be listened on; listening addresses are IPs, localhost, or only :port`,
		":99999":           `port "99999" is not a number from 1 to 65535`,
	} {
		a, err := ParseListen(text)
		if err == nil && want == "" && a.String() == text {
			continue
		}
		if err == nil || err.Error() != want {
			t.Errorf("%q: got %v %v, want %s", text, a, err, want)
		}
	}
}
