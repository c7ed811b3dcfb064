package load

import (
	"strings"
	"testing"
	"time"
)

func TestParsePhases(t *testing.T) {
	phases, seed, err := ParsePhases("f.toml", []byte(`seed = 7
[[phase]]
name = "quiet"
duration = "5m"
rate = 200
[[phase]]
duration = "2m"
shape = "random"
rate_min = 1000
rate_max = 2e3
`))
	if err != nil {
		t.Fatal(err)
	}
	want := []Phase{{"quiet", 5 * time.Minute, Constant, 200, 200}, {"phase 2", 2 * time.Minute, Random, 1000, 2000}}
	if len(phases) != 2 || phases[0] != want[0] || phases[1] != want[1] {
		t.Errorf("got %+v, want %+v", phases, want)
	}
	if seed == nil || *seed != 7 {
		t.Errorf("seed: got %v, want 7", seed)
	}
}

func TestPhaseMistakes(t *testing.T) {
	const good = "[[phase]]\nduration = \"1s\"\nrate = 1\n"
	for _, c := range []struct{ name, file, want string }{
		{"empty", "", "f.toml: has 0 [[phase]] tables"},
		{"syntax", "[[phase]\n", "f.toml:1:8: "},
		{"unknown key", good + "pace = 3\n", "f.toml:4:1: unknown key phase.pace"},
		{"no unit", "[[phase]]\nduration = \"5\"\nrate = 1\n", `f.toml:2:12: `},
		{"bare number", "[[phase]]\nduration = 5\nrate = 1\n", `f.toml: "5" is not a duration`},
		{"shape", good + "shape = \"square\"\n", `"square" is none of constant, random, sine, ramp`},
		{"no duration", "[[phase]]\nrate = 1\n", "f.toml: phase[0]: duration is missing"},
		{"no rate", good + "[[phase]]\nduration = \"1s\"\n", `f.toml: phase[1]: shape "constant" wants rate`},
		{"two rates", good + "rate_min = 1\n", `shape "constant" wants rate, and no rate_min`},
		{"rate of a sine", good + "shape = \"sine\"\n", `shape "sine" wants rate_min and rate_max`},
		{"negative", "[[phase]]\nduration = \"1s\"\nrate = -1\n", "rates -1 to -1"},
		{"upside down", "[[phase]]\nduration = \"1s\"\nshape = \"ramp\"\nrate_min = 2\nrate_max = 1\n", "the least first"},
		{"not a number", "[[phase]]\nduration = \"1s\"\nrate = nan\n", "rates NaN"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := ParsePhases("f.toml", []byte(c.file))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q in it", err, c.want)
			}
		})
	}
}

func FuzzParsePhases(f *testing.F) {
	f.Add([]byte("seed = 1\n[[phase]]\nduration = \"1s\"\nshape = \"sine\"\nrate_min = 1\nrate_max = 2\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		phases, _, err := ParsePhases("f", data)
		if err != nil {
			return
		}
		s := newSchedule(&Options{Phases: phases, Count: 100})
		for last := time.Duration(0); ; {
			next, ok := s.next()
			if !ok || next.at > time.Hour { // or a long silence would be walked through
				return
			}
			if next.at < last {
				t.Fatalf("start at %v after one at %v", next.at, last)
			}
			last = next.at
		}
	})
}
