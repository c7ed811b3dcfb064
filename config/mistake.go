package config

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Mistake is one thing that is wrong with a file. Its texts are safe to print on a terminal:
// whatever they quote from the file is escaped and of bounded length.
type Mistake struct {
	File string // as it was given to Load or Parse
	// Line and Column count from 1; columns are characters, not bytes.
	Line, Column int
	// Path is the key from the top of the file: frontend[0].backend[1].forward_to. May be empty.
	Path    string
	Message string
	// Hint says what would be right. May be empty.
	Hint string
}

// String gives one line: "weir.toml:12:3: frontend.bind_on: message; hint".
func (m Mistake) String() string {
	text := m.place()
	if m.Path != "" {
		text += m.Path + ": "
	}
	text += m.Message
	if m.Hint != "" {
		text += "; " + m.Hint
	}
	return text
}

func (m Mistake) place() string { return fmt.Sprintf("%s:%d:%d: ", clean(m.File), m.Line, m.Column) }

func (m Mistake) compare(other Mistake) int {
	return cmp.Or(cmp.Compare(m.Line, other.Line), cmp.Compare(m.Column, other.Column))
}

// Mistakes is everything that is wrong with a file, in the order of position, and then with the files
// that it names.
type Mistakes []Mistake

// Error gives one line for each mistake.
func (m Mistakes) Error() string {
	lines := make([]string, len(m))
	for i := range m {
		lines[i] = m[i].String()
	}
	return strings.Join(lines, "\n")
}

// Sort brings those of one file into the order of position.
func (m Mistakes) Sort() { slices.SortStableFunc(m, Mistake.compare) }

// fault is an objection to a value by who does not know where in the file it stands.
type fault struct{ message, hint string }

// report collects the mistakes of one file.
type report struct {
	file  string
	data  []byte
	lines []int // offset of the first byte of each line
	found Mistakes
	most  int       // mistakes to take
	named []*report // of files that this one names
	// unreadable is what this user may not read of them: a mistake for who is to run the file, and for nobody else.
	unreadable Mistakes
}

func newReport(file string, data []byte) *report {
	r := &report{file: file, data: data, lines: []int{0}, most: maxMistakes}
	for i, c := range data {
		if c == '\n' {
			r.lines = append(r.lines, i+1)
		}
	}
	return r
}

// maxMistakes is where a report ends. Nobody reads more, and each costs a walk along its line, which
// in a file of one line is the whole file.
const maxMistakes = 1000

func (r *report) full() bool { return r.count() >= r.most }

func (r *report) count() int {
	n := len(r.found)
	for _, other := range r.named {
		n += len(other.found)
	}
	return n
}

// reportOn begins the report of a file that this one names. Together they have no more room than one.
func (r *report) reportOn(file string, data []byte) *report {
	other := newReport(file, data)
	other.most = r.most - r.count()
	r.named = append(r.named, other)
	return other
}

func (r *report) add(offset int, path string, f *fault) {
	if r.full() {
		return
	}
	line, column := r.position(offset)
	r.found = append(r.found, Mistake{r.file, line, column, path, f.message, f.hint})
}

func (r *report) position(offset int) (line, column int) {
	offset = min(offset, len(r.data))
	line = sort.Search(len(r.lines), func(i int) bool { return r.lines[i] > offset })
	return line, utf8.RuneCount(r.data[r.lines[line-1]:offset]) + 1
}

// where names a position inside a message about another one.
func (r *report) where(offset int) string {
	line, column := r.position(offset)
	return fmt.Sprintf("line %d, column %d", line, column)
}

// err is what was found, or nil.
func (r *report) err() error {
	all := r.sorted()
	for _, other := range r.named {
		all = append(all, other.sorted()...)
	}
	if len(all) == 0 {
		return nil
	}
	if len(all) >= maxMistakes {
		last := all[len(all)-1]
		f := fmt.Sprintf("this is mistake %d: further ones are not shown", maxMistakes)
		all = append(all, Mistake{last.File, last.Line, last.Column, "", f, ""})
	}
	return all
}

func (r *report) sorted() Mistakes {
	r.found.Sort()
	return r.found
}

func didYouMean(text string) string { return "did you mean " + quote(text) + "?" }

// maxQuoted is how many bytes of a value a message repeats; a line of megabytes helps nobody.
const maxQuoted = 120

func quote(text string) string {
	if len(text) > maxQuoted {
		return strconv.Quote(strings.ToValidUTF8(text[:maxQuoted], "")) + "…"
	}
	return strconv.Quote(text)
}

// clean is text itself when it can be printed, else its quoted form.
func clean(text string) string {
	if len(text) <= maxQuoted && strings.IndexFunc(text, isUnprintable) < 0 && utf8.ValidString(text) {
		return text
	}
	return quote(text)
}

// unprintable objects to characters that could confuse a log or steer a terminal: control
// characters, and those that reverse or hide text.
func unprintable(what, text string) *fault {
	if strings.IndexFunc(text, isUnprintable) < 0 {
		return nil
	}
	return &fault{what + " " + quote(text) + " has characters that cannot be printed", ""}
}

func isUnprintable(r rune) bool { return !unicode.IsPrint(r) }
