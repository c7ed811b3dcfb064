package config

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestParsePrefix(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.0/8":             "10.0.0.0/8",
		"0.0.0.0/0":              "0.0.0.0/0",
		"192.0.2.1":              "192.0.2.1/32",
		"2001:DB8:0::/32":        "2001:db8::/32",
		"2001:db8::1":            "2001:db8::1/128",
		"::/0":                   "::/0",
		"::ffff:10.0.0.0/104":    "10.0.0.0/8",
		"::ffff:192.0.2.1":       "192.0.2.1/32",
		"::ffff:c000:201/128":    "192.0.2.1/32",
		"::ffff:0:0/96":          "0.0.0.0/0",
		"::fffe:0:0/95":          "::fffe:0:0/95",
		"64:ff9b::192.0.2.0/120": "64:ff9b::c000:200/120",
	} {
		got, f := parsePrefix(text)
		if f != nil || got.String() != want {
			t.Errorf("%q: got %v %v, want %s", text, got, f, want)
		}
		if again, f := parsePrefix(got.String()); f != nil || again != got {
			t.Errorf("%q: got %v from its own text %s", text, again, got)
		}
	}
}

func TestParseMatch(t *testing.T) {
	for text, want := range map[string]Match{
		"10.0.0.1":           {Prefix: Prefix{Prefix: netip.MustParsePrefix("10.0.0.1/32")}},
		"::7070":             {Prefix: Prefix{Prefix: netip.MustParsePrefix("::7070/128")}},
		"::/0":               {Prefix: Prefix{Prefix: netip.MustParsePrefix("::/0")}},
		":7070":              {BindOn: Address{"tcp", ":7070"}},
		"10.0.0.1:80":        {BindOn: Address{"tcp", "10.0.0.1:80"}},
		"[::1]:80":           {BindOn: Address{"tcp", "[::1]:80"}},
		"localhost:80":       {BindOn: Address{"tcp", "localhost:80"}},
		"unix:/run/a:b.sock": {BindOn: Address{"unix", "/run/a:b.sock"}},
	} {
		got, f := parseMatch(text)
		if f != nil || got != want {
			t.Errorf("%q: got %+v %v, want %+v", text, got, f, want)
		}
		if again, f := parseMatch(got.String()); f != nil || again != got {
			t.Errorf("%q: got %+v from its own text %s", text, again, got)
		}
	}
}

// parseFrontend gives the only frontend of a file that has these keys beside the needed ones.
func parseFrontend(t *testing.T, file, keys string) *Frontend {
	t.Helper()
	c, err := Parse(file, []byte("[frontend]\nbind_on = \":7070\"\nbackend.forward_to = \"10.0.0.1:80\"\n"+keys))
	if err != nil {
		t.Fatal(err)
	}
	checkRoundTrip(t, c)
	return &c.Frontends[0]
}

func TestBurstFollowsTheRate(t *testing.T) {
	for rate, want := range map[string]int{
		"0": 1, "0.00001": 1, "1": 1, "1.0": 1, "1.000001": 2, "1500.5": 1501, "0x10": 16, "2147483647": 2147483647, "-0.0": 1, "1e3": 1000,
	} {
		f := parseFrontend(t, "rate.toml", "rate.sessions = "+rate+"\nclient.rate = "+rate)
		if f.Rate.Burst != want || f.Client.Burst != want {
			t.Errorf("%s a second: got bursts %d and %d, want %d", rate, f.Rate.Burst, f.Client.Burst, want)
		}
	}
	if f := parseFrontend(t, "rate.toml", "rate = { sessions = 100, burst = 1 }"); f.Rate.Burst != 1 {
		t.Errorf("got burst %d in place of the file's 1", f.Rate.Burst)
	}
}

func TestLearnedLimit(t *testing.T) {
	for keys, want := range map[string]Backend{
		`max_connections = 7`:                          {MaxConnections: 7, Min: 1, Max: 1000},
		`max_connections = "auto"`:                     {MaxConnections: 1000, Auto: true, Min: 1, Max: 1000},
		"max_connections = \"auto\"\nmin = 5":          {MaxConnections: 1000, Auto: true, Min: 5, Max: 1000},
		"max = 50\nmin = 50\nmax_connections = 'auto'": {MaxConnections: 50, Auto: true, Min: 50, Max: 50},
	} {
		c, err := Parse("auto.toml", []byte("[frontend]\nbind_on = \":7070\"\n[[frontend.backend]]\nforward_to = \"10.0.0.1:80\"\n"+keys))
		if err != nil {
			t.Fatal(err)
		}
		checkRoundTrip(t, c)
		want.ForwardTo, want.Name, want.Weight = Address{"tcp", "10.0.0.1:80"}, "10.0.0.1:80", 1
		if got := c.Frontends[0].Backends[0]; got != want {
			t.Errorf("%s: got %+v, want %+v", keys, got, want)
		}
	}
}

