package load

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
)

// Shape is how the rate changes in a phase.
type Shape string

// The shapes.
const (
	Constant Shape = "constant" // one rate
	Random   Shape = "random"   // another one each second, between the least and the most
	Sine     Shape = "sine"     // from the least to the most and back, once in the phase
	Ramp     Shape = "ramp"     // from the least to the most, evenly
)

var shapes = []Shape{Constant, Random, Sine, Ramp}

// Phase is a part of a run with rates of its own. A rate is in pieces of work a second; 0: a pause.
type Phase struct {
	Name     string
	Duration time.Duration
	Shape    Shape
	Min, Max float64
}

func total(phases []Phase) (d time.Duration) {
	for i := range phases {
		d += phases[i].Duration
	}
	return d
}

// maxRate and maxPhases are beyond what one process can do or a person can read.
const (
	maxRate    = 10_000_000
	maxPhases  = 1000
	maxRunTime = 30 * 24 * time.Hour
)

// phaseFile is the file as it is written.
type phaseFile struct {
	Seed   *int64 `toml:"seed"`
	Phases []struct {
		Name     string     `toml:"name"`
		Duration phaseTime  `toml:"duration"`
		Rate     *float64   `toml:"rate"`
		Min      *float64   `toml:"rate_min"`
		Max      *float64   `toml:"rate_max"`
		Shape    phaseShape `toml:"shape"`
	} `toml:"phase"`
}

// phaseTime is text with units, as everywhere in weir's files. It is no number itself, or go-toml would
// take a bare one.
type phaseTime struct{ time.Duration }

// UnmarshalText reads "5m".
func (t *phaseTime) UnmarshalText(text []byte) error {
	d, err := time.ParseDuration(string(text))
	if err != nil || d <= 0 {
		return fmt.Errorf(`%q is not a duration such as "30s" or "5m"`, text)
	}
	t.Duration = d
	return nil
}

// phaseShape is one of the shapes.
type phaseShape struct{ Shape }

// UnmarshalText takes the name of a shape.
func (s *phaseShape) UnmarshalText(text []byte) error {
	if !slices.Contains(shapes, Shape(text)) {
		return fmt.Errorf("%q is none of constant, random, sine, ramp", text)
	}
	s.Shape = Shape(text)
	return nil
}

// LoadPhases reads phases from a file, and the seed if it has one.
func LoadPhases(path string) (phases []Phase, seed *uint64, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, fmt.Errorf("read phases: %w", err)
	}
	return ParsePhases(path, data)
}

// ParsePhases reads the content of such a file. The error names the file, and where it can the line and
// the column.
func ParsePhases(name string, data []byte) ([]Phase, *uint64, error) {
	var file phaseFile
	d := toml.NewDecoder(bytes.NewReader(data)).DisallowUnknownFields()
	if err := d.Decode(&file); err != nil {
		return nil, nil, positioned(name, err)
	}
	if len(file.Phases) == 0 || len(file.Phases) > maxPhases {
		return nil, nil, fmt.Errorf("%s: has %d [[phase]] tables, want 1 to %d", name, len(file.Phases), maxPhases)
	}
	phases := make([]Phase, len(file.Phases))
	for i, f := range file.Phases {
		p := Phase{Name: f.Name, Duration: f.Duration.Duration, Shape: f.Shape.Shape}
		if err := p.complete(i, f.Rate, f.Min, f.Max); err != nil {
			return nil, nil, fmt.Errorf("%s: phase[%d]: %w", name, i, err)
		}
		phases[i] = p
	}
	if total(phases) > maxRunTime {
		return nil, nil, fmt.Errorf("%s: the phases last %v, want at most %v", name, total(phases), maxRunTime)
	}
	if file.Seed == nil {
		return phases, nil, nil
	}
	seed := uint64(*file.Seed)
	return phases, &seed, nil
}

// complete fills in what is left out and checks the rest.
func (p *Phase) complete(i int, rate, least, most *float64) error {
	if p.Name == "" {
		p.Name = fmt.Sprintf("phase %d", i+1)
	}
	if p.Duration == 0 {
		return errors.New(`duration is missing: how long is it, such as "5m"?`)
	}
	if p.Shape == "" {
		p.Shape = Constant
	}
	if err := p.setRates(rate, least, most); err != nil {
		return err
	}
	if !(p.Min >= 0 && p.Max >= p.Min && p.Max <= maxRate) {
		return fmt.Errorf("rates %v to %v: want 0 or more, the least first, at most %v", p.Min, p.Max, float64(maxRate))
	}
	return nil
}

func (p *Phase) setRates(rate, least, most *float64) error {
	switch {
	case p.Shape == Constant && rate != nil && least == nil && most == nil:
		p.Min, p.Max = *rate, *rate
		return nil
	case p.Shape == Constant:
		return errors.New(`shape "constant" wants rate, and no rate_min or rate_max`)
	case rate == nil && least != nil && most != nil:
		p.Min, p.Max = *least, *most
		return nil
	}
	return fmt.Errorf("shape %q wants rate_min and rate_max, and no rate", p.Shape)
}

// positioned says where in the file go-toml found a mistake.
func positioned(name string, err error) error {
	var strict *toml.StrictMissingError
	if errors.As(err, &strict) {
		var lines []string
		for i := range strict.Errors {
			e := &strict.Errors[i]
			row, column := e.Position()
			lines = append(lines, fmt.Sprintf("%s:%d:%d: unknown key %s", name, row, column, strings.Join(e.Key(), ".")))
		}
		return errors.New(strings.Join(lines, "\n"))
	}
	var at *toml.DecodeError
	if errors.As(err, &at) {
		row, column := at.Position()
		return fmt.Errorf("%s:%d:%d: %s", name, row, column, strings.TrimPrefix(at.Error(), "toml: "))
	}
	return fmt.Errorf("%s: %w", name, err)
}
