package metrics_test

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"weir/balancer"
	"weir/balancer/metrics"
	"weir/frontend"
)

const quickProbes = "[frontend.health]\ninterval = \"20ms\"\nfall = 1\n"

// busy is a weir with two backends, one of which refuses, and with a session that has ended, one that lives, and one
// that waits.
func busy(t *testing.T, engine string) *balancer.Balancer {
	b := start(t, frontendFile(engine, "idle_timeout = \"0\"\nmax_connections = 1\nretries = 3\n",
		backendTable("live", echo(t), "weight = 3", "max_connections = 7")+
			backendTable("dead", nobody(t))+
			"[frontend.queue]\nsize = 9\ntimeout = \"1h\"\n"+
			"[[frontend.class]]\nname = \"ops\"\nmatch = [\"127.0.0.0/8\"]\n"+quickProbes))
	at := b.Addrs("f")[0]
	eventually(t, "the dead backend to be down", func() bool {
		return gather(t, b).is("weir_backend_state,backend=dead,frontend=f,state=down", 1)
	})
	finish(t, say(t, at, "hello"))
	eventually(t, "the end of a session", func() bool { return b.Counters("f").Closed.Load() == 1 })
	say(t, at, "good day")
	dial(t, at)
	eventually(t, "a session to wait", func() bool { return b.Pool("f").QueueSnapshot().Length == 1 })
	return b
}

func TestValues(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		b := busy(t, engine)
		s := gather(t, b)
		s.want(t, map[string]float64{
			"weir_sessions_opened_total,frontend=f":                                    3,
			"weir_sessions_closed_total,frontend=f,outcome=normal":                     1,
			"weir_sessions_closed_total,frontend=f,outcome=queue full":                 0,
			"weir_sessions_active,frontend=f":                                          2,
			"weir_sessions_queued,class=ops,frontend=f":                                1,
			"weir_sessions_queued,class=default,frontend=f":                            0,
			"weir_session_bytes_total,direction=up,frontend=f":                         5,
			"weir_session_bytes_total,direction=down,frontend=f":                       5,
			"weir_session_duration_seconds,frontend=f":                                 1,
			"weir_session_connect_duration_seconds,frontend=f":                         2,
			"weir_session_queue_duration_seconds,frontend=f":                           0,
			"weir_backend_state,backend=live,frontend=f,state=up":                      1,
			"weir_backend_state,backend=live,frontend=f,state=down":                    0,
			"weir_backend_state,backend=dead,frontend=f,state=up":                      0,
			"weir_backend_weight,backend=live,frontend=f":                              3,
			"weir_backend_sessions_limit,backend=live,frontend=f":                      7,
			"weir_backend_sessions_limit,backend=dead,frontend=f":                      math.Inf(1),
			"weir_backend_sessions_active,backend=live,frontend=f":                     1,
			"weir_backend_sessions_elsewhere,backend=live,frontend=f":                  0,
			"weir_backend_early_ends_total,backend=live,frontend=f":                    0,
			"weir_backend_sessions_total,backend=live,frontend=f":                      2,
			"weir_backend_sessions_total,backend=dead,frontend=f":                      0,
			"weir_backend_connect_failures_total,backend=dead,frontend=f,reason=reset": 0,
			"weir_backend_probes_total,backend=dead,frontend=f,result=passed":          0,
			"weir_backend_probes_total,backend=live,frontend=f,result=failed":          0,
			"weir_backend_tcp_sampled_sessions,backend=live,frontend=f":                1,
			"weir_backend_tcp_sampled_retransmits,backend=live,frontend=f":             0,
			"weir_config_reloads_total,result=success":                                 0,
			"weir_config_last_reload_successful":                                       1,
			"weir_log_session_lines_dropped_total":                                     0,
			"weir_log_lines_dropped_total":                                             0,
			"weir_log_lines_lost_total":                                                0,
			"weir_panics_total":                                                        0,
		})
		for _, series := range []string{
			"weir_backend_probes_total,backend=dead,frontend=f,result=failed",
			"weir_backend_probes_total,backend=live,frontend=f,result=passed",
			"weir_probe_duration_seconds,frontend=f",
			"weir_backend_tcp_round_trip_seconds,backend=live,frontend=f",
			"process_open_fds",
			"go_goroutines",
		} {
			if x, ok := s.value(series); !ok || x <= 0 {
				t.Errorf("%s: got %v (there: %v), want more than 0", series, x, ok)
			}
		}
		if rtt, _ := s.value("weir_backend_tcp_round_trip_seconds,backend=live,frontend=f"); rtt > 1 {
			t.Errorf("round trip within this machine: %v s", rtt)
		}
		if s.find("weir_backend_tcp_round_trip_seconds", "backend=dead", "frontend=f") != nil {
			t.Error("a round trip to a backend without sessions")
		}
	})
}

