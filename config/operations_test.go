package config

import (
	"path/filepath"
	"testing"
)

// Who may come in is decided by what stands together; each of these is right.
func TestDoorsThatMayBe(t *testing.T) {
	const mutual = "\ntls_certificate = \"door/certificate.pem\"\ntls_key = \"door/key.pem\"\ntls_client_ca = \"door/certificate.pem\""
	for _, keys := range []string{
		`bind_on = ""`,
		"bind_on = \"\"\ntoken_file = \"\"\ntls_certificate = \"\"\ntls_key = \"\"\ntls_client_ca = \"\"\npprof = false",
		`bind_on = "unix:/run/weir/admin.sock"`,
		"bind_on = \"unix:/run/weir/admin.sock\"\ntoken_file = \"door/token\"",
		`bind_on = "127.0.0.1:7079"`,
		`bind_on = "127.9.9.9:0"`,
		`bind_on = "[::1]:7079"`,
		`bind_on = "[::ffff:127.0.0.1]:7079"`,
		`bind_on = "localhost:7079"`,
		"bind_on = \"127.0.0.1:7079\"\ntoken_file = \"door/token\"",
		"bind_on = \":7079\"" + mutual,
		"bind_on = \"192.0.2.1:7079\"\ntoken_file = \"door/token\"" + mutual,
	} {
		c, err := Parse("testdata/good/door.toml", []byte(leastFile+"\n[admin]\n"+keys))
		if err != nil {
			t.Errorf("%s: %v", keys, err)
			continue
		}
		checkRoundTrip(t, c)
	}
}

func TestOperationsPathsAreAbsolute(t *testing.T) {
	c, err := Load("testdata/good/every-key.toml")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := filepath.Abs("testdata/good")
	if err != nil {
		t.Fatal(err)
	}
	for want, got := range map[string]string{
		"door/token": c.Admin.TokenFile, "door/key.pem": c.Admin.TLSKey, "door/certificate.pem": c.Admin.TLSCertificate, "weir.log": c.Log.File,
	} {
		if want = filepath.Join(dir, want); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if c.Admin.TLSClientCA != c.Admin.TLSCertificate {
		t.Errorf("got %s, want the same file", c.Admin.TLSClientCA)
	}
}

func TestLogKeys(t *testing.T) {
	for keys, want := range map[string]Log{
		``:                                   {Sessions: "auto", Sample: 1},
		`sessions = "failed"`:                {Sessions: "failed", Sample: 1},
		"sessions = \"none\"\nrate = 0":      {Sessions: "none", Sample: 1},
		"sample = 10\nrate = 5":              {Sessions: "auto", Sample: 10, Rate: 5},
		"file = \"/var/log/weir.log\"":       {File: "/var/log/weir.log", Sessions: "auto", Sample: 1},
		"sessions = \"failed\"\nsample = 1":  {Sessions: "failed", Sample: 1},
		"sessions = \"all\"\nsample = 0x100": {Sessions: "all", Sample: 256},
	} {
		c, err := Parse("log.toml", []byte(leastFile+"\n[log]\n"+keys))
		if err != nil {
			t.Errorf("%s: %v", keys, err)
			continue
		}
		if c.Log != want {
			t.Errorf("%s: got %+v, want %+v", keys, c.Log, want)
		}
		checkRoundTrip(t, c)
	}
}
