//go:build linux

package balancer_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"

	"weir/frontend"
)

// schema is a JSON Schema, of the few keywords that ours uses. A keyword it does not know is an error, for a
// test that passes over it would hold less than it seems to.
type schema struct {
	Schema               string `json:"$schema"`
	Title, Description   string
	Type, Format         string
	Required             []string
	AdditionalProperties *bool
	Properties           map[string]schema
	Enum                 []any
	Const                any
	Pattern              string
	Minimum              *float64
	MinLength            int
}

var sessionSchema = sync.OnceValues(func() (*schema, error) {
	f, err := os.Open(filepath.FromSlash("../frontend/session-log.schema.json"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	d := json.NewDecoder(f)
	d.DisallowUnknownFields()
	s := new(schema)
	return s, d.Decode(s)
})

// checkSessionLine holds a line of a real session against frontend/session-log.schema.json.
func checkSessionLine(t *testing.T, line string) {
	t.Helper()
	s, err := sessionSchema()
	if err != nil {
		t.Fatal(err)
	}
	var value any
	if err := json.Unmarshal([]byte(line), &value); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	for _, fault := range s.faults("line", value) {
		t.Errorf("%s: %s", fault, line)
	}
}

// faults says what of the schema a value does not keep.
func (s *schema) faults(at string, value any) (list []string) {
	fault := func(format string, args ...any) { list = append(list, at+": "+fmt.Sprintf(format, args...)) }
	if s.Type != "" && !isA(s.Type, value) {
		fault("%v is no %s", value, s.Type)
	}
	if s.Enum != nil && !slices.Contains(s.Enum, value) {
		fault("%v is none of %v", value, s.Enum)
	}
	if s.Const != nil && value != s.Const {
		fault("%v is not %v", value, s.Const)
	}
	switch v := value.(type) {
	case string:
		if len(v) < s.MinLength || !regexp.MustCompile(s.Pattern).MatchString(v) {
			fault("%q does not match %s, or is too short", v, s.Pattern)
		}
		if _, err := time.Parse(time.RFC3339, v); s.Format == "date-time" && err != nil {
			fault("%v", err)
		}
	case float64:
		if s.Minimum != nil && v < *s.Minimum {
			fault("%v is less than %v", v, *s.Minimum)
		}
	case map[string]any:
		list = append(list, s.objectFaults(at, v)...)
	}
	return list
}

func (s *schema) objectFaults(at string, fields map[string]any) (list []string) {
	for _, name := range s.Required {
		if _, ok := fields[name]; !ok {
			list = append(list, at+": "+name+" is missing")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if property, ok := s.Properties[name]; ok {
			list = append(list, property.faults(at+"."+name, fields[name])...)
		} else if s.AdditionalProperties != nil && !*s.AdditionalProperties {
			list = append(list, at+": "+name+" is not in the schema")
		}
	}
	return list
}

func isA(kind string, value any) bool {
	switch v := value.(type) {
	case string:
		return kind == "string"
	case float64:
		return kind == "number" || kind == "integer" && v == math.Trunc(v)
	case map[string]any:
		return kind == "object"
	}
	return false
}

// The check of the schema finds what is wrong with a line.
func TestSchemaCheckFindsFaults(t *testing.T) {
	s, err := sessionSchema()
	if err != nil {
		t.Fatal(err)
	}
	good := `{"level":"info","frontend":"f","session":1,"client":"192.0.2.1:5","backend":"","waited_ms":0,"connect_ms":0.5,"total_ms":1,` +
		`"bytes_up":0,"bytes_down":0,"tries":0,"outcome":"normal","code":"--","time":"2026-01-02T03:04:05Z","message":"served connection"}`
	for change, want := range map[string][]string{
		`{}`:                      nil,
		`{"level":"warn"}`:        {"line.level: warn is none of [info error]"},
		`{"session":1.5}`:         {"line.session: 1.5 is no integer"},
		`{"bytes_up":-1}`:         {"line.bytes_up: -1 is less than 0"},
		`{"client":"nobody"}`:     {`line.client: "nobody" does not match ` + s.Properties["client"].Pattern + ", or is too short"},
		`{"client":7}`:            {"line.client: 7 is no string"},
		`{"outcome":"fine"}`:      {fmt.Sprintf("line.outcome: fine is none of %v", s.Properties["outcome"].Enum)},
		`{"message":"bye"}`:       {"line.message: bye is not served connection"},
		`{"error":""}`:            {`line.error: "" does not match , or is too short`},
		`{"new":1}`:               {"line: new is not in the schema"},
		`{"time":"noon"}`:         {`line.time: parsing time "noon" as "2006-01-02T15:04:05Z07:00": cannot parse "noon" as "2006"`},
		`{"tries":null,"code":1}`: {"line: tries is missing", "line.code: 1 is no string"},
	} {
		fields := map[string]any{}
		for _, text := range []string{good, change} {
			if err := json.Unmarshal([]byte(text), &fields); err != nil {
				t.Fatal(err)
			}
		}
		maps.DeleteFunc(fields, func(_ string, v any) bool { return v == nil })
		if got := s.faults("line", fields); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %q, want %q", change, got, want)
		}
	}
}

// Every test that waits for the end of a session checks its line. These are some of them in one place, on
// both engines; frontend's own test has those outcomes that are hard to come by.
func TestSessionLinesKeepToTheSchema(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		w, client, server := through(t, engine, "retries = 0")
		send(t, client, "hello")
		expect(t, server, "hello")
		client.CloseWrite()
		server.Close()
		expectEnd(t, client)
		w.wantEnd(frontend.Normal, "--")
	})
}
