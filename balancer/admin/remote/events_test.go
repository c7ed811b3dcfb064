package remote

import (
	"context"
	"strings"
	"testing"
	"time"

	"weir/balancer/admin"
)

// paper is written on until a text was there for the second time.
type paper struct {
	text string
	got  strings.Builder
	then func()
}

func (p *paper) Write(b []byte) (int, error) {
	p.got.Write(b)
	if strings.Contains(p.got.String(), p.text) {
		p.then()
	}
	return len(b), nil
}

func TestEvents(t *testing.T) {
	op := open(t)
	at := noon.Local().Format(time.TimeOnly)
	for _, c := range []struct {
		args string
		s    screen
		want string
	}{
		{"events -f", screen{}, at + " pg/db1 is down: a\\x1b\n" + at + " 3 sessions were refused: denied\n"},
		{"events", screen{colours: true}, "\x1b[2m" + at + "\x1b[0m \x1b[31mpg/db1 is down: a\\x1b\x1b[0m\n\x1b[2m" + at + "\x1b[0m \x1b[33m3 sessions were refused: denied\x1b[0m\n"},
		{"events --json", screen{}, `{"at":"2026-01-02T12:00:00Z","kind":"backend","to":"down","message":"pg/db1 is down: a\u001b"}` + "\n" +
			`{"at":"2026-01-02T12:00:00Z","kind":"refused","count":3,"message":"3 sessions were refused: denied"}` + "\n"},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		out := &paper{text: "denied", then: cancel}
		ended := make(chan error, 1)
		go func() { ended <- newApp(out, c.s).RunContext(ctx, append([]string{"weir"}, strings.Fields(c.args)...)) }()
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
	wait:
		for { // until the stream is there
			select {
			case err := <-ended:
				if err != nil {
					t.Errorf("weir %s: %v", c.args, err)
				}
				break wait
			case <-tick.C:
				op.Feed.Publish(admin.Event{At: noon, Kind: "backend", To: "down", Message: "pg/db1 is down: a\x1b"})
				op.Feed.Publish(admin.Event{At: noon, Kind: "refused", Count: 3, Message: "3 sessions were refused: denied"})
			}
		}
		cancel()
		if got := out.got.String(); !strings.HasPrefix(got, c.want) && !strings.Contains(got, c.want) {
			t.Errorf("weir %s: got %q, want %q", c.args, got, c.want)
		}
	}
}