// The effective file says "auto", and bounds nowhere else.
func TestEffectiveLimit(t *testing.T) {
	c, err := Load("testdata/good/every-key.toml")
	if err != nil {
		t.Fatal(err)
	}
	text, err := c.TOML()
	if err != nil {
		t.Fatal(err)
	}
	for want, times := range map[string]int{"max_connections = 'auto'\nmin = 2\nmax = 500\n": 1, "\nmax = ": 1, "\nmax_connections = 20\n": 1, "203.0.113.0": 0} {
		if n := strings.Count(string(text), want); n != times {
			t.Errorf("got %q %d times, want %d, in\n%s", want, n, times, text)
		}
	}
}

func TestListsAreRead(t *testing.T) {
	c, err := Load("testdata/good/every-key.toml")
	if err != nil {
		t.Fatal(err)
	}
	f := &c.Frontends[0]
	var allowed []string
	for _, p := range f.Allowed() {
		allowed = append(allowed, p.String())
	}
	want := []string{"10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32", "172.16.0.0/12", "203.0.113.0/24", "2001:db8:1::/48", "198.51.100.9/32"}
	if !slices.Equal(allowed, want) {
		t.Errorf("allowed: got  %v\nwant %v", allowed, want)
	}
	if got, want := f.Denied(), []netip.Prefix{netip.MustParsePrefix("10.66.0.0/16")}; !slices.Equal(got, want) {
		t.Errorf("denied: got %v, want %v", got, want)
	}
	for path, name := range map[string]string{f.AllowFile: "allow.list", f.DenyFile: "lists/deny.list"} {
		if want, _ := filepath.Abs("testdata/good/" + name); path != want {
			t.Errorf("got path %s, want %s", path, want)
		}
	}
}

func TestListIsReadOnce(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.list"), "10.0.0.0/8\n")
	one := "\n[[frontend]]\nbind_on = \":%d\"\nallow_file = %q\nbackend.forward_to = \"10.0.0.1:80\"\n"
	text := fmt.Sprintf(one+one, 7070, "a.list", 7071, filepath.Join(dir, ".", "a.list"))
	c, err := Parse(filepath.Join(dir, "weir.toml"), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if a, b := c.Frontends[0].AllowListed, c.Frontends[1].AllowListed; &a[0] != &b[0] {
		t.Errorf("got two lists, %v and %v", a, b)
	}
}

// What a reload costs with the largest list that the issue speaks of.
func TestLongList(t *testing.T) {
	var b strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&b, "10.%d.%d.%d\n", i>>16, i>>8&255, i&255)
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "long.list"), b.String())
	f := parseFrontend(t, filepath.Join(dir, "weir.toml"), `deny_file = "long.list"`)
	if n := len(f.Denied()); n != 100_000 {
		t.Errorf("got %d prefixes", n)
	}
}

// An empty list, a list that is too large, a list of nothing but mistakes: none is taken, and the report
// stays bounded.
func TestBadLists(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "large.list"), strings.Repeat("#", maxFile+1))
	write(t, filepath.Join(dir, "wrong.list"), strings.Repeat("wrong\n", maxMistakes/2+1))
	write(t, filepath.Join(dir, "more.list"), strings.Repeat("wrong\n", maxMistakes))
	write(t, filepath.Join(dir, "empty.list"), "")
	text := ""
	for i, keys := range []string{
		`deny_file = "large.list"`, `allow_file = "wrong.list"`, `allow_file = "more.list"`, `deny_file = "empty.list"`,
		`allow_file = "none.list"`, `allow_file = "empty.list"`,
	} {
		text += fmt.Sprintf("[[frontend]]\nbind_on = \":%d\"\nbackend.forward_to = \"10.0.0.1:80\"\n%s\n", 7070+i, keys)
	}
	_, err := Parse(filepath.Join(dir, "weir.toml"), []byte(text))
	checkMistakes(t, err)
	count := map[string]int{}
	for _, m := range err.(Mistakes) {
		count[filepath.Base(m.File)]++
	}
	// more.list has what is left of the thousand, and the line that says so.
	want := map[string]int{"weir.toml": 1, "wrong.list": maxMistakes/2 + 1, "more.list": maxMistakes/2 - 1}
	if !reflect.DeepEqual(count, want) {
		t.Errorf("got %v, want %v", count, want)
	}
	if first := err.(Mistakes)[0].Message; !strings.HasSuffix(first, `large.list" is larger than 16 MiB`) {
		t.Errorf("got %s", first)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func FuzzList(f *testing.F) {
	f.Add([]byte("10.0.0.0/8\r\n # no\n::1#x\n10.0.0.0/8\n\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := newReport("fuzz.list", data)
		prefixes := parseList(r, "frontend.allow_file")
		if err := r.err(); err != nil {
			checkMistakes(t, err)
		}
		seen := make(map[Prefix]bool)
		for _, p := range prefixes {
			if seen[p] || !p.IsSet() || p.Masked() != p.Prefix || p.Addr().Is4In6() {
				t.Errorf("took %v", p)
			}
			seen[p] = true
		}
	})
}