// Attempts to connect that fail are counted by why, and every outcome has its series.
func TestFailures(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		b := start(t, frontendFile(engine, "retries = 0", backendTable("dead", nobody(t))+"[frontend.health]\nkind = \"none\"\n"))
		c := dial(t, b.Addrs("f")[0])
		if _, err := io.Copy(io.Discard, c); err != nil {
			t.Logf("the client was let go with %v", err)
		}
		eventually(t, "the end of the session", func() bool { return b.Counters("f").Closed.Load() == 1 })
		s := gather(t, b)
		s.want(t, map[string]float64{
			"weir_backend_connect_failures_total,backend=dead,frontend=f,reason=refused": 1,
			"weir_sessions_closed_total,frontend=f,outcome=connection refused":           1,
		})
		if s.find("weir_backend_probes_total", "backend=dead", "frontend=f", "result=failed") != nil {
			t.Error("probes of a backend that nobody probes")
		}
		for o := range frontend.Outcomes() {
			if s.find("weir_sessions_closed_total", "frontend=f", "outcome="+o.String()) == nil {
				t.Errorf("no series for outcome %s", o)
			}
		}
	})
}

func TestReloads(t *testing.T) {
	live := echo(t)
	file := func(weight int) string {
		return frontendFile("copy", "", backendTable("live", live, fmt.Sprintf("weight = %d", weight))+quickProbes)
	}
	b := start(t, file(1))
	passed := "weir_backend_probes_total,backend=live,frontend=f,result=passed"
	eventually(t, "a probe", func() bool { n, _ := gather(t, b).value(passed); return n > 0 })
	began := gather(t, b)
	next := parse(t, strings.Replace(file(2), `"20ms"`, `"1h"`, 1)) // with other probers
	if _, err := b.Reload(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	s := gather(t, b)
	s.want(t, map[string]float64{
		"weir_config_reloads_total,result=success":    1,
		"weir_config_reloads_total,result=failure":    0,
		"weir_backend_weight,backend=live,frontend=f": 2,
	})
	name := "weir_config_last_reload_success_timestamp_seconds"
	before, _ := began.value(name)
	after, _ := s.value(name)
	if now := float64(time.Now().UnixNano()) / 1e9; !(before < after && after <= now) {
		t.Errorf("time of the reload: got %v, want between %v and %v", after, before, now)
	}
	if was, _ := began.value(passed); !atLeast(s, passed, was) {
		t.Error("a reload has forgotten probes")
	}
	b.NotReloaded(errors.New("it is wrong"))
	gather(t, b).want(t, map[string]float64{
		"weir_config_reloads_total,result=success": 1,
		"weir_config_reloads_total,result=failure": 1,
		"weir_config_last_reload_successful":       0,
		name:                                       after,
	})
}

// Whoever scrapes while backends come and go sees a whole, each time.
func TestScrapeWhileReloading(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		live := echo(t)
		file := func(backends ...string) string {
			text := ""
			for _, name := range backends {
				text += backendTable(name, live)
			}
			return frontendFile(engine, "", text+quickProbes)
		}
		b := start(t, file("one"))
		r := metrics.Registry(b, "1.2.3")
		done := make(chan error, 1)
		go func() {
			for i := range 21 {
				names := [][]string{{"one", "two"}, {"three"}, {"one"}}[i%3]
				if _, err := b.Reload(t.Context(), parse(t, file(names...))); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
		for reloading := true; reloading; {
			select {
			case err := <-done:
				if err != nil {
					t.Fatal(err)
				}
				reloading = false
			default:
			}
			backends := map[string]bool{}
			for _, m := range collect(t, r)["weir_backend_weight"].Metric {
				backends[m.Label[0].GetValue()] = true
			}
			if n := len(backends); n < 1 || n > 2 || backends["three"] && n > 1 {
				t.Fatalf("backends: %v", backends)
			}
		}
		s := gather(t, b)
		s.want(t, map[string]float64{"weir_config_reloads_total,result=success": 21})
		if s.find("weir_backend_weight", "backend=three", "frontend=f") != nil {
			t.Error("a backend that is gone has metrics")
		}
	})
}

func atLeast(s scrape, series string, least float64) bool {
	x, ok := s.value(series)
	return ok && x >= least
}

func TestLint(t *testing.T) {
	problems, err := testutil.GatherAndLint(metrics.Registry(busy(t, "auto"), "1.2.3"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// What the collector sends is what it has described: a registry looks at that only when it is pedantic.
func TestAsDescribed(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(metrics.Collector(busy(t, "auto")))
	if got := len(collect(t, r)); got != 28 {
		t.Errorf("got %d metrics, this test knows 28", got)
	}
}

// The sample has a bound, whatever there is.
func TestSampleIsBounded(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		live := echo(t)
		file := frontendFile(engine, "", backendTable("live", live))
		b := start(t, file+strings.ReplaceAll(file, `"f"`, `"g"`))
		const each = 130
		for _, name := range []string{"f", "g"} {
			for range each {
				say(t, b.Addrs(name)[0], "hello")
			}
		}
		s := gather(t, b)
		for _, name := range []string{"f", "g"} {
			s.want(t, map[string]float64{"weir_backend_tcp_sampled_sessions,backend=live,frontend=" + name: 100})
		}
	})
}

// ask scrapes the handler.
func ask(t *testing.T, h http.Handler, accept string) (body, kind string) {
	t.Helper()
	r := httptest.NewRequest("GET", "/metrics", nil)
	r.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Fatalf("got %d: %s", w.Code, w.Body)
	}
	return w.Body.String(), w.Header().Get("Content-Type")
}

func TestHandler(t *testing.T) {
	h := metrics.Handler(busy(t, "auto"), "1.2.3")
	for accept, want := range map[string]string{
		"text/plain": "text/plain; version=0.0.4",
		"application/openmetrics-text; version=1.0.0":                                                  "application/openmetrics-text; version=1.0.0",
		"application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited": "application/vnd.google.protobuf",
	} {
		body, kind := ask(t, h, accept)
		if !strings.HasPrefix(kind, want) {
			t.Errorf("Accept: %s: got %s, want %s", accept, kind, want)
		}
		if !strings.Contains(body, "weir_sessions_active") || !strings.Contains(body, "1.2.3") {
			t.Errorf("Accept: %s: metrics are missing", accept)
		}
	}
	text, _ := ask(t, h, "text/plain")
	if !strings.Contains(text, `weir_session_connect_duration_seconds_bucket{frontend="f",le="+Inf"} 2`) {
		t.Errorf("no classic buckets in the text:\n%s", text)
	}
	if strings.Contains(text, "127.0.0.1") {
		t.Error("an address stands in the metrics")
	}
}

// Before weir runs, and after, somebody may ask as well.
func TestNotRunning(t *testing.T) {
	var b *balancer.Balancer
	t.Run("stopped", func(t *testing.T) {
		b = start(t, frontendFile("auto", "", backendTable("live", echo(t))))
	})
	gather(t, b).want(t, map[string]float64{"weir_sessions_active,frontend=f": 0})
}

// B72: a scrape that panics, which the registry does in goroutines of its own, is counted and no more.
func TestB72PanicOfAScrape(t *testing.T) {
	b := busy(t, "auto")
	gone := make(chan prometheus.Metric)
	close(gone) // sending to it panics
	metrics.Collector(b).Collect(gone)
	if n := b.Panics(); n < 3 {
		t.Errorf("%d panics are counted, want one for each part", n)
	}
	s := gather(t, b)
	if !atLeast(s, "weir_panics_total", 3) || !atLeast(s, "weir_sessions_active,frontend=f", 0) {
		t.Error("the next scrape does not have all of it")
	}
}
