package frontend

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"weir/frontend/relay"
)

// book keeps what is logged by any goroutine.
type book struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *book) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// take returns what was logged since it last did.
func (b *book) take() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer b.text.Reset()
	return b.text.String()
}

// logging is a frontend whose log goes to a book.
func logging(level zerolog.Level, p SessionPolicy) (*Frontend, *book) {
	out := new(book)
	log := zerolog.New(out).Level(level).With().Timestamp().Logger()
	return New(Options{Name: "f", Log: log, Sessions: NewSessionLog(log, p)}), out
}

// live runs the lines of a session's life that need no backend.
func live(f *Frontend, id uint64, e Ending) {
	s := &Session{frontend: f, id: id, from: netip.MustParseAddrPort("192.0.2.1:1234"), accepted: time.Now()}
	s.LogServing()
	s.logServed(&e)
}

func normal() Ending { return Ending{Outcome: Normal, Phase: Relaying} }
func refused() Ending {
	return Ending{Outcome: ConnectRefused, Phase: Connecting, Err: errors.New("no")}
}

func TestWhichLinesAreWritten(t *testing.T) {
	const warn, info = zerolog.WarnLevel, zerolog.InfoLevel
	for _, c := range []struct {
		level zerolog.Level
		lines SessionLines
		want  string // s: serving, n: served normally, f: failed, p: panicked
	}{
		{warn, LinesAsLevel, "p"},
		{info, LinesAsLevel, "snsfsp"},
		{warn, LinesAll, "nfp"},
		{info, LinesAll, "snsfsp"},
		{warn, LinesFailed, "fp"},
		{info, LinesFailed, "fp"},
		{warn, LinesNone, "p"},
		{info, LinesNone, "p"},
		{zerolog.Disabled, LinesAsLevel, ""},
	} {
		f, out := logging(c.level, SessionPolicy{Lines: c.lines})
		live(f, 1, normal())
		live(f, 2, refused())
		live(f, 3, Ending{Outcome: InternalError, Phase: Relaying, Err: &relay.PanicError{}})
		if got := letters(out.take()); got != c.want {
			t.Errorf("level %v, lines %d: got %q, want %q", c.level, c.lines, got, c.want)
		}
	}
}

// letters says what was logged, a letter a line.
func letters(text string) (all string) {
	for line := range strings.Lines(text) {
		switch {
		case strings.Contains(line, "serving connection"):
			all += "s"
		case strings.Contains(line, `"outcome":"normal"`):
			all += "n"
		case strings.Contains(line, `"outcome":"internal error"`):
			all += "p"
		case strings.Contains(line, "were dropped"):
			all += "d"
		default:
			all += "f"
		}
	}
	return all
}

func TestNoSessionLogFollowsTheLevel(t *testing.T) {
	f, out := logging(zerolog.InfoLevel, SessionPolicy{})
	f.Options.Sessions = nil
	live(f, 1, normal())
	if got := letters(out.take()); got != "sn" {
		t.Errorf("got %q, want both lines", got)
	}
}

// A sample takes one in N, has the first line of just those that have the last, and every failure.
func TestSample(t *testing.T) {
	const sessions, n = 20_000, 10
	f, out := logging(zerolog.InfoLevel, SessionPolicy{Lines: LinesAll, Sample: n})
	for id := range uint64(sessions) {
		live(f, 2*id, normal()) // every other number, as with two frontends that take turns
	}
	got := letters(out.take())
	pairs := strings.Count(got, "sn")
	if 2*pairs != len(got) {
		t.Errorf("%d lines, %d of them pairs of first and last", len(got), pairs)
	}
	if want := sessions / n; pairs < want*9/10 || pairs > want*11/10 { // 5 standard deviations; and the numbers are fixed
		t.Errorf("got %d of %d sessions, want about %d", pairs, sessions, want)
	}
	for id := range uint64(1000) {
		live(f, id, refused())
	}
	if got := strings.Count(letters(out.take()), "f"); got != 1000 {
		t.Errorf("got %d failures, want all 1000", got)
	}
}

func TestRateDropsAndTells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, out := logging(zerolog.WarnLevel, SessionPolicy{Lines: LinesAll, Rate: 3})
		burst := func(n int) {
			for range n {
				live(f, 1, refused())
			}
		}
		expect := func(want string) {
			t.Helper()
			synctest.Wait()
			if got := letters(out.take()); got != want {
				t.Errorf("after %v: got %q, want %q", time.Since(f.Options.Sessions.began), got, want)
			}
		}
		burst(3)
		expect("fff")
		time.Sleep(time.Second)
		expect("")
		burst(10)
		expect("fff")
		time.Sleep(1100 * time.Millisecond)
		synctest.Wait()
		if got := out.take(); !strings.HasPrefix(got, `{"level":"warn","lines":7,`) || letters(got) != "d" {
			t.Errorf("got %q, want a warning of 7 lines", got)
		}
		burst(4)
		f.Options.Sessions.Tell()
		expect("fffd")
		time.Sleep(time.Minute)
		expect("")
		if got := f.Options.Sessions.Dropped(); got != 8 {
			t.Errorf("got %d dropped, want 8", got)
		}
	})
}

