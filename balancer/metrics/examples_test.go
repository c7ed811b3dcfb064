package metrics_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"

	"weir/balancer/metrics"
)

const (
	rulesFile     = "../../examples/prometheus/rules.yml"
	dashboardFile = "../../examples/prometheus/dashboard.json"
)

func read(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// promtool runs Prometheus's own checker, and returns what it says.
func promtool(t *testing.T, input string, args ...string) string {
	t.Helper()
	tool, err := exec.LookPath("promtool")
	switch {
	case err != nil && os.Getenv("CI") == "true":
		t.Fatal("promtool is missing (Debian: prometheus)")
	case err != nil:
		t.Skip("promtool is missing (Debian: prometheus)")
	}
	c := exec.CommandContext(t.Context(), tool, args...)
	c.Stdin = strings.NewReader(input)
	said, err := c.CombinedOutput()
	if err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, said)
	}
	return string(said)
}

func TestPromtoolCheckMetrics(t *testing.T) {
	text, _ := ask(t, metrics.Handler(busy(t, "auto"), "1.2.3"), "text/plain")
	if said := promtool(t, text, "check", "metrics"); said != "" {
		t.Errorf("promtool check metrics: %s", said)
	}
}

func TestPromtoolCheckRules(t *testing.T) {
	if said := promtool(t, "", "check", "rules", rulesFile); !strings.Contains(said, "SUCCESS") {
		t.Errorf("promtool check rules: %s", said)
	}
}

// The alerts are raised when they should, and only then.
func TestPromtoolTestRules(t *testing.T) {
	dir := t.TempDir()
	for _, file := range []string{rulesFile, "testdata/rules_test.yml"} {
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(file)), []byte(read(t, file)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if said := promtool(t, "", "test", "rules", filepath.Join(dir, "rules_test.yml")); !strings.Contains(said, "SUCCESS") {
		t.Errorf("promtool test rules: %s", said)
	}
}

// dashboard is what is checked of the JSON.
type dashboard struct {
	Title      string
	Templating struct {
		List []struct {
			Name, Type string
			Definition string
		}
	}
	Annotations struct{ List []struct{ Expr string } }
	Panels      []struct {
		ID                 int
		Type               string
		Title, Description string
		GridPos            struct{ X, Y, W, H int }
		Targets            []struct {
			Expr       string
			Datasource struct{ UID string }
		}
	}
}

func readDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	if err := json.Unmarshal([]byte(read(t, dashboardFile)), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// queries returns all PromQL of the dashboard.
func (d *dashboard) queries() (list []string) {
	for _, a := range d.Annotations.List {
		list = append(list, a.Expr)
	}
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			list = append(list, target.Expr)
		}
	}
	return list
}

func TestDashboard(t *testing.T) {
	d := readDashboard(t)
	if len(d.Panels) < 10 {
		t.Fatalf("%d panels", len(d.Panels))
	}
	taken := map[[2]int]string{}
	for i, p := range d.Panels {
		if p.ID != i+1 || p.Title == "" || p.Description == "" || len(p.Targets) == 0 {
			t.Errorf("panel %d (%s): number, title, description or queries are missing", p.ID, p.Title)
		}
		for _, target := range p.Targets {
			if target.Datasource.UID != "${datasource}" {
				t.Errorf("panel %s is bound to data source %s", p.Title, target.Datasource.UID)
			}
		}
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other, is := taken[[2]int{x, y}]; is || x >= 24 {
					t.Fatalf("panel %s lies over %s", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
	}
	text := read(t, dashboardFile)
	for _, v := range d.Templating.List {
		if !strings.Contains(text, "$"+v.Name) && !strings.Contains(text, "${"+v.Name+"}") {
			t.Errorf("variable %s is not used", v.Name)
		}
	}
}

// The queries of the dashboard are PromQL, once Grafana has put in its variables.
func TestPromtoolCheckDashboard(t *testing.T) {
	d := readDashboard(t)
	rules := bytes.NewBufferString("groups:\n- name: dashboard\n  rules:\n")
	fill := strings.NewReplacer("$__rate_interval", "5m", "$__interval", "1m", "$instance", ".*", "$frontend", ".*")
	for i, q := range d.queries() {
		q = fill.Replace(q)
		if strings.Contains(q, "$") {
			t.Errorf("a variable that is not known: %s", q)
		}
		fmt.Fprintf(rules, "  - record: weir:query%d\n    expr: %q\n", i, q)
	}
	file := filepath.Join(t.TempDir(), "dashboard.yml")
	if err := os.WriteFile(file, rules.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if said := promtool(t, "", "check", "rules", file); !strings.Contains(said, "SUCCESS") {
		t.Errorf("promtool check rules: %s", said)
	}
}

var (
	metricName = regexp.MustCompile(`\b(?:weir|process|go)_[a-z0-9_]+`)
	selector   = regexp.MustCompile(`(weir_[a-z_]+)\{([^}]*)\}`)
	matcher    = regexp.MustCompile(`([a-z]+)(=~|!~|!=|=)"([^"]*)"`)
)

// Every metric, label and value that the examples ask for is there.
func TestExamplesKnowTheMetrics(t *testing.T) {
	s := gather(t, busy(t, "auto"))
	d := readDashboard(t)
	asked := map[string]string{rulesFile: expressions(read(t, rulesFile)), dashboardFile: strings.Join(d.queries(), "\n")}
	for _, v := range d.Templating.List {
		asked[dashboardFile] += "\n" + v.Definition
	}
	for file, text := range asked {
		names := metricName.FindAllString(text, -1)
		if len(names) < 10 {
			t.Errorf("%s asks for %d metrics", file, len(names))
		}
		for _, name := range names {
			if s.family(name) == nil {
				t.Errorf("%s: there is no metric %s", file, name)
			}
		}
		for _, sel := range selector.FindAllStringSubmatch(text, -1) {
			for _, m := range matcher.FindAllStringSubmatch(sel[2], -1) {
				s.checkMatcher(t, file, s.family(sel[1]), m[1], m[3])
			}
		}
	}
}

// expressions returns the lines of the rules that are not for people.
func expressions(rules string) string {
	var list []string
	for line := range strings.Lines(rules) {
		words := strings.TrimSpace(line)
		if !strings.HasPrefix(words, "#") && !strings.HasPrefix(words, "summary:") && !strings.HasPrefix(words, "description:") {
			list = append(list, line)
		}
	}
	return strings.Join(list, "")
}

// family returns the metric that a name in a query is about, which for a histogram may be one of its parts.
func (s scrape) family(name string) *dto.MetricFamily {
	if f := s[name]; f != nil && f.GetType() != dto.MetricType_HISTOGRAM {
		return f
	}
	for _, part := range []string{"_bucket", "_sum", "_count"} {
		if whole, is := strings.CutSuffix(name, part); is && s[whole].GetType() == dto.MetricType_HISTOGRAM {
			return s[whole]
		}
	}
	return nil
}

// checkMatcher holds words that a query asks for to those that a label can have.
func (s scrape) checkMatcher(t *testing.T, file string, f *dto.MetricFamily, label, words string) {
	t.Helper()
	if f == nil || label == "instance" || strings.HasPrefix(words, "$") {
		return
	}
	known := map[string]bool{}
	for _, m := range f.GetMetric() {
		for _, l := range m.GetLabel() {
			if l.GetName() == label {
				known[l.GetValue()] = true
			}
		}
	}
	for word := range strings.SplitSeq(words, "|") {
		if !known[word] {
			t.Errorf("%s: %s never has %s=%q", file, f.GetName(), label, word)
		}
	}
}
