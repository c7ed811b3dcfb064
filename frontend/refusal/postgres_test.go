package refusal

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"unsafe"
)

// message returns one with a code, and a length that is as it should be.
func message(code uint32, rest string) string { return lying(uint32(8+len(rest)), code, rest) }

// lying returns a message with a length of its own choice.
func lying(length, code uint32, rest string) string {
	b := binary.BigEndian.AppendUint32(nil, length)
	return string(binary.BigEndian.AppendUint32(b, code)) + rest
}

const params = "user\x00ann\x00database\x00shop\x00\x00"

var (
	ssl     = message(80877103, "")
	gss     = message(80877104, "")
	cancel  = message(80877102, "\x00\x00\x12\x34\x56\x78\x9a\xbc")
	startup = message(3<<16, params)
)

// hear gives s the pieces one by one, as long as it has not done.
func hear(s *Speech, pieces ...string) (answers []string, done bool) {
	var h Hearing
	for _, piece := range pieces {
		var answer []byte
		answer, done = s.Hear(&h, []byte(piece))
		if answer != nil {
			answers = append(answers, string(answer))
		}
		if done {
			break
		}
	}
	return answers, done
}

// talks are what clients say, and all that they are to be answered.
var talks = []struct {
	name, says, want string
	done             bool
}{
	{"nothing", "", "", false},
	{"3.0", startup, postgresSorry, true},
	{"3.2", message(3<<16|2, params), postgresSorry, true},
	{"3.9999, as libpq's grease", message(3<<16|9999, params), postgresSorry, true},
	{"without parameters", message(3<<16, ""), postgresSorry, true},
	{"longest", message(3<<16, strings.Repeat("x", 9996)), postgresSorry, true},
	{"one byte short", startup[:len(startup)-1], "", false},
	{"more after it", startup + "p\x00\x00\x00\x08abc", postgresSorry, true},
	{"two at once", startup + startup, postgresSorry, true},

	{"ssl", ssl, "N", false},
	{"ssl, startup", ssl + startup, "N" + postgresSorry, true},
	{"gss, startup", gss + startup, "N" + postgresSorry, true},
	{"gss, ssl, startup", gss + ssl + startup, "NN" + postgresSorry, true},
	{"ssl, ssl, startup", ssl + ssl + startup, "NN" + postgresSorry, true},
	{"ssl, gss, ssl", ssl + gss + ssl + startup, "NN", true},
	{"ssl, cancel", ssl + cancel, "N", true},
	{"ssl, junk", ssl + "GET / HTTP/1.1\r\n", "N", true},
	{"ssl, TLS all the same", ssl + "\x16\x03\x01\x00\xa5\x01\x00\x00", "N", true},

	{"cancel", cancel, "", true},
	{"cancel with a long key (3.2)", message(80877102, strings.Repeat("k", 260)), "", true},
	{"TLS at once", "\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03", "", true},
	{"HTTP", "GET / HTTP/1.1\r\n\r\n", "", true},
	{"zeros", strings.Repeat("\x00", 8), "", true},
	{"less than a header", "QUIT\r\n", "", false},
	{"protocol 2", message(2<<16, strings.Repeat("\x00", 288)), "", true},
	{"protocol 4", message(4<<16, params), "", true},
	{"too long", message(3<<16, strings.Repeat("x", 9997)), "", true},
	{"longest length there is", lying(1<<32-1, 3<<16, params), "", true},
	{"length that wraps in 16 bits", lying(1<<16+8, 3<<16, params), "", true},
	{"length below a header", lying(7, 3<<16, params), "", true},
	{"length 0", lying(0, 3<<16, params), "", true},
	{"ssl with more in it", message(80877103, "x"), "", true},
	{"ssl with too short a length", lying(4, 80877103, ""), "", true},
}

func TestHear(t *testing.T) {
	s := mustFor(t, "postgres", "")
	for _, c := range talks {
		answers, done := hear(s, c.says)
		if got := strings.Join(answers, ""); got != c.want || done != c.done {
			t.Errorf("%s: got %q, done %v, want %q, done %v", c.name, got, done, c.want, c.done)
		}
	}
}

func TestHearAtEverySplit(t *testing.T) {
	s := mustFor(t, "postgres", "")
	for _, c := range talks {
		for at := range len(c.says) + 1 {
			answers, done := hear(s, c.says[:at], c.says[at:])
			if got := strings.Join(answers, ""); got != c.want || done != c.done {
				t.Fatalf("%s, split at %d: got %q, done %v, want %q, done %v", c.name, at, got, done, c.want, c.done)
			}
		}
		answers, done := hear(s, strings.Split(c.says, "")...)
		if got := strings.Join(answers, ""); got != c.want || done != c.done {
			t.Errorf("%s, byte by byte: got %q, done %v, want %q, done %v", c.name, got, done, c.want, c.done)
		}
	}
}

