//go:build linux

package main

import (
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{3}, 3}, {[]float64{9, 1, 5}, 5}, {[]float64{4, 1, 2, 9}, 3},
	} {
		if got := median(c.values); got != c.want {
			t.Errorf("%v: got %v, want %v", c.values, got, c.want)
		}
	}
}

// The best peer is the cheaper one, or the faster one.
func TestRatio(t *testing.T) {
	tb := newTable("work", nil)
	for name, v := range map[string]float64{"weir reactor": 6, "weir copy": 1, "HAProxy": 8, "nginx": 10} {
		tb.add(0, name, sample{"CPU µs/message": v, "messages/s": v})
	}
	tb.takeMedians()
	if got := tb.ratio("CPU µs/message"); got != 0.75 {
		t.Errorf("CPU: got %v, want 6/8", got)
	}
	if got := tb.ratio("messages/s"); got != 0.6 {
		t.Errorf("rate: got %v, want 6/10", got)
	}
	if got := tb.ratio("of nobody"); got != 0 {
		t.Errorf("a figure that nobody has: got %v, want 0", got)
	}
}

// What a round costs on a machine that is slower in some is compared within the round; a round in which one of the
// two was not measured does not count.
func TestRatioWithinRounds(t *testing.T) {
	tb := newTable("work", nil)
	for round, speed := range []float64{1, 2, 2, 1, 2} {
		tb.add(round, "HAProxy", sample{"CPU": 10 * speed})
	}
	for round, v := range []float64{9, 18, 18, 8, 20} {
		tb.add(round, "weir reactor", sample{"CPU": v})
	}
	tb.add(5, "HAProxy", sample{"CPU": 10})
	tb.add(6, "weir reactor", sample{"CPU": 100})
	if got := tb.ratio("CPU"); got != 0.9 {
		t.Errorf("got %v, want 0.9", got)
	}
}

func TestWrkFigures(t *testing.T) {
	const said = `Running 1s test @ http://127.0.0.1/
  Latency Distribution
     50%  298.00us
     75%    1.10ms
     99%   88.37ms
  20000 requests in 2.00s, 3.05MB read
Requests/sec:  10000.00
`
	s, err := wrkFigures(said, 100*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	wants := sample{"CPU µs/request": 5, "requests/s": 10000, "p50 µs": 298, "p99 µs": 88370}
	for figure, want := range wants {
		if s[figure] != want {
			t.Errorf("%s: got %v, want %v", figure, s[figure], want)
		}
	}
	if _, err := wrkFigures(said+"  Socket errors: connect 0, read 3, write 0, timeout 0\n", 0); err == nil {
		t.Error("socket errors were accepted")
	}
	if _, err := wrkFigures("unable to connect", 0); err == nil {
		t.Error("no result was accepted")
	}
}

func TestSumCalls(t *testing.T) {
	const table = `    calls syscall
--------- ----------------
       20 recvfrom
        7 epoll_pwait
        3 epoll_ctl
        2 accept4
--------- ----------------
       32 total
`
	if got := sumCalls(table); got != 25 {
		t.Errorf("got %v, want 25: all but epoll_pwait", got)
	}
}
