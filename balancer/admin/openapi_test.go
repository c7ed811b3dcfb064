package admin_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/balancer/admin"
)

// schema is what of JSON Schema openapi.json uses. A word that is not here is an error when it is read.
type schema struct {
	Ref         string             `json:"$ref"`
	Type        oneOrMore          `json:"type"`
	Format      string             `json:"format"`
	Description string             `json:"description"`
	Enum        []string           `json:"enum"`
	Default     any                `json:"default"`
	Minimum     *float64           `json:"minimum"`
	Maximum     *float64           `json:"maximum"`
	Items       *schema            `json:"items"`
	Properties  map[string]*schema `json:"properties"`
	Required    []string           `json:"required"`
	Additional  *additional        `json:"additionalProperties"`
}

type oneOrMore []string

func (o *oneOrMore) UnmarshalJSON(text []byte) error {
	if text[0] == '[' {
		return json.Unmarshal(text, (*[]string)(o))
	}
	*o = []string{""}
	return json.Unmarshal(text, &(*o)[0])
}

// additional is false, or a schema.
type additional struct{ schema *schema }

func (a *additional) UnmarshalJSON(text []byte) error {
	if string(text) == "false" {
		return nil
	}
	return json.Unmarshal(text, &a.schema)
}

type content map[string]struct {
	Schema *schema `json:"schema"`
}

type operation struct {
	OperationID string `json:"operationId"`
	Parameters  []struct {
		Name, In string
		Required bool
		Schema   *schema
	} `json:"parameters"`
	RequestBody *struct {
		Required bool
		Content  content
	} `json:"requestBody"`
	Responses map[string]struct {
		Ref     string `json:"$ref"`
		Content content
	} `json:"responses"`
}

type description struct {
	OpenAPI    string                          `json:"openapi"`
	Paths      map[string]map[string]operation `json:"paths"`
	Components struct {
		Schemas   map[string]*schema `json:"schemas"`
		Responses map[string]struct {
			Content content `json:"content"`
		} `json:"responses"`
	} `json:"components"`
}

