package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strings"

	"github.com/rs/zerolog"
)

const (
	maxChange = 64 << 10
	// maxPlan has room for the largest configuration, 16 MiB, each byte of which JSON may write as six.
	maxPlan = 6*16<<20 + 64<<10
)

// nothing is the body of a request that has none. {} is one as well.
type nothing struct{}

// answer is a handler that returns what ask does, as JSON. Nothing is kept waiting by who reads slowly: ask
// has returned before the first byte is written.
func answer[T any](ask func(*http.Request) (T, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		value, err := ask(r)
		reply(w, value, err)
	}
}

// change is a handler for what changes weir: it reads the body, has do do it, and logs who wanted what. It
// is done to its end even if who asked for it does not wait.
func change[B, T any](d *Door, what string, do func(context.Context, *http.Request, B, Who) (T, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var body B
		if err := read(r, &body, maxChange); err != nil {
			reply(w, nil, err)
			return
		}
		forgetDeadlines(w)
		who := d.whoIs(r)
		value, err := do(context.WithoutCancel(r.Context()), r, body, who)
		d.tell(r, who, what, body, value, err)
		reply(w, value, err)
	}
}

// tell logs a change, or that it was not made.
func (d *Door) tell(r *http.Request, who Who, what string, body, result any, err error) {
	e := d.log.Warn().Str("who", who.String()).Str("what", what)
	for _, name := range []string{"frontend", "backend"} {
		if value := r.PathValue(name); value != "" {
			e = e.Str(name, value)
		}
	}
	if _, none := body.(nothing); !none {
		e = e.Interface("change", body)
	}
	if killed, ok := result.(Killed); ok && (err == nil || killed.Count > 0) {
		e = e.Int("count", killed.Count)
	}
	logResult(e, err)
}

func logResult(e *zerolog.Event, err error) {
	if err != nil {
		e.Err(err).Msg("the operator's change was not made")
		return
	}
	e.Msg("changed by an operator")
}

// read decodes a body of one JSON value. Keys that are unknown are mistakes, as in the file.
func read(r *http.Request, into any, most int64) error {
	data, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, most))
	if err != nil {
		return err
	}
	if _, none := into.(*nothing); none && len(bytes.TrimSpace(data)) == 0 {
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return &Problem{Status: http.StatusBadRequest, Detail: "the body: " + strings.TrimPrefix(err.Error(), "json: ")}
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return &Problem{Status: http.StatusBadRequest, Detail: "the body has something behind its JSON"}
	}
	return nil
}

// reply writes a value or an error.
func reply(w http.ResponseWriter, value any, err error) {
	if err != nil {
		problemOf(err).write(w)
		return
	}
	text, err := encode(value)
	if err != nil {
		problemOf(err).write(w)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(text) // who asked may be gone
}

// encode gives JSON in which a list that is empty is [], never null: what reads it need not know the
// difference.
func encode(value any) ([]byte, error) {
	v := reflect.ValueOf(value)
	if !v.IsValid() {
		return []byte("null\n"), nil
	}
	filled := reflect.New(v.Type()).Elem()
	filled.Set(v)
	fill(filled)
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(filled.Interface())
	return text.Bytes(), err
}

// fill replaces lists and maps that are nil. It writes into no list of the caller's that has elements of
// which none needs it.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Slice:
		if v.IsNil() {
			v.Set(reflect.MakeSlice(v.Type(), 0, 0))
		}
		if !hasLists(v.Type().Elem()) {
			return
		}
		own := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		reflect.Copy(own, v)
		v.Set(own)
		for i := range v.Len() {
			fill(v.Index(i))
		}
	case reflect.Map:
		if v.IsNil() {
			v.Set(reflect.MakeMap(v.Type()))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Field(i); f.CanSet() {
				fill(f)
			}
		}
	}
}

// hasLists says whether a type has lists or maps inside.
func hasLists(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Slice, reflect.Map:
		return true
	case reflect.Struct:
		for i := range t.NumField() {
			if f := t.Field(i); f.IsExported() && hasLists(f.Type) {
				return true
			}
		}
	}
	return false
}
