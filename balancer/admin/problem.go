package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"weir/config"
)

// Problem is what went wrong with a request (RFC 9457, application/problem+json). It is the error of
// [Client]'s methods, too.
type Problem struct {
	Status int    `json:"status"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
	// Mistakes are those in a configuration, in the order of their places.
	Mistakes []Mistake `json:"mistakes,omitempty"`
}

// Mistake is one thing that is wrong with a configuration.
type Mistake struct {
	File string `json:"file"`
	// Line and Column count from 1.
	Line   int `json:"line"`
	Column int `json:"column"`
	// Key is the key from the top of the file; may be empty.
	Key     string `json:"key"`
	Message string `json:"message"`
	// Hint says what would be right; may be empty.
	Hint string `json:"hint"`
}

const problemType = "application/problem+json"

func (p *Problem) Error() string {
	if p.Detail != "" {
		return p.Detail
	}
	return p.Title
}

// ConfigMistakes returns the mistakes as config has them; nil if there are none.
func (p *Problem) ConfigMistakes() config.Mistakes {
	var list config.Mistakes
	for _, m := range p.Mistakes {
		list = append(list, config.Mistake{File: m.File, Line: m.Line, Column: m.Column, Path: m.Key, Message: m.Message, Hint: m.Hint})
	}
	return list
}

// Is lets callers ask for [ErrNotFound], [ErrInvalid] and [ErrConflict].
func (p *Problem) Is(target error) bool {
	return target == ErrNotFound && p.Status == http.StatusNotFound ||
		target == ErrInvalid && p.Status == http.StatusUnprocessableEntity ||
		target == ErrConflict && p.Status == http.StatusConflict
}

// problemOf says what an error means for who asked.
func problemOf(err error) *Problem {
	var p *Problem
	var mistakes config.Mistakes
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &mistakes):
		return ofMistakes(mistakes)
	case errors.As(err, &large):
		return &Problem{Status: http.StatusRequestEntityTooLarge, Detail: fmt.Sprintf("the request is larger than %d bytes", large.Limit)}
	case errors.Is(err, ErrNotFound):
		return &Problem{Status: http.StatusNotFound, Detail: err.Error()}
	case errors.Is(err, ErrInvalid):
		return &Problem{Status: http.StatusUnprocessableEntity, Detail: err.Error()}
	case errors.Is(err, ErrConflict):
		return &Problem{Status: http.StatusConflict, Detail: err.Error()}
	}
	return &Problem{Status: http.StatusInternalServerError, Detail: err.Error()}
}

func ofMistakes(mistakes config.Mistakes) *Problem {
	p := &Problem{Status: http.StatusUnprocessableEntity, Detail: mistakes.Error()}
	for _, m := range mistakes {
		p.Mistakes = append(p.Mistakes, Mistake{m.File, m.Line, m.Column, m.Path, m.Message, m.Hint})
	}
	return p
}

func (p *Problem) write(w http.ResponseWriter) {
	told := *p
	told.Title = http.StatusText(told.Status)
	if told.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="weir"`)
	}
	w.Header().Set("Content-Type", problemType)
	w.WriteHeader(told.Status)
	_ = json.NewEncoder(w).Encode(&told) // who asked may be gone
}
