package config

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pelletier/go-toml/v2"
)

func TestGoodFiles(t *testing.T) {
	for _, path := range glob(t, "testdata/good/*.toml") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			c, err := Load(path)
			if err != nil {
				t.Fatal(err)
			}
			checkRoundTrip(t, c)
		})
	}
}

func checkRoundTrip(t *testing.T, c *Config) {
	t.Helper()
	text, err := c.TOML()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse("effective.toml", text)
	if err != nil {
		t.Fatalf("effective configuration is not accepted: %v\n%s", err, text)
	}
	if !reflect.DeepEqual(c, again) {
		t.Fatalf("got another config from\n%s\ngot  %+v\nwant %+v", text, again, c)
	}
}

func TestMiniBalancerFile(t *testing.T) {
	got, err := Load("testdata/good/mini-balancer.toml")
	if err != nil {
		t.Fatal(err)
	}
	backend := func(address string) Backend {
		return Backend{ForwardTo: Address{"tcp", address}, Name: address, Weight: 1, Min: 1, Max: 1000}
	}
	// The numbers of the schema's comments, on purpose not the constants.
	want := &Config{
		Frontends: []Frontend{{
			Name:             "127.0.0.1:7070",
			BindOn:           []Listen{{Address: Address{"tcp", "127.0.0.1:7070"}}},
			Strategy:         "cyclic",
			ConnectTimeout:   Duration(5 * time.Second),
			HalfCloseTimeout: Duration(5 * time.Minute),
			Retries:          2,
			Keepalive:        Keepalive{Duration(60 * time.Second), Duration(10 * time.Second), 6},
			DeadPeerTimeout:  Duration(30 * time.Second),
			Engine:           "auto",
			Failback:         "auto",
			OnNoBackend:      "refuse",
			OnRefuse:         "close",
			Queue:            Queue{Timeout: Duration(10 * time.Second), FairBy: "none", LeaveOnEnd: true},
			Rate:             Rate{Burst: 1},
			Client:           Client{Burst: 1, IPv4Prefix: 32, IPv6Prefix: 64, Table: 65536},
			Backends:         []Backend{backend("127.0.0.1:8080"), backend("127.0.0.1:9090")},
			Health: Health{Kind: "tcp", Interval: Duration(2 * time.Second), Timeout: Duration(time.Second),
				Rise: 2, Fall: 3, Jitter: 10, Initial: "up", OnDown: "keep", OnUp: "keep"},
			Passive: Passive{Failures: 3, Window: Duration(10 * time.Second), EjectFor: Duration(10 * time.Second),
				EjectForMax: Duration(5 * time.Minute), MaxEjected: 50},
		}},
		Shutdown: Shutdown{Drain: Duration(30 * time.Second)},
		Log:      Log{Sessions: "auto", Sample: 1},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestEveryKeyIsDecoded(t *testing.T) {
	r := newReport("every-key.toml", read(t, "testdata/good/every-key.toml"))
	var c, defaults Config
	x := decode(r, buildTree(r), &c)
	decode(r, &node{form: header}, &defaults)
	defaults.Frontends = []Frontend{{Classes: []Class{{}}, Backends: []Backend{{}}}}
	defaults.Frontends[0].setDefaults()
	defaults.Frontends[0].Classes[0].setDefaults()
	defaults.Frontends[0].Backends[0].setDefaults()
	c.complete(x)
	defaults.complete(index{})
	everyField(reflect.ValueOf(&c).Elem(), reflect.ValueOf(&defaults).Elem(), func(key string, got, dflt reflect.Value) {
		if key == "" {
			return
		}
		if x.nodes[got.Addr().Interface()] == nil {
			t.Errorf("%s is not in the file", key)
		}
		if got.Kind() != reflect.Struct && reflect.DeepEqual(got.Interface(), dflt.Interface()) {
			t.Errorf("%s has its default %v", key, got)
		}
	})
}

// everyField walks two structs of one type down to the first item of their lists of tables.
func everyField(a, b reflect.Value, visit func(key string, a, b reflect.Value)) {
	for i := range a.NumField() {
		field, other := a.Field(i), b.Field(i)
		visit(a.Type().Field(i).Tag.Get("toml"), field, other)
		if field.Kind() == reflect.Slice && other.Len() > 0 {
			field, other = field.Index(0), other.Index(0)
		}
		if field.Kind() == reflect.Struct && field.Type() != reflect.TypeFor[Address]() {
			everyField(field, other, visit)
		}
	}
}

func TestDecodedValues(t *testing.T) {
	c, err := Load("testdata/good/every-key.toml")
	if err != nil {
		t.Fatal(err)
	}
	f := c.Frontends[0]
	for _, check := range []struct {
		key       string
		got, want any
	}{
		{"bind_on", f.BindOn[3], Listen{Address: Address{"unix", "@weir"}}},
		{"permissions", f.BindOn[0], Listen{Address{"unix", "/run/weir/db.sock"}, "0660", "0", "0"}},
		{"connect_timeout", f.ConnectTimeout, Duration(1500 * time.Millisecond)},
		{"max_sessions", f.MaxSessions, 10_000},
		{"backlog", f.Backlog, 1024},
		{"source_address", f.SourceAddress[1], IP{netip.MustParseAddr("2001:db8::1")}},
		{"name", f.Backends[0].Name, "größe ☃"},
		{"backup", f.Backends[0].Backup, BackupWhenFull},
		{"failback", f.Failback, "manual"},
		{"eject_for_max", f.Passive.EjectForMax, Duration(90 * time.Second)},
		{"max_connections", f.Backends[0].MaxConnections, 500},
		{"auto", f.Backends[0].Auto, true},
		{"fixed max_connections", f.Backends[1].MaxConnections, 20},
		{"not auto", f.Backends[1].Auto, false},
		{"allow", f.Allow[1].String(), "192.0.2.7/32"},
		{"match", f.Classes[0].Match[0].Prefix.String(), "10.1.0.0/16"},
		{"match of a listener", f.Classes[0].Match[1], Match{BindOn: f.BindOn[3].Address}},
		{"sessions", f.Rate.Sessions, 1500.5},
		{"rate", f.Client.Rate, 10.0},
	} {
		if check.got != check.want {
			t.Errorf("%s: got %v, want %v", check.key, check.got, check.want)
		}
	}
}

func TestLoadFaults(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{dir, filepath.Join(dir, "none.toml")} {
		_, err := Load(path)
		var mistakes Mistakes
		if err == nil || errors.As(err, &mistakes) || !strings.Contains(err.Error(), path) {
			t.Errorf("got %v, want an ordinary error that names %s", err, path)
		}
	}
	if _, err := Load(filepath.Join(dir, "none.toml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want it to wrap os.ErrNotExist", err)
	}
}

func TestLargeFile(t *testing.T) {
	data := append(read(t, "testdata/good/mini-balancer.toml"), bytes.Repeat([]byte("#"), maxFile)...)
	if _, err := Parse("large.toml", data[:maxFile]); err != nil {
		t.Errorf("16 MiB: got %v", err)
	}
	path := filepath.Join(t.TempDir(), "large.toml")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Load(path)
	if want := path + ":1:1: the file is larger than 16 MiB"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestLeastFile(t *testing.T) {
	if _, err := Parse("least.toml", []byte(leastFile)); err != nil {
		t.Error(err)
	}
}

func TestManyMistakesEnd(t *testing.T) {
	for _, text := range []string{
		strings.Repeat("a = 1\n", 20_000),
		"frontend = { bind_on = [" + strings.Repeat("1,", 20_000) + "] }",
		"frontend = { " + strings.Repeat("a = 1, ", 20_000) + "}",
		strings.Repeat("a.", 20_000) + "b = 1\n" + strings.Repeat("a.", 20_000) + "b = 2",
		strings.Repeat("[frontend]\n", 20_000),
	} {
		_, err := Parse("many.toml", []byte(text))
		checkMistakes(t, err)
		if n := len(err.(Mistakes)); n > maxMistakes+1 {
			t.Errorf("got %d mistakes", n)
		}
	}
}

// FuzzTree compares treeBuilder with go-toml's own rules for what may be defined how often: neither
// may refuse what the other takes.
func FuzzTree(f *testing.F) {
	for _, seed := range []string{
		"[a]\nb.c = 1\n[a.b.d]\ne = 1", "[a.b]\n[a]\n", "[[a]]\n[a.b]\n[[a]]\n[a.b]", "a = { b.c = 1, b.d = 2 }\n[a.e]",
		"a = [{ b = 1 }]\n[[a]]", "[[a.b]]\n[a]\nb.c = 1", "[a.b]\n[[a]]", "a.b = 1\n[a]", "[a]\n[b]\n[a]", "a = 1\na.b = 2",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := newReport("fuzz.toml", data)
		buildTree(r)
		err := toml.Unmarshal(data, new(map[string]any))
		if err == nil && len(r.found) > 0 {
			t.Fatalf("refused what is TOML: %v", r.err())
		}
		if err != nil && len(r.found) == 0 && strings.Contains(err.Error(), "already") {
			t.Fatalf("took what is not TOML: %v", err)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/good/*.toml", "testdata/bad/*.toml"} {
		paths, _ := filepath.Glob(pattern)
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("testdata/good/fuzz.toml", data)
		if err != nil {
			checkMistakes(t, err)
			return
		}
		if err := toml.Unmarshal(bytes.TrimPrefix(data, []byte("\ufeff")), new(map[string]any)); err != nil {
			t.Fatalf("accepted what is not TOML: %v", err)
		}
		checkRoundTrip(t, c)
		checkEdit(t, c, data)
	})
}

// checkEdit holds Edit to keeping every comment when only weights change.
func checkEdit(t *testing.T, c *Config, data []byte) {
	t.Helper()
	for i := range c.Frontends {
		for j := range c.Frontends[i].Backends {
			b := &c.Frontends[i].Backends[j]
			b.Weight = (b.Weight + 1) % 1000
		}
	}
	got, err := c.Edit("testdata/good/fuzz.toml", data)
	if err != nil || got == nil {
		return // the file may have no headers, or be too large now
	}
	if was, is := commentsOf(data), commentsOf(got); !slices.Equal(was, is) {
		t.Fatalf("the comments %q became %q in\n%s", was, is, got)
	}
}

func commentsOf(data []byte) (lines []string) {
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return lines
}

// The net has nothing to catch as long as treeBuilder and the decoder do their work; it must hold
// when they do not.
func TestUnmarshalNet(t *testing.T) {
	for text, want := range map[string]string{
		"a = 1\n":              "",
		"a = 1\na = 2\n":       "net.toml:2:1: not TOML: toml: key a is already defined",
		"\"é\" = 2026-02-30\n": "net.toml:1:15: not TOML: toml: impossible date",
	} {
		r := newReport("net.toml", []byte(text))
		unmarshalNet(r)
		got := ""
		if err := r.err(); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}
