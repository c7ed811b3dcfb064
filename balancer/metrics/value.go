package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// label is a label with its value. Many metrics share one, which makes a scrape half as expensive as with the
// library's constant metrics, each of which has labels of its own. They are given in the order of their names.
type label = *dto.LabelPair

func pair(name, value string) label { return &dto.LabelPair{Name: &name, Value: &value} }

// value is a counter or a gauge.
type value struct {
	desc    *prometheus.Desc
	labels  []label
	x       float64
	counter bool
}

// Desc is for the registry.
func (v *value) Desc() *prometheus.Desc { return v.desc }

// Write is for the registry.
func (v *value) Write(m *dto.Metric) error {
	m.Label = v.labels
	if v.counter {
		m.Counter = &dto.Counter{Value: &v.x}
	} else {
		m.Gauge = &dto.Gauge{Value: &v.x}
	}
	return nil
}

// sender is where metrics go.
type sender chan<- prometheus.Metric

func (out sender) counter(d *prometheus.Desc, n uint64, labels ...label) {
	out <- &value{d, labels, float64(n), true}
}

func (out sender) gauge(d *prometheus.Desc, x float64, labels ...label) {
	out <- &value{d, labels, x, false}
}
