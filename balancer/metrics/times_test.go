package metrics

import (
	"maps"
	"math"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"weir/backend/histogram"
)

// native reads the buckets of a native histogram as the format says: spans by their distance, counts by their
// difference.
func native(t *testing.T, h *dto.Histogram) map[int]int64 {
	t.Helper()
	m := make(map[int]int64)
	index, count, deltas := 0, int64(0), h.GetPositiveDelta()
	for _, s := range h.GetPositiveSpan() {
		index += int(s.GetOffset())
		for range s.GetLength() {
			count += deltas[0]
			m[index], deltas = count, deltas[1:]
			index++
		}
	}
	if len(deltas) > 0 {
		t.Errorf("%d deltas are left over", len(deltas))
	}
	return m
}

func TestTimes(t *testing.T) {
	for name, list := range map[string][]time.Duration{
		"none":             nil,
		"zero":             {0},
		"one":              {time.Second},
		"neighbours":       {time.Second, 1100 * time.Millisecond, 1100 * time.Millisecond, 1300 * time.Millisecond},
		"far apart":        {time.Microsecond, time.Millisecond, time.Millisecond, time.Hour},
		"beyond all":       {math.MaxInt64, 300 * 24 * time.Hour},
		"everything there": {0, 1, time.Microsecond, 20 * time.Millisecond, time.Second, math.MaxInt64 / 4},
	} {
		t.Run(name, func(t *testing.T) {
			var h histogram.Histogram
			for _, d := range list {
				h.Observe(d)
			}
			var m dto.Metric
			if err := newTimes(probeDuration, &h, powers{-3, 5, 1}, pair(frontendLabel, "f")).Write(&m); err != nil {
				t.Fatal(err)
			}
			counted := h.Snapshot()
			if got, want := native(t, m.Histogram), counted.Native(); !maps.Equal(got, want) {
				t.Errorf("native buckets: got %v, want %v", got, want)
			}
			if got := m.Histogram.GetZeroCount(); got != counted.Zero() {
				t.Errorf("zero bucket: got %d, want %d", got, counted.Zero())
			}
			if got := m.Histogram.GetSampleCount(); got != uint64(len(list)) {
				t.Errorf("count: got %d, want %d", got, len(list))
			}
			if len(m.Histogram.Bucket) != 9 {
				t.Errorf("classic buckets: got %d, want 9", len(m.Histogram.Bucket))
			}
			for _, b := range m.Histogram.Bucket {
				want := uint64(0)
				for _, d := range list {
					if d.Seconds() <= b.GetUpperBound() {
						want++
					}
				}
				if b.GetCumulativeCount() != want {
					t.Errorf("le=%v: got %d, want %d", b.GetUpperBound(), b.GetCumulativeCount(), want)
				}
			}
		})
	}
}

// Our numbers of the native buckets are the library's own.
func TestTimesAsTheLibrary(t *testing.T) {
	theirs := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "h", Help: "h", NativeHistogramBucketFactor: 1.19, NativeHistogramZeroThreshold: histogram.ZeroThreshold(),
	})
	var ours histogram.Histogram
	for d := time.Duration(1); d < 24*time.Hour; d += d/7 + 1 {
		theirs.Observe(d.Seconds())
		ours.Observe(d)
	}
	var got, want dto.Metric
	newTimes(probeDuration, &ours, powers{-3, 5, 1}, pair(frontendLabel, "f")).Write(&got)
	theirs.Write(&want)
	if got.Histogram.GetSchema() != want.Histogram.GetSchema() || got.Histogram.GetZeroCount() != want.Histogram.GetZeroCount() {
		t.Errorf("schema and zero bucket: got %d, %d; want %d, %d", got.Histogram.GetSchema(), got.Histogram.GetZeroCount(),
			want.Histogram.GetSchema(), want.Histogram.GetZeroCount())
	}
	if g, w := native(t, got.Histogram), native(t, want.Histogram); !maps.Equal(g, w) {
		t.Errorf("buckets: got %v, want %v", g, w)
	}
}
