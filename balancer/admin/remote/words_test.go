package remote

import (
	"testing"
	"time"
)

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 s", -time.Second: "0 s", 250 * time.Microsecond: "250 µs", 1500 * time.Microsecond: "1.5 ms", 37500 * time.Microsecond: "37.5 ms", 850 * time.Millisecond: "850 ms",
		time.Second: "1 s", 2500 * time.Millisecond: "2.5 s", 10 * time.Second: "10 s", 59*time.Second + 999*time.Millisecond: "59 s", time.Minute: "1 min",
		61 * time.Second: "1 min 1 s", 3*time.Hour + 12*time.Minute + 9*time.Second: "3 h 12 min", time.Hour + 9*time.Second: "1 h", 49 * time.Hour: "2 d 1 h", 400 * 24 * time.Hour: "400 d",
	} {
		if got := span(d); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0 B", 999: "999 B", 1000: "1 kB", 1234: "1.23 kB", 52_400_000: "52.4 MB", 999_400: "999 kB", 999_600: "1 MB", 1_310_000_000: "1.31 GB", 1<<64 - 1: "18.4 EB",
	} {
		if got := size(n); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
}

func TestTally(t *testing.T) {
	if got, want := tally(map[string]uint64{"b": 2, "a": 2, "none": 0, "c": 5}), "5 c, 2 a, 2 b"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