// Each answer comes with the last byte that it answers, not before and not later.
func TestHearAnswersInTurn(t *testing.T) {
	s := mustFor(t, "postgres", "")
	var h Hearing
	for k, step := range []struct {
		says, want string
		done       bool
	}{
		{gss[:7], "", false},
		{gss[7:], "N", false},
		{"", "", false},
		{ssl, "N", false},
		{startup[:8], "", false},
		{startup[8 : len(startup)-1], "", false},
		{startup[len(startup)-1:], postgresSorry, true},
		{startup, "", true},
		{"", "", true},
	} {
		answer, done := s.Hear(&h, []byte(step.says))
		if string(answer) != step.want || done != step.done {
			t.Errorf("step %d: got %q, done %v, want %q, done %v", k, answer, done, step.want, step.done)
		}
	}
}

func TestHearOwnText(t *testing.T) {
	s := mustFor(t, "postgres", "shop is full, call 555")
	want := "E\x00\x00\x00\x32SFATAL\x00VFATAL\x00C53300\x00Mshop is full, call 555\x00\x00"
	if answers, done := hear(s, startup); !slices.Equal(answers, []string{want}) || !done {
		t.Errorf("got %q, done %v, want %q", answers, done, want)
	}
}

// What a stranger can make us spend is what the comment on MaxHeard says.
func TestHearIsBounded(t *testing.T) {
	if got := unsafe.Sizeof(Hearing{}); got > 16 {
		t.Errorf("a Hearing has %d bytes, more than 16", got)
	}
	if MaxHeard != 10020 {
		t.Errorf("MaxHeard: got %d, want 10020", MaxHeard)
	}
	s := mustFor(t, "postgres", strings.Repeat("m", maxText))
	longest := ssl + gss + message(3<<16, strings.Repeat("x", 9996))
	answers, done := hear(s, strings.Split(longest, "")...)
	if len(longest) != MaxHeard || len(answers) != 3 || len(answers[2]) != 540 || !done {
		t.Errorf("%d bytes: got %d answers, done %v, want 3, the last of 540 bytes, done", len(longest), len(answers), done)
	}
	if _, done := hear(s, longest[:MaxHeard-1]); done {
		t.Error("done one byte early")
	}
	says := []byte(longest)
	if n := testing.AllocsPerRun(10, func() { s.Hear(new(Hearing), says) }); n != 0 {
		t.Errorf("Hear allocates %v times, want 0", n)
	}
}

// An answer cannot be appended to, over what other sessions are told.
func TestAnswersAreNotShared(t *testing.T) {
	s := mustFor(t, "postgres", "")
	var h Hearing
	answer, _ := s.Hear(&h, []byte(ssl))
	_ = append(answer, "overwritten"...)
	if answers, _ := hear(s, startup); !slices.Equal(answers, []string{postgresSorry}) {
		t.Errorf("got %q, want %q", answers, postgresSorry)
	}
}

// FuzzHear holds Hear, with what is said cut into pieces, against the protocol read from the whole.
func FuzzHear(f *testing.F) {
	for _, c := range talks {
		f.Add([]byte(c.says), uint16(1))
	}
	f.Add([]byte(gss+ssl+startup), uint16(13))
	s := mustFor(f, "postgres", "")
	f.Fuzz(func(t *testing.T, says []byte, piece uint16) {
		want, wantDone := naive(says)
		answers, done := hear(s, cut(string(says), int(piece))...)
		if got := strings.Join(answers, ""); got != want || done != wantDone {
			t.Fatalf("%.60q in pieces of %d: got %q, done %v, want %q, done %v", says, piece, got, done, want, wantDone)
		}
		if len(says) >= MaxHeard && !done {
			t.Fatalf("not done after %d bytes", len(says))
		}
	})
}

// cut returns the pieces of s, all of one length but the last.
func cut(s string, length int) (pieces []string) {
	for piece := range slices.Chunk([]byte(s), max(length, 1)) {
		pieces = append(pieces, string(piece))
	}
	return pieces
}

// naive reads all that a client says, and returns all that it is answered.
func naive(says []byte) (answer string, done bool) {
	for len(says) >= 8 {
		length, code := binary.BigEndian.Uint32(says), binary.BigEndian.Uint32(says[4:])
		switch {
		case length == 8 && (code == 80877103 || code == 80877104):
			if answer == "NN" {
				return answer, true
			}
			answer += "N"
			says = says[8:]
		case code < 3<<16 || code >= 4<<16 || length < 8 || length > 10004:
			return answer, true
		case uint32(len(says)) < length:
			return answer, false
		default:
			return answer + postgresSorry, true
		}
	}
	return answer, false
}

func BenchmarkHear(b *testing.B) {
	s := mustFor(b, "postgres", "")
	says := []byte(ssl + startup)
	b.ReportAllocs()
	for b.Loop() {
		var h Hearing
		s.Hear(&h, says)
	}
}
