package load

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"
)

// 1 ms to 1 s, each once: the percentiles are known.
func TestPercentiles(t *testing.T) {
	c := newTally()
	for ms := range 1000 {
		c.finish(time.Duration(ms+1) * time.Millisecond)
	}
	l := newLatency(c)
	for _, q := range []struct {
		name      string
		got, want float64 // ms
	}{
		{"min", l.Least, 1}, {"mean", l.Mean, 500.5}, {"p50", l.P50, 500}, {"p90", l.P90, 900},
		{"p99", l.P99, 990}, {"p99.9", l.P999, 999}, {"max", l.Most, 1000},
	} {
		if got := q.got / 1e3; math.Abs(got-q.want) > q.want/500 {
			t.Errorf("%s: got %.3f ms, want %v", q.name, got, q.want)
		}
	}
}

func testResult() *Result {
	r := &run{Options: Options{Mode: Connect, Target: Address{"tcp", "127.0.0.1:1"}, Phases: []Phase{
		{Name: "quiet", Duration: time.Second}, {Name: "busy", Duration: time.Second},
	}}}
	ts := newTallies(2)
	ts[0].started, ts[1].started = 3, 2
	ts[0].finish(time.Millisecond)
	ts[1].finish(2 * time.Millisecond)
	ts[1].errors["connect: connection refused"] = 3
	ts[1].count([]byte("db1"), 2)
	return r.result(ts, 2*time.Second)
}

func TestJSON(t *testing.T) {
	var b bytes.Buffer
	if err := testResult().WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Mode      string
		Done      int
		PerSecond float64            `json:"per_second"`
		Latency   map[string]float64 `json:"latency_us"`
		Errors    map[string]int
		Backends  map[string]int
		Phases    []struct {
			Name string
			Done int
		}
	}
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatalf("%v in %s", err, &b)
	}
	if got.Mode != "connect" || got.Done != 2 || got.PerSecond != 1 || got.Errors["connect: connection refused"] != 3 || got.Backends["db1"] != 2 {
		t.Errorf("got %+v", got)
	}
	if len(got.Phases) != 2 || got.Phases[1].Name != "busy" || got.Phases[1].Done != 1 {
		t.Errorf("phases: got %+v", got.Phases)
	}
	for _, key := range []string{"min", "mean", "p50", "p90", "p99", "p99_9", "max"} {
		if got.Latency[key] < 990 {
			t.Errorf("latency_us.%s: got %v", key, got.Latency[key])
		}
	}
}

func TestText(t *testing.T) {
	var b bytes.Buffer
	if err := testResult().WriteText(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"connect 127.0.0.1:1", "busy", "p99.9", "3  connect: connection refused", "2  db1"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in:\n%s", want, &b)
		}
	}
}