// Lines that the level holds back take no room from those that are written.
func TestRateCountsWhatIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, out := logging(zerolog.WarnLevel, SessionPolicy{Lines: LinesFailed, Rate: 2})
		for _, e := range []Ending{normal(), refused(), normal(), refused()} {
			live(f, 1, e)
		}
		if got := letters(out.take()); got != "ff" || f.Options.Sessions.Dropped() != 0 {
			t.Errorf("got %q and %d dropped, want both failures and none", got, f.Options.Sessions.Dropped())
		}
	})
}

func TestPolicyChangesInTheMidst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, out := logging(zerolog.WarnLevel, SessionPolicy{Lines: LinesAll, Rate: 50})
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for range 100 {
					live(f, 1, refused())
				}
			})
		}
		f.Options.Sessions.Set(SessionPolicy{Lines: LinesFailed, Rate: 100})
		all.Wait()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		written, dropped := strings.Count(letters(out.take()), "f"), int(f.Options.Sessions.Dropped())
		if written+dropped != 800 || written < 50 || written > 100 {
			t.Errorf("got %d written and %d dropped, want 800 together and 50 to 100 written", written, dropped)
		}
	})
}

// Nothing is allocated for a line that is not written.
func TestDroppedLinesCostNothing(t *testing.T) {
	f, _ := logging(zerolog.WarnLevel, SessionPolicy{Lines: LinesFailed, Sample: 10, Rate: 1})
	s := &Session{frontend: f, id: 1}
	e := normal()
	if n := testing.AllocsPerRun(100, func() { s.LogServing(); s.logServed(&e) }); n != 0 {
		t.Errorf("%v allocations for no line", n)
	}
}

// schemaOf is what session-log.schema.json says, as far as it is compared here.
type schemaOf struct {
	Required   []string
	Properties map[string]struct {
		Enum    []string
		Pattern string
	}
}

// The schema names every field and every outcome that a line can have, and no other.
func TestSchemaKnowsEveryOutcome(t *testing.T) {
	data, err := os.ReadFile("session-log.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var schema schemaOf
	if err := json.Unmarshal(data, &schema); err != nil {
		t.Fatal(err)
	}
	var outcomes []string
	f, out := logging(zerolog.InfoLevel, SessionPolicy{})
	for o := Normal; o < numOutcomes; o++ {
		outcomes = append(outcomes, o.String())
		for _, phase := range []Phase{Queued, Connecting, Relaying, LastBytes} {
			e := Ending{Outcome: o, Phase: phase}
			(&Session{frontend: f, id: 1}).logServed(&e)
			e.Err = errors.New("why")
			(&Session{frontend: f, id: 1, from: netip.MustParseAddrPort("[fe80::1%eth0]:1234")}).logServed(&e)
		}
	}
	(&Session{frontend: f}).logServed(&Ending{Outcome: InternalError, Phase: Relaying, Err: &relay.PanicError{Stack: []byte("here")}})
	if got := schema.Properties["outcome"].Enum; !slices.Equal(got, outcomes) {
		t.Errorf("the schema has outcomes %q, want %q", got, outcomes)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(out.take()) {
		checkAgainst(t, &schema, line, seen)
	}
	for name := range schema.Properties {
		if !seen[name] {
			t.Errorf("no line has the field %s of the schema", name)
		}
	}
}

func checkAgainst(t *testing.T, schema *schemaOf, line string, seen map[string]bool) {
	t.Helper()
	var fields map[string]any
	if err := json.Unmarshal([]byte(line), &fields); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	for name, value := range fields {
		seen[name] = true
		p, ok := schema.Properties[name]
		if !ok {
			t.Errorf("the schema does not know %s: %s", name, line)
		}
		if text, isText := value.(string); isText && p.Pattern != "" && !regexp.MustCompile(p.Pattern).MatchString(text) {
			t.Errorf("%s is %q, the schema wants %s", name, text, p.Pattern)
		}
	}
	for _, name := range schema.Required {
		if _, ok := fields[name]; !ok {
			t.Errorf("%s is missing, and the schema requires it: %s", name, line)
		}
	}
}

func BenchmarkSessionLines(b *testing.B) {
	for name, p := range map[string]SessionPolicy{
		"all": {Lines: LinesAll}, "none": {Lines: LinesNone}, "sample 100": {Lines: LinesAll, Sample: 100}, "rate 1000": {Lines: LinesAll, Rate: 1000},
	} {
		b.Run(name, func(b *testing.B) {
			log := zerolog.New(discard{}).Level(zerolog.WarnLevel).With().Timestamp().Logger()
			f := New(Options{Name: "f", Log: log, Sessions: NewSessionLog(log, p)})
			s := &Session{frontend: f, from: netip.MustParseAddrPort("192.0.2.1:1234")}
			e := normal()
			b.ReportAllocs()
			for b.Loop() {
				s.id++
				s.logServed(&e)
			}
		})
	}
}

// discard, unlike io.Discard, does not make zerolog switch itself off.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
