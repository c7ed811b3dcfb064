package refusal

import (
	"strings"
	"testing"
)

const postgresSorry = "E\x00\x00\x00\x3bSFATAL\x00VFATAL\x00C53300\x00Msorry, too many clients already\x00\x00"

func mustFor(t testing.TB, protocol, message string) *Speech {
	t.Helper()
	s, err := For(protocol, message)
	if err != nil {
		t.Fatalf("For(%q, %q): %v", protocol, message, err)
	}
	return s
}

func TestOpening(t *testing.T) {
	for _, c := range []struct{ protocol, message, want string }{
		{"mysql", "", "\x17\x00\x00\x00\xff\x10\x04Too many connections"},
		{"mysql", "come back later", "\x12\x00\x00\x00\xff\x10\x04come back later"},
		{"mysql", strings.Repeat("m", 511), "\x02\x02\x00\x00\xff\x10\x04" + strings.Repeat("m", 511)},
		{"redis", "", "-ERR max number of clients reached\r\n"},
		{"redis", "come back later", "-ERR come back later\r\n"},
		{"", "421 busy\r\n", "421 busy\r\n"},
		{"", "\x00\xff", "\x00\xff"},
		{"", strings.Repeat("m", 4096), strings.Repeat("m", 4096)},
		{"postgres", "", ""},
	} {
		s := mustFor(t, c.protocol, c.message)
		if got := string(s.Opening()); got != c.want {
			t.Errorf("%q, %q: opening: got %q, want %q", c.protocol, c.message, got, c.want)
		}
		if got, want := s.Listens(), c.protocol == "postgres"; got != want {
			t.Errorf("%q: listens: got %v, want %v", c.protocol, got, want)
		}
	}
}

// What does not listen is done before it has heard anything.
func TestHearWithoutListening(t *testing.T) {
	for _, s := range []*Speech{mustFor(t, "mysql", ""), mustFor(t, "redis", ""), mustFor(t, "", "no")} {
		var h Hearing
		if answer, done := s.Hear(&h, []byte("PING\r\n")); answer != nil || !done {
			t.Errorf("%q: got %q, done %v, want nothing, done", s.Opening(), answer, done)
		}
	}
}

func TestForErrors(t *testing.T) {
	for _, c := range []struct{ protocol, message, want string }{
		{"", "", "nothing to say: neither a protocol nor a message is given"},
		{"", strings.Repeat("m", 4097), "the message has 4097 bytes, more than 4096"},
		{"ftp", "", `unknown protocol "ftp": there are "postgres", "mysql" and "redis"`},
		{"Redis", "", `unknown protocol "Redis": there are "postgres", "mysql" and "redis"`},
		{"redis", "a\r\n+OK", "the message has the control character 0x0d at byte 2"},
		{"postgres", "\x00", "the message has the control character 0x00 at byte 1"},
		{"mysql", "no\x7f", "the message has the control character 0x7f at byte 3"},
		{"mysql", "#1 rule", `a message for mysql may not begin with "#": that marks an SQLSTATE`},
		{"postgres", strings.Repeat("m", 512), "the message has 512 bytes, more than 511"},
	} {
		s, err := For(c.protocol, c.message)
		if err == nil || err.Error() != c.want || s != nil {
			t.Errorf("%q, %.20q: got %v, %v, want %q", c.protocol, c.message, s, err, c.want)
		}
	}
}
