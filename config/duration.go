package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Duration is a length of time, never negative. In the file it is text with units: "250ms", "5s",
// "1m30s". "0" and "0s" are no time at all, which some keys read as "never" or "no limit".
type Duration time.Duration

// String gives the shortest form that the file would take: "5m", not "5m0s".
func (d Duration) String() string {
	text := time.Duration(d).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// MarshalText gives [Duration.String], for the effective configuration.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// Std gives the duration to the rest of the program.
func (d Duration) Std() time.Duration { return time.Duration(d) }

func parseDuration(text string) (Duration, *fault) {
	if _, err := strconv.ParseFloat(text, 64); err == nil && text != "0" {
		return 0, bareNumber(text)
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, &fault{quote(text) + " is not a duration", durationHint(text)}
	}
	if d < 0 {
		return 0, &fault{quote(text) + " is negative", "a duration is 0s or more"}
	}
	return Duration(d), nil
}

// bareNumber objects to a number without a unit: whether 5 means seconds or milliseconds differs
// from one balancer to the next.
func bareNumber(number string) *fault {
	f := &fault{clean(number) + " has no unit", "durations have units"}
	text := strings.TrimPrefix(strings.ReplaceAll(number, "_", ""), "+") + "s"
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		f.hint += fmt.Sprintf(": did you mean %q?", text)
	}
	return f
}

// unitNames are the ways to write a unit that people try, as what [time.ParseDuration] knows. A day
// and a week have no sign there, so they become hours.
var unitNames = map[string]struct {
	unit   string
	factor int
}{
	"msec": {"ms", 1}, "millisecond": {"ms", 1},
	"sec": {"s", 1}, "second": {"s", 1}, "s": {"s", 1},
	"min": {"m", 1}, "minute": {"m", 1}, "m": {"m", 1},
	"hr": {"h", 1}, "hour": {"h", 1}, "h": {"h", 1}, "ms": {"ms", 1},
	"d": {"h", 24}, "day": {"h", 24}, "w": {"h", 168}, "week": {"h", 168},
}

func durationHint(text string) string {
	const general = `durations look like "250ms", "5s" or "1m30s"`
	text = strings.ToLower(text)
	split := strings.IndexFunc(text, unicode.IsLetter)
	if split < 1 {
		return general
	}
	count, err := strconv.ParseUint(strings.TrimSpace(text[:split]), 10, 32)
	name := strings.TrimSpace(text[split:])
	known, ok := unitNames[name]
	if !ok {
		known, ok = unitNames[strings.TrimSuffix(name, "s")]
	}
	if err != nil || !ok {
		return general
	}
	return fmt.Sprintf("did you mean \"%d%s\"?", count*uint64(known.factor), known.unit)
}