func readDescription(t *testing.T) *description {
	t.Helper()
	data, err := os.ReadFile("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	d := new(description)
	if err := json.Unmarshal(data, d); err != nil || d.OpenAPI != "3.1.0" {
		t.Fatalf("openapi.json: %v, version %s", err, d.OpenAPI)
	}
	return d
}

// Every route is described, and everything described is a route.
func TestEveryRouteIsDescribed(t *testing.T) {
	h := open(t, admin.Options{})
	var described []string
	ids := map[string]bool{}
	for path, operations := range readDescription(t).Paths {
		for method, o := range operations {
			described = append(described, strings.ToUpper(method)+" "+path)
			if ids[o.OperationID] || o.OperationID == "" {
				t.Errorf("%s %s: the operationId %q is there twice", method, path, o.OperationID)
			}
			ids[o.OperationID] = true
			if o.Responses["default"].Ref != "#/components/responses/problem" {
				t.Errorf("%s %s: no problem", method, path)
			}
			if changes := method != "get"; changes != (o.RequestBody != nil) {
				t.Errorf("%s %s: has a body: %v", method, path, o.RequestBody != nil)
			}
			for _, p := range o.Parameters {
				if p.In == "path" != strings.Contains(path, "{"+p.Name+"}") {
					t.Errorf("%s %s: parameter %s in %s", method, path, p.Name, p.In)
				}
			}
		}
	}
	routes := h.Patterns()
	slices.Sort(routes)
	slices.Sort(described)
	if !slices.Equal(routes, described) {
		t.Errorf("got routes\n%s\nand descriptions of\n%s", strings.Join(routes, "\n"), strings.Join(described, "\n"))
	}
}

func TestDescriptionIsServed(t *testing.T) {
	h := open(t, admin.Options{})
	a := h.do(t, "GET", "/v1/openapi.json", "")
	want, _ := os.ReadFile("openapi.json")
	if a.body != string(want) || a.header.Get("Content-Type") != "application/json" {
		t.Errorf("got %s of %d bytes, want the file's %d", a.header.Get("Content-Type"), len(a.body), len(want))
	}
	h.do(t, "GET", "/v1/openapi.json", "", "If-None-Match", a.header.Get("ETag")).want(t, 304, "")
}

// Every type that goes over the wire is a schema with the same properties.
func TestSchemasAreTheTypes(t *testing.T) {
	d := readDescription(t)
	types := map[string]reflect.Type{}
	for _, v := range []any{
		admin.Status{}, admin.SessionPage{}, admin.Session{}, admin.KillSelector{}, admin.Killed{}, admin.BackendChange{}, admin.NewBackend{},
		admin.PlanRequest{}, admin.Plan{}, admin.Upgraded{}, admin.Saved{}, admin.FailedBack{}, admin.Why{}, admin.Event{}, admin.Problem{},
	} {
		collect(reflect.TypeOf(v), types)
	}
	for name, of := range types {
		s := d.Components.Schemas[name]
		if s == nil {
			t.Errorf("no schema %s", name)
			continue
		}
		compare(t, s, of)
	}
	for name := range d.Components.Schemas {
		if types[name] == nil {
			t.Errorf("the schema %s is of no type", name)
		}
	}
	for schema, words := range map[string][]string{
		"Backend.state": admin.BackendStates, "Session.state": admin.SessionStates, "Event.kind": admin.EventKinds, "BackendChange.state": admin.AdminStates,
	} {
		name, property, _ := strings.Cut(schema, ".")
		if got := d.Components.Schemas[name].Properties[property].Enum; !slices.Equal(got, words) {
			t.Errorf("%s: got %q, want %q", schema, got, words)
		}
	}
}

// collect finds the structs inside a type.
func collect(of reflect.Type, types map[string]reflect.Type) {
	switch of.Kind() {
	case reflect.Pointer, reflect.Slice:
		collect(of.Elem(), types)
	case reflect.Struct:
		if of == reflect.TypeFor[time.Time]() || types[of.Name()] != nil {
			return
		}
		types[of.Name()] = of
		for i := range of.NumField() {
			collect(of.Field(i).Type, types)
		}
	}
}

func compare(t *testing.T, s *schema, of reflect.Type) {
	t.Helper()
	var names, required []string
	for i := range of.NumField() {
		f := of.Field(i)
		name, rest, _ := strings.Cut(f.Tag.Get("json"), ",")
		names = append(names, name)
		if rest == "" {
			required = append(required, name)
		}
		p := s.Properties[name]
		if p == nil {
			t.Errorf("%s has no %s", of.Name(), name)
		} else if got, want := wire(p), wireOf(f.Type, rest != ""); got != want {
			t.Errorf("%s.%s: got %s, want %s", of.Name(), name, got, want)
		}
	}
	for name := range s.Properties {
		if !slices.Contains(names, name) {
			t.Errorf("%s has %s, which the type has not", of.Name(), name)
		}
	}
	slices.Sort(required)
	if got := slices.Sorted(slices.Values(s.Required)); !slices.Equal(got, required) {
		t.Errorf("%s requires %q, want %q", of.Name(), got, required)
	}
}

// wire names what a schema allows, and wireOf what a type gives.
func wire(s *schema) string {
	switch {
	case s.Ref != "":
		return path.Base(s.Ref)
	case s.Items != nil:
		return "list of " + wire(s.Items)
	case s.Additional != nil && s.Additional.schema != nil:
		return "map of " + wire(s.Additional.schema)
	}
	return strings.TrimSpace(strings.Join(s.Type, " or ") + " " + s.Format)
}

func wireOf(of reflect.Type, optional bool) string {
	switch of.Kind() {
	case reflect.Pointer:
		if optional {
			return wireOf(of.Elem(), false)
		}
		return wireOf(of.Elem(), false) + " or null"
	case reflect.Slice:
		return "list of " + wireOf(of.Elem(), false)
	case reflect.Map:
		return "map of " + wireOf(of.Elem(), false)
	case reflect.Int, reflect.Uint64:
		return "integer"
	case reflect.Float64:
		return "number"
	case reflect.Bool:
		return "boolean"
	case reflect.String:
		return "string"
	}
	if of == reflect.TypeFor[time.Time]() {
		return "string date-time"
	}
	return of.Name()
}

// What the door answers is as described.
func TestAnswersAreAsDescribed(t *testing.T) {
	d := readDescription(t)
	h := open(t, admin.Options{})
	h.op.Planned.Changes = []admin.Change{{Action: "change", Frontend: "pg", Backend: "db1", Key: "weight", From: "1", To: "3"}}
	answered := map[string]bool{}
	for _, c := range []struct{ pattern, path, body string }{
		{"GET /v1/status", "", ""},
		{"GET /v1/openapi.json", "", ""},
		{"GET /v1/sessions", "/v1/sessions?tcp_info=true", ""},
		{"GET /v1/sessions", "/v1/sessions?backend=none", ""},
		{"GET /v1/sessions/{id}", "/v1/sessions/1", ""},
		{"GET /v1/sessions/{id}", "/v1/sessions/4", ""},
		{"POST /v1/sessions/kill", "", `{"id":1}`},
		{"GET /v1/frontends/{frontend}/backends/{backend}", "/v1/frontends/pg/backends/db1", ""},
		{"POST /v1/frontends/{frontend}/backends", "/v1/frontends/pg/backends", `{"address":"10.0.0.7:5432","name":"db3","weight":2,"limit":5,"backup":true}`},
		{"PATCH /v1/frontends/{frontend}/backends/{backend}", "/v1/frontends/pg/backends/db1", `{"state":"maint","weight":0,"limit":7}`},
		{"DELETE /v1/frontends/{frontend}/backends/{backend}", "/v1/frontends/pg/backends/db1", ""},
		{"GET /v1/why", "/v1/why?client=192.0.2.1", ""},
		{"GET /v1/why", "/v1/why?client=203.0.113.1&frontend=pg", ""},
		{"POST /v1/plan", "", `{"file":"/x","text":"[frontend]\nbind_on=\":7\"\nbackend={forward_to=\"a:1\"}"}`},
		{"POST /v1/reload", "", ""},
		{"POST /v1/upgrade", "", "{}"},
		{"POST /v1/save", "", ""},
		{"POST /v1/frontends/{frontend}/failback", "/v1/frontends/pg/failback", ""},
	} {
		method, pattern, _ := strings.Cut(c.pattern, " ")
		if c.path == "" {
			c.path = pattern
		}
		o := d.Paths[pattern][strings.ToLower(method)]
		if c.body != "" {
			d.check(t, c.pattern+", body", o.RequestBody.Content["application/json"].Schema, decode(t, c.body))
		}
		a := h.send(t, method, c.path, c.body)
		a.want(t, 200, "")
		d.check(t, c.pattern, o.Responses["200"].Content[a.header.Get("Content-Type")].Schema, decode(t, a.body))
		answered[c.pattern] = true
	}
	bad := h.do(t, "GET", "/v1/none", "")
	d.check(t, "a problem", d.Components.Responses["problem"].Content["application/problem+json"].Schema, decode(t, bad.body))
	for _, pattern := range h.Patterns() {
		if plain := []string{"GET /healthz", "GET /readyz", "GET /metrics", "GET /v1/events"}; !answered[pattern] && !slices.Contains(plain, pattern) {
			t.Errorf("%s was not asked", pattern)
		}
	}
}

func decode(t *testing.T, text string) (value any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return value
}

func (d *description) check(t *testing.T, where string, s *schema, value any) {
	t.Helper()
	if s == nil {
		t.Errorf("%s: no schema", where)
		return
	}
	for _, fault := range d.faults(where, s, value) {
		t.Error(fault)
	}
}

// faults returns where a value is not as the schema says. Properties that are not described are faults.
func (d *description) faults(where string, s *schema, value any) (list []string) {
	if name, ok := strings.CutPrefix(s.Ref, "#/components/schemas/"); ok {
		s = d.Components.Schemas[name]
	}
	if !slices.ContainsFunc(s.Type, func(kind string) bool { return isA(kind, value) }) {
		return []string{fmt.Sprintf("%s: got %v, want %v", where, value, s.Type)}
	}
	switch v := value.(type) {
	case map[string]any:
		return d.faultsOfObject(where, s, v)
	case []any:
		for i, e := range v {
			list = append(list, d.faults(fmt.Sprintf("%s[%d]", where, i), s.Items, e)...)
		}
	case string:
		_, err := time.Parse(time.RFC3339, v)
		if s.Enum != nil && !slices.Contains(s.Enum, v) || s.Format == "date-time" && err != nil {
			list = append(list, fmt.Sprintf("%s: got %q, want %q %s", where, v, s.Enum, s.Format))
		}
	case float64:
		if s.Minimum != nil && v < *s.Minimum || s.Maximum != nil && v > *s.Maximum {
			list = append(list, fmt.Sprintf("%s: %v is out of range", where, v))
		}
	}
	return list
}

func (d *description) faultsOfObject(where string, s *schema, v map[string]any) (list []string) {
	for _, name := range s.Required {
		if _, ok := v[name]; !ok {
			list = append(list, fmt.Sprintf("%s: no %s", where, name))
		}
	}
	for name, e := range v {
		of := s.Properties[name]
		if of == nil && s.Additional != nil {
			of = s.Additional.schema
		}
		switch {
		case of != nil:
			list = append(list, d.faults(where+"."+name, of, e)...)
		case s.Properties != nil:
			list = append(list, fmt.Sprintf("%s: %s is not described", where, name))
		}
	}
	return list
}

func isA(kind string, value any) bool {
	switch v := value.(type) {
	case map[string]any:
		return kind == "object"
	case []any:
		return kind == "array"
	case string:
		return kind == "string"
	case bool:
		return kind == "boolean"
	case float64:
		return kind == "number" || kind == "integer" && v == math.Trunc(v)
	}
	return kind == "null"
}

// The checks above can fail.
func TestFaultsAreFound(t *testing.T) {
	d := readDescription(t)
	good := `{"name":"pg","weight":1,"active":1,"queued":0}`
	class := &schema{Ref: "#/components/schemas/Class"}
	d.check(t, "good", class, decode(t, good))
	for _, bad := range []string{
		`{"name":"pg","weight":1,"active":1}`, `{"name":5,"weight":1,"active":1,"queued":0}`, `{"name":"pg","weight":1.5,"active":1,"queued":0}`,
		`{"name":"pg","weight":null,"active":1,"queued":0}`, `{"name":"pg","weight":1,"active":1,"queued":0,"x":1}`, `[]`,
	} {
		if len(d.faults("", class, decode(t, bad))) == 0 {
			t.Errorf("%s has no fault", bad)
		}
	}
	event := &schema{Ref: "#/components/schemas/Event"}
	for _, bad := range []string{`{"at":"noon","kind":"reload","message":""}`, `{"at":"2026-01-02T12:00:00Z","kind":"x","message":""}`} {
		if len(d.faults("", event, decode(t, bad))) == 0 {
			t.Errorf("%s has no fault", bad)
		}
	}
	change := &schema{Ref: "#/components/schemas/BackendChange"}
	if len(d.faults("", change, decode(t, `{"weight":1001}`))) == 0 {
		t.Error("a weight of 1001 has no fault")
	}
}

// The events of a stream are as described.
func TestEventsAreAsDescribed(t *testing.T) {
	d := readDescription(t)
	for _, e := range []admin.Event{
		{At: noon, Kind: "refused", Frontend: "pg", Outcome: "denied", Count: 3, Message: "3 sessions were refused: denied"},
		{At: noon, Kind: "change", Frontend: "pg", Backend: "db1", From: "up", To: "maint", Reason: "said so", Who: "root", Message: "m"},
	} {
		text, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		content := d.Paths["/v1/events"]["get"].Responses["200"].Content
		d.check(t, e.Kind, content["application/jsonl"].Schema, decode(t, string(text)))
		d.check(t, e.Kind, content["text/event-stream"].Schema, decode(t, string(text)))
	}
}
