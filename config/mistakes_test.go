package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
)

// Each file in testdata/bad has its exact mistakes beside it in a .want file. Nothing rewrites these:
// whoever changes a message changes them with an editor, and reads what users will read.
func TestB45ConfigMistakes(t *testing.T) {
	t.Chdir("testdata/bad")
	for _, path := range glob(t, "*.toml") {
		t.Run(strings.TrimSuffix(path, ".toml"), func(t *testing.T) {
			want := string(read(t, strings.TrimSuffix(path, ".toml")+".want"))
			c, err := Load(path)
			if err == nil {
				t.Fatalf("got no mistake, want:\n%s", want)
			}
			if got := err.Error() + "\n"; got != want {
				t.Errorf("got:\n%swant:\n%s", got, want)
			}
			if c != nil {
				t.Errorf("got a config beside the mistakes")
			}
			checkMistakes(t, err)
		})
	}
}

func TestEveryWantHasItsFile(t *testing.T) {
	for _, path := range glob(t, "testdata/bad/*.want") {
		if _, err := os.Stat(strings.TrimSuffix(path, ".want") + ".toml"); err != nil {
			t.Error(err)
		}
	}
}

func TestEightMistakesInOneRun(t *testing.T) {
	_, err := Load("testdata/bad/eight.toml")
	var mistakes Mistakes
	if !errors.As(err, &mistakes) || len(mistakes) != 8 {
		t.Fatalf("got %v, want eight mistakes", err)
	}
	if got := mistakes[0].File; got != "testdata/bad/eight.toml" {
		t.Errorf("got file %q, want the path as given", got)
	}
}

// checkMistakes holds what is promised of every list of mistakes.
func checkMistakes(t *testing.T, err error) {
	t.Helper()
	var mistakes Mistakes
	if !errors.As(err, &mistakes) || len(mistakes) == 0 {
		t.Fatalf("got error %T, want Mistakes", err)
	}
	for i, m := range mistakes {
		if m.Line < 1 || m.Column < 1 || m.Message == "" {
			t.Errorf("incomplete mistake %+v", m)
		}
		if strings.IndexFunc(m.String(), func(r rune) bool { return !unicode.IsPrint(r) }) >= 0 {
			t.Errorf("mistake has characters for the terminal: %q", m.String())
		}
		if i > 0 && m.File == mistakes[i-1].File && (m.Line < mistakes[i-1].Line || m.Line == mistakes[i-1].Line && m.Column < mistakes[i-1].Column) {
			t.Errorf("mistakes are not in order: %v", mistakes)
		}
	}
}

func TestQuoteIsBounded(t *testing.T) {
	long := "[frontend]\nname = \"" + strings.Repeat("\\u001bé", 50_000) + "\"\n" + strings.Repeat("k", 50_000) + " = 1\n"
	_, err := Parse("long.toml", []byte(long))
	checkMistakes(t, err)
	if n := len(err.Error()); n > 3000 {
		t.Errorf("got a message of %d bytes", n)
	}
}

func TestFileNameIsEscaped(t *testing.T) {
	_, err := Parse("a\x1b[31m.toml", nil)
	checkMistakes(t, err)
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("glob %s: %v, %d files", pattern, err, len(paths))
	}
	return paths
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
