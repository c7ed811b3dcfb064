package metrics_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"weir/balancer"
	"weir/balancer/metrics"
	"weir/config"
)

// patience bounds every wait. No test depends on how much of it is used.
const patience = 20 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// everyEngine runs a test once for each engine. Where there is no reactor, copy stands in for it.
func everyEngine(t *testing.T, run func(t *testing.T, engine string)) {
	for _, engine := range []string{"copy", "reactor"} {
		t.Run(engine, func(t *testing.T) { run(t, engine) })
	}
}

// parse reads a configuration.
func parse(t testing.TB, file string) *config.Config {
	t.Helper()
	cfg, err := config.Parse("test.toml", []byte(file))
	if err != nil {
		t.Fatalf("configuration:\n%s\n%v", file, err)
	}
	return cfg
}

// start runs a balancer until the end of the test.
func start(t testing.TB, file string) *balancer.Balancer {
	t.Helper()
	b, err := balancer.New(t.Context(), parse(t, file), zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	stop, end := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(stop, stop) }()
	t.Cleanup(func() {
		end()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	<-b.Started()
	return b
}

// echo sends back what it gets, until the end of the test, and returns its address.
func echo(t testing.TB) string {
	l := listen(t)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.Copy(c, c)
			}()
		}
	}()
	return l.Addr().String()
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// nobody returns an address that refuses connections.
func nobody(t testing.TB) string {
	l := listen(t)
	defer l.Close()
	return l.Addr().String()
}

// say opens a connection, and has its first bytes sent back.
func say(t testing.TB, addr net.Addr, text string) net.Conn {
	t.Helper()
	c := dial(t, addr)
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	if got := make([]byte, len(text)); true {
		if _, err := io.ReadFull(c, got); err != nil || string(got) != text {
			t.Fatalf("got %q, %v; want %q", got, err, text)
		}
	}
	return c
}

func dial(t testing.TB, addr net.Addr) net.Conn {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr.String(), patience)
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { c.Close() })
	return c
}

// finish ends a connection as both sides want it.
func finish(t *testing.T, c net.Conn) {
	t.Helper()
	c.(*net.TCPConn).CloseWrite()
	if _, err := io.Copy(io.Discard, c); err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(patience); !is(); {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("timed out waiting for %s", what)
		}
	}
}

// scrape is what was gathered, by name.
type scrape map[string]*dto.MetricFamily

func gather(t testing.TB, b *balancer.Balancer) scrape {
	t.Helper()
	return collect(t, metrics.Registry(b, "1.2.3"))
}

func collect(t testing.TB, g prometheus.Gatherer) scrape {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	s := make(scrape)
	for _, f := range families {
		s[f.GetName()] = f
	}
	return s
}

// find returns the metric of that name whose labels are, in the order of their names, those: "frontend=f".
func (s scrape) find(name string, labels ...string) *dto.Metric {
	for _, m := range s[name].GetMetric() {
		var have []string
		for _, l := range m.GetLabel() {
			have = append(have, l.GetName()+"="+l.GetValue())
		}
		if strings.Join(have, " ") == strings.Join(labels, " ") {
			return m
		}
	}
	return nil
}

// value returns that of a counter or a gauge, and of a histogram the count. Not ok: it is not there.
func (s scrape) value(series string) (x float64, ok bool) {
	words := strings.Split(series, ",")
	m := s.find(words[0], words[1:]...)
	switch {
	case m == nil:
		return 0, false
	case m.Counter != nil:
		return m.Counter.GetValue(), true
	case m.Histogram != nil:
		return float64(m.Histogram.GetSampleCount()), true
	}
	return m.Gauge.GetValue(), true
}

// is says whether a series has that value.
func (s scrape) is(series string, want float64) bool {
	got, ok := s.value(series)
	return ok && got == want
}

// want holds series, name,label=value,…, to their values.
func (s scrape) want(t *testing.T, values map[string]float64) {
	t.Helper()
	for series, want := range values {
		if got, ok := s.value(series); !ok || got != want {
			t.Errorf("%s: got %v (there: %v), want %v", series, got, ok, want)
		}
	}
}

// frontendFile is a frontend "f" with the given lines, and with tables behind it.
func frontendFile(engine, keys, tables string) string {
	return fmt.Sprintf("[[frontend]]\nname = \"f\"\nengine = %q\nbind_on = \"127.0.0.1:0\"\n%s\n%s\n", engine, keys, tables)
}

func backendTable(name, address string, keys ...string) string {
	return fmt.Sprintf("[[frontend.backend]]\nname = %q\nforward_to = %q\n%s\n", name, address, strings.Join(keys, "\n"))
}
