package config_test

import (
	"slices"
	"strings"
	"testing"

	"weir/config"
)

const edited = `# what this weir is for
[admin]
bind_on = "unix:/run/weir.sock"

[[frontend]]
name = "pg" # the main one
bind_on = "127.0.0.1:5432"

  # the big machine
  # asked for by the shop
  [[frontend.backend]]
  name = "db1"
  forward_to = "10.0.0.1:5432"   # rack 4
  weight = 3 # since May
  max_connections = 0x20

  # the old machine
  [[frontend.backend]]
  forward_to = "10.0.0.2:5432"
  # gone by summer

# the other service
[[frontend]]
name = "redis"
bind_on = "127.0.0.1:6379"
[[frontend.backend]]
name = "r1"
forward_to = "10.0.0.3:6379"
max_connections = "auto"
min = 5
max = 50
`

// Only what has changed is written, and the rest stays as it was, byte by byte.
func TestEdit(t *testing.T) {
	added, err := config.NewBackend("10.0.0.9:5432")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change   func(f []config.Frontend)
		from, to string // what is replaced; an empty from: put at the end
	}{
		"nothing": {func([]config.Frontend) {}, "", ""},
		"weight":  {func(f []config.Frontend) { f[0].Backends[0].Weight = 7 }, "weight = 3 #", "weight = 7 #"},
		"limit":   {func(f []config.Frontend) { f[0].Backends[0].MaxConnections = 9 }, "0x20", "9"},
		"weight by default": {
			func(f []config.Frontend) { f[0].Backends[1].Weight = 0 },
			"10.0.0.2:5432\"\n", "10.0.0.2:5432\"\n  weight = 0\n",
		},
		"learned limit": {
			func(f []config.Frontend) { b := &f[1].Backends[0]; b.Auto, b.MaxConnections = false, 4 },
			"max_connections = \"auto\"\nmin = 5\nmax = 50\n", "max_connections = 4\n",
		},
		"removed": {
			func(f []config.Frontend) { f[0].Backends = f[0].Backends[1:] },
			edited[strings.Index(edited, "\n  # the big"):strings.Index(edited, "\n  # the old")], "",
		},
		"added": {
			func(f []config.Frontend) { f[0].Backends = append(f[0].Backends, added) },
			"10.0.0.2:5432\"\n", "10.0.0.2:5432\"\n\n[[frontend.backend]]\nforward_to = \"10.0.0.9:5432\"\nweight = 1\n",
		},
		"removed and added again": {
			func(f []config.Frontend) { slices.Reverse(f[0].Backends) },
			edited[strings.Index(edited, "\n  # the big"):strings.Index(edited, "  # gone by")],
			"\n  # the old machine\n  [[frontend.backend]]\n  forward_to = \"10.0.0.2:5432\"\n" +
				"\n[[frontend.backend]]\nname = \"db1\"\nforward_to = \"10.0.0.1:5432\"\nweight = 3\nmax_connections = 32\n",
		},
		"removed, added and changed": {
			func(f []config.Frontend) {
				f[0].Backends[0].Weight = 4
				f[0].Backends[1] = added
				f[0].Backends[1].Name, f[0].Backends[1].Backup, f[0].Backends[1].MaxConnections = "db9", config.BackupWhenDown, 12
			},
			edited[strings.Index(edited, "weight = 3"):strings.Index(edited, "  # gone by")],
			"weight = 4 # since May\n  max_connections = 0x20\n" +
				"\n[[frontend.backend]]\nname = \"db9\"\nforward_to = \"10.0.0.9:5432\"\nweight = 1\nmax_connections = 12\nbackup = true\n",
		},
	} {
		for _, eol := range []string{"\n", "\r\n"} {
			text := strings.ReplaceAll(edited, "\n", eol)
			cfg, err := config.Parse("weir.toml", []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			c.change(cfg.Frontends)
			want := strings.ReplaceAll(strings.Replace(edited, c.from, c.to, 1), "\n", eol)
			got, err := cfg.Edit("weir.toml", []byte(text))
			if err != nil || string(got) != want {
				t.Errorf("%s: got %v\n%s\nwant\n%s", name, err, got, want)
			}
		}
	}
}

// A comment right below something belongs to that, and stays.
func TestEditRemovesNoOtherComments(t *testing.T) {
	const text = "[frontend]\nbind_on = \"127.0.0.1:0\"\n# retries = 3\n[[frontend.backend]]\nforward_to = \"127.0.0.1:1\"\n" +
		"# [[frontend.backend]]\n# forward_to = \"127.0.0.1:9\"\n[[frontend.backend]]\nforward_to = \"127.0.0.1:2\""
	for i, want := range []string{
		strings.Replace(text, "[[frontend.backend]]\nforward_to = \"127.0.0.1:1\"\n", "", 1) + "\n",
		strings.TrimSuffix(text, "[[frontend.backend]]\nforward_to = \"127.0.0.1:2\""),
	} {
		cfg, err := config.Parse("weir.toml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		cfg.Frontends[0].Backends = slices.Delete(cfg.Frontends[0].Backends, i, i+1)
		if got, err := cfg.Edit("weir.toml", []byte(text)); err != nil || string(got) != want {
			t.Errorf("without the backend %d: got %v\n%s\nwant\n%s", i, err, got, want)
		}
	}
}

// What cannot be done with the text as it is, is not tried half.
func TestEditThatNeedsMore(t *testing.T) {
	const inline = "frontend = { bind_on = \"127.0.0.1:0\", backend = [{ forward_to = \"127.0.0.1:1\" }] }\n"
	cfg, err := config.Parse("weir.toml", []byte(inline))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := cfg.Edit("weir.toml", []byte(inline)); err != nil || string(got) != inline {
		t.Errorf("with no change: got %q and %v", got, err)
	}
	cfg.Frontends[0].Backends[0].Weight = 2
	if got, err := cfg.Edit("weir.toml", []byte(inline)); err != nil || got != nil {
		t.Errorf("got %q and %v, want nothing", got, err)
	}
	if _, err := cfg.Edit("weir.toml", []byte("what?")); err == nil {
		t.Error("no error for a broken file")
	}
	const single = "\ufeff[frontend]\nbind_on = \"127.0.0.1:0\"\n[frontend.backend]\nforward_to = \"127.0.0.1:1\""
	if cfg, err = config.Parse("weir.toml", []byte(single)); err != nil {
		t.Fatal(err)
	}
	cfg.Frontends[0].Backends[0].Weight = 2
	if got, err := cfg.Edit("weir.toml", []byte(single)); err != nil || string(got) != single+"\nweight = 2\n" {
		t.Errorf("got %q and %v", got, err)
	}
}
