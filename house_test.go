package main

import (
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// mayImport says which of our packages a package may import: itself, and all that stands in the list. A
// name that ends in /... means a package and everything inside it. Imports run one way: main, balancer,
// frontend, backend. config is for main and balancer alone.
var mayImport = map[string][]string{
	"weir":                       {"weir/balancer/...", "weir/config"},
	"weir/balancer":              {"weir/balancer/handover", "weir/config", "weir/frontend/...", "weir/backend/..."},
	"weir/balancer/handover":     {"weir/backend", "weir/backend/contain"},
	"weir/balancer/...":          {"weir/balancer", "weir/config", "weir/frontend/...", "weir/backend/..."},
	"weir/balancer/admin/...":    {"weir/balancer/admin", "weir/config"},
	"weir/balancer/run":          {"weir/balancer", "weir/balancer/...", "weir/config", "weir/frontend", "weir/backend/contain"},
	"weir/balancer/metrics":      {"weir/balancer", "weir/frontend/...", "weir/backend/..."},
	"weir/config":                {},
	"weir/frontend":              {"weir/backend/contain", "weir/backend/histogram", "weir/frontend/access", "weir/frontend/rate", "weir/frontend/refusal", "weir/frontend/relay", "weir/frontend/preface", "weir/frontend/pulse", "weir/backend", "weir/backend/sockopt"},
	"weir/frontend/access":       {},
	"weir/frontend/rate":         {},
	"weir/frontend/refusal":      {},
	"weir/frontend/relay":        {},
	"weir/frontend/preface":      {},
	"weir/frontend/pulse":        {},
	"weir/frontend/reactor":      {"weir/backend/contain", "weir/frontend", "weir/frontend/refusal", "weir/frontend/relay", "weir/frontend/preface", "weir/frontend/reactor/...", "weir/backend", "weir/backend/sockopt"},
	"weir/frontend/reactor/loop": {"weir/frontend/pulse"},
	"weir/backend":               {"weir/backend/..."},
	"weir/backend/histogram":     {},
	"weir/backend/learn":         {},
	"weir/backend/strategy":      {},
	"weir/backend/health":        {"weir/backend/contain", "weir/backend/sockopt"},
	"weir/backend/contain":       {},
	"weir/backend/sockopt":       {},
	"weir/scripts/...":           {"weir/balancer/load", "weir/config"}, // programs of their own, as main is
}

// Libraries that belong to some rooms only.
var onlyIn = map[string][]string{
	"github.com/urfave/cli/v2":                                  {"weir", "weir/balancer/load", "weir/balancer/admin/remote"},
	"github.com/pelletier/go-toml/v2":                           {"weir/config", "weir/balancer/load"},
	"github.com/pelletier/go-toml/v2/unstable":                  {"weir/config"},
	"github.com/rs/zerolog":                                     {"weir", "weir/balancer", "weir/balancer/...", "weir/frontend", "weir/frontend/reactor"},
	"github.com/prometheus/client_golang/prometheus":            {"weir/balancer/metrics"},
	"github.com/prometheus/client_golang/prometheus/collectors": {"weir/balancer/metrics"},
	"github.com/prometheus/client_golang/prometheus/promhttp":   {"weir/balancer/metrics"},
	"github.com/prometheus/client_model/go":                     {"weir/balancer/metrics"},
	"github.com/rs/zerolog/log":                                 {},                      // a global logger
	"log":                                                       {"weir/balancer/admin"}, // what net/http wants, with the injected logger behind it
	"log/slog":                                                  {},
}

// pure holds what decides without doing: no I/O, no logging, no clock of its own. A name that ends in .go
// is one file of a package that is not pure as a whole.
var pure = []string{"backend/learn", "backend/strategy", "frontend/access", "frontend/preface", "frontend/pulse", "frontend/deadline.go", "frontend/rate", "frontend/refusal", "backend/health/machine.go", "backend/health/passive.go"}

// pureImports are fit for a pure package beside the ones that compute.
var pureImports = []string{
	"runtime", // to yield in a long computation
	"bytes", "cmp", "container/heap", "encoding/binary", "errors", "fmt", "hash/crc32", "hash/fnv", "hash/maphash", "iter", "math", "math/bits",
	"math/rand/v2", "net/netip", "slices", "strconv", "strings", "sync", "sync/atomic", "time", "unicode", "unicode/utf8",
	"github.com/gaissmai/bart",
}

// source is one Go file of ours.
type source struct {
	file string // with slashes, from the top
	pkg  string // import path
	*ast.File
}

func (s source) isTest() bool { return strings.HasSuffix(s.file, "_test.go") }

func (s source) imports() []string {
	list := make([]string, len(s.Imports))
	for i, spec := range s.Imports {
		list[i], _ = strconv.Unquote(spec.Path.Value)
	}
	return list
}

// sources parses every Go file, for whatever system it is.
func sources(t *testing.T) []source {
	t.Helper()
	var list []source
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && file != "." && (d.Name()[0] == '.' || d.Name() == "testdata") {
			return errOr(err, fs.SkipDir)
		}
		if d.IsDir() || !strings.HasSuffix(file, ".go") {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		file = filepath.ToSlash(file)
		list = append(list, source{file, path.Join("weir", path.Dir(file)), parsed})
		return nil
	})
	if err != nil || len(list) < 50 {
		t.Fatalf("%d Go files: %v", len(list), err)
	}
	return list
}

