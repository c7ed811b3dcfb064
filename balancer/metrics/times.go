package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"weir/backend/histogram"
)

// times is a histogram of durations with both kinds of buckets: classic ones, which every scraper reads, and
// native ones, which go with protocol buffers and have four to each power of two. Constant metrics of the
// library have one kind or the other.
type times struct {
	desc    *prometheus.Desc
	labels  []label
	counted histogram.Snapshot
	classic powers
}

// powers says where the classic buckets are: see Snapshot.Fold.
type powers struct{ first, last, step int }

func newTimes(d *prometheus.Desc, h *histogram.Histogram, classic powers, labels ...label) *times {
	return &times{d, labels, h.Snapshot(), classic}
}

// Desc is for the registry.
func (t *times) Desc() *prometheus.Desc { return t.desc }

// Write is for the registry.
func (t *times) Write(m *dto.Metric) error {
	s := &t.counted
	h := &dto.Histogram{
		SampleCount:   new(s.Count),
		SampleSum:     new(s.Sum.Seconds()),
		Schema:        new(int32(histogram.Schema)),
		ZeroThreshold: new(histogram.ZeroThreshold()),
		ZeroCount:     new(s.Zero()),
	}
	for _, b := range s.Fold(t.classic.first, t.classic.last, t.classic.step) {
		h.Bucket = append(h.Bucket, &dto.Bucket{UpperBound: new(b.UpTo), CumulativeCount: new(b.Count)})
	}
	h.PositiveSpan, h.PositiveDelta = spans(s)
	m.Label, m.Histogram = t.labels, h
	return nil
}

// spans writes down the buckets that are not empty, as the exposition format wants them: where they are, each
// run by its distance from the one before, and by how much each count differs from the last.
func spans(s *histogram.Snapshot) (list []*dto.BucketSpan, deltas []int64) {
	next, last := 0, int64(0)
	for i, n := range s.Buckets[1:] {
		if n == 0 {
			continue
		}
		index := histogram.FirstIndex + 1 + i
		if len(list) == 0 || index > next {
			list = append(list, &dto.BucketSpan{Offset: new(int32(index - next)), Length: new(uint32(0))})
		}
		*list[len(list)-1].Length++
		deltas = append(deltas, int64(n)-last)
		next, last = index+1, int64(n)
	}
	return list, deltas
}
