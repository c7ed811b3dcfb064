//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// report is all tables, told as they are ready.
type report struct {
	Date     string            `json:"date"`
	Kernel   string            `json:"kernel"`
	Cores    int               `json:"cores"`
	Rounds   int               `json:"rounds"`
	Seconds  float64           `json:"seconds_each"`
	Versions map[string]string `json:"versions"`
	Tables   []*table          `json:"tables"`

	names []string
}

// table is one row of work: its figures for each proxy.
type table struct {
	Work    string                          `json:"work"`
	Figures []string                        `json:"figures"`
	Samples map[string]map[string][]float64 `json:"samples"` // by proxy and figure
	Medians map[string]sample               `json:"medians"`
	// Ratios are the reactor's figures by those of the best peer, round by round: medians.
	Ratios sample   `json:"ratios"`
	Errors []string `json:"errors,omitempty"`

	rounds map[string]map[string][]int // in which the samples were taken
}

func newTable(work string, figures []string) *table {
	return &table{
		Work: work, Figures: figures, Samples: map[string]map[string][]float64{}, Medians: map[string]sample{}, Ratios: sample{},
		rounds: map[string]map[string][]int{},
	}
}

func (t *table) add(round int, name string, s sample) {
	if t.Samples[name] == nil {
		t.Samples[name], t.rounds[name] = map[string][]float64{}, map[string][]int{}
	}
	for figure, v := range s {
		t.Samples[name][figure] = append(t.Samples[name][figure], v)
		t.rounds[name][figure] = append(t.rounds[name][figure], round)
	}
}

func (t *table) failed(name string, err error) { t.Errors = append(t.Errors, name+": "+err.Error()) }

func newReport(o options, proxies []*proxy) *report {
	var u unix.Utsname
	unix.Uname(&u)
	r := &report{
		Date: time.Now().Format(time.DateOnly), Kernel: unix.ByteSliceToString(u.Release[:]), Cores: cores(),
		Rounds: o.rounds, Seconds: o.each.Seconds(), Versions: map[string]string{},
	}
	fmt.Printf("%s, Linux %s, %d cores, medians of %d rounds of %v (headlines with quartiles); ratios are medians of the ratios of each round\n\n", r.Date, r.Kernel, r.Cores, r.Rounds, o.each)
	for _, p := range proxies {
		r.names = append(r.names, p.name)
		r.Versions[p.name] = p.version
		fmt.Printf("- %s: %s\n", p.name, p.version)
	}
	return r
}

// add finishes a table and prints it.
func (r *report) add(t *table) {
	t.takeMedians()
	for _, figure := range t.Figures {
		t.Ratios[figure] = t.ratio(figure)
	}
	fmt.Printf("\n**%s**\n\n| | %s | weir reactor / best peer |\n|---|%s---:|\n", t.Work, strings.Join(r.names, " | "), strings.Repeat("---:|", len(r.names)))
	for _, figure := range t.Figures {
		fmt.Printf("| %s |", figure)
		for _, name := range r.names {
			fmt.Printf(" %s%s |", t.cell(name, figure), t.spread(name, figure))
		}
		fmt.Printf(" %s |\n", ratioText(t.Ratios[figure]))
	}
	r.close(t)
}

func (t *table) cell(name, figure string) string {
	v, ok := t.Medians[name][figure]
	if !ok {
		return "–"
	}
	return short(v)
}

// spread tells the quartiles of the headline: how much the machine wandered.
func (t *table) spread(name, figure string) string {
	values := slices.Sorted(slices.Values(t.Samples[name][figure]))
	if figure != t.Figures[0] || len(values) < 4 {
		return ""
	}
	return fmt.Sprintf(" (%s–%s)", short(values[len(values)/4]), short(values[len(values)*3/4]))
}

// short writes three digits.
func short(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// ratioText has no number where a peer has nothing to compare with.
func ratioText(v float64) string {
	if v == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f", v)
}

// ratio compares the reactor with the better of the peers.
func (t *table) ratio(figure string) (worst float64) {
	for _, peer := range []string{"HAProxy", "nginx"} {
		r := t.against("weir reactor", peer, figure)
		if r != 0 && (worst == 0 || (r < worst) == higherIsBetter(figure)) {
			worst = r
		}
	}
	return worst
}

// against compares two within each round in which both were measured, and returns the median: the machine may be
// twice as fast in one round as in another. 0: there is nothing to compare.
func (t *table) against(name, other, figure string) float64 {
	var ratios []float64
	for i, round := range t.rounds[name][figure] {
		j := slices.Index(t.rounds[other][figure], round)
		if j >= 0 && t.Samples[other][figure][j] != 0 {
			ratios = append(ratios, t.Samples[name][figure][i]/t.Samples[other][figure][j])
		}
	}
	if len(ratios) == 0 {
		return 0
	}
	return median(ratios)
}

func higherIsBetter(figure string) bool {
	return strings.HasSuffix(figure, "/s") && !strings.HasPrefix(figure, "CPU")
}

func median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	if n%2 == 1 {
		return v[n/2]
	}
	return (v[n/2-1] + v[n/2]) / 2
}

func (r *report) writeJSON(file string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}

func cores() int {
	var set unix.CPUSet
	unix.SchedGetaffinity(0, &set)
	return set.Count()
}

// addPools finishes the table of pools, which compares sizes in place of proxies.
func (r *report) addPools(t *table, sizes []int) {
	t.takeMedians()
	fmt.Printf("\n**%s**\n\n| strategy |", t.Work)
	for _, n := range sizes {
		fmt.Printf(" %d |", n)
	}
	fmt.Printf(" most / least |\n|---|%s---:|\n", strings.Repeat("---:|", len(sizes)))
	for _, strategy := range t.Figures {
		var all []float64
		fmt.Printf("| %s |", strategy)
		for _, n := range sizes {
			fmt.Printf(" %s |", t.cell(strconv.Itoa(n), strategy))
			if r := t.against(strconv.Itoa(n), strconv.Itoa(sizes[0]), strategy); r != 0 {
				all = append(all, r)
			}
		}
		if len(all) > 0 {
			t.Ratios[strategy] = slices.Max(all) / slices.Min(all)
		}
		fmt.Printf(" %.2f |\n", t.Ratios[strategy])
	}
	r.close(t)
}

// close keeps a table that is printed, and says what is not in it.
func (r *report) close(t *table) {
	r.Tables = append(r.Tables, t)
	for _, e := range t.Errors {
		fmt.Printf("\nnot measured: %s\n", e)
	}
}

func (t *table) takeMedians() {
	for name, figures := range t.Samples {
		t.Medians[name] = sample{}
		for figure, values := range figures {
			t.Medians[name][figure] = median(values)
		}
	}
}