func errOr(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

// within says whether a package is in a list of names.
func within(pkg string, list []string) bool {
	return slices.ContainsFunc(list, func(name string) bool {
		root, all := strings.CutSuffix(name, "/...")
		return pkg == root || all && strings.HasPrefix(pkg, root+"/")
	})
}

// rule returns what a package may import: the entry of its name, or else of the nearest folder above.
func rule(pkg string) (list []string, ok bool) {
	if list, ok = mayImport[pkg]; ok {
		return list, true
	}
	for dir := path.Dir(pkg); dir != "."; dir = path.Dir(dir) {
		if list, ok = mayImport[dir+"/..."]; ok {
			return list, true
		}
	}
	return nil, false
}

func TestImportDirections(t *testing.T) {
	for _, s := range sources(t) {
		if s.isTest() {
			continue
		}
		allowed, ok := rule(s.pkg)
		if !ok {
			t.Errorf("%s: no rule says what package %s may import", s.file, s.pkg)
		}
		for _, imported := range s.imports() {
			ours := imported == "weir" || strings.HasPrefix(imported, "weir/")
			if ours && !within(imported, allowed) {
				t.Errorf("%s: %s may not import %s", s.file, s.pkg, imported)
			}
			if rooms, ok := onlyIn[imported]; ok && !within(s.pkg, rooms) {
				t.Errorf("%s: %s may not import %s", s.file, s.pkg, imported)
			}
		}
	}
}

func TestPurePackages(t *testing.T) {
	for _, s := range sources(t) {
		if s.isTest() || !slices.Contains(pure, s.file) && !slices.Contains(pure, path.Dir(s.file)) {
			continue
		}
		for _, imported := range s.imports() {
			if !slices.Contains(pureImports, imported) {
				t.Errorf("%s imports %s, which is not on the list for code without I/O", s.file, imported)
			}
		}
		for _, name := range clockUses(s.File) {
			t.Errorf("%s uses time.%s: it is to be told the time", s.file, name)
		}
	}
}

// clockUses returns what a file takes from package time that reads the clock or waits.
func clockUses(f *ast.File) (names []string) {
	clock := []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick"}
	ast.Inspect(f, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if p, ok := s.X.(*ast.Ident); ok && p.Name == "time" && slices.Contains(clock, s.Sel.Name) {
				names = append(names, s.Sel.Name)
			}
		}
		return true
	})
	return names
}

// Tests do not sleep, but where synctest makes the clock theirs. Nothing but a test starts work in init.
func TestNoSleepNoInit(t *testing.T) {
	for _, s := range sources(t) {
		if s.isTest() && slices.Contains(clockUses(s.File), "Sleep") && !slices.Contains(s.imports(), "testing/synctest") {
			t.Errorf("%s sleeps", s.file)
		}
		for _, d := range s.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" && !s.isTest() {
				t.Errorf("%s has an init function", s.file)
			}
		}
	}
}

// Until main catches signals, one that weir is to obey ends it: B71.
func TestMainCatchesSignalsFirst(t *testing.T) {
	for _, s := range sources(t) {
		if s.file != "main.go" {
			continue
		}
		for _, d := range s.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Name.Name == "main" {
				var text strings.Builder
				if err := printer.Fprint(&text, token.NewFileSet(), f.Body.List[0]); err != nil || text.String() != "signals := run.Catch()" {
					t.Errorf("main begins with %q, %v", text.String(), err)
				}
			}
		}
	}
}

func TestTopLevel(t *testing.T) {
	allowed := []string{
		"main.go", "balancer", "frontend", "backend", "config", "examples", "scripts", "go.mod", "go.sum", "README.md",
		"LICENSE", "CHANGELOG.md", ".ci", ".gitignore", ".git",
	}
	needed := allowed[:len(allowed)-1]
	data, err := os.ReadFile(".gitignore")
	if err != nil {
		t.Fatal(err)
	}
	ignored := strings.Fields(string(data))
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, e := range entries {
		name := e.Name()
		found = append(found, name)
		isIgnored := slices.ContainsFunc(ignored, func(pattern string) bool {
			match, _ := path.Match(strings.Trim(pattern, "/"), name)
			return match
		})
		if !slices.Contains(allowed, name) && !strings.HasSuffix(name, "_test.go") && !isIgnored {
			t.Errorf("%s does not belong at the top level", name)
		}
	}
	for _, name := range needed {
		if !slices.Contains(found, name) {
			t.Errorf("%s is missing at the top level", name)
		}
	}
}

// Every package says in its doc comment what it is for.
func TestPackageDocs(t *testing.T) {
	docs := map[string]bool{}
	for _, s := range sources(t) {
		if !s.isTest() {
			docs[s.pkg] = docs[s.pkg] || s.Doc != nil
		}
	}
	for pkg, has := range docs {
		if !has {
			t.Errorf("package %s has no doc comment", pkg)
		}
	}
}
