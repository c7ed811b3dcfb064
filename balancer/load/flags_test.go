package load

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// command runs a command line, and returns what it wrote.
func command(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	app := &cli.App{
		Name: "load", Flags: Flags(), Writer: &out, ErrWriter: &out, HideHelpCommand: true,
		ExitErrHandler: func(*cli.Context, error) {},
		OnUsageError:   func(_ *cli.Context, err error, _ bool) error { return err },
		Action: func(c *cli.Context) error {
			o, err := FromFlags(c)
			if err != nil {
				return err
			}
			return Command(c.Context, c, o)
		},
	}
	err := app.RunContext(testContext(t), append([]string{"load"}, args...))
	return out.String(), err
}

func TestCommandJSON(t *testing.T) {
	target := startEcho(t, EchoOptions{Name: "one"})
	out, err := command(t, "--target", target.Address, "--count", "20", "--greeting", "--json")
	if err != nil {
		t.Fatal(err)
	}
	var r Result
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if r.Done != 20 || r.Backends["one"] != 20 {
		t.Errorf("got %+v, want 20 done by one", r)
	}
}

func TestCommandFails(t *testing.T) {
	target := startServer(t, corrupt)
	out, err := command(t, "--target", target.Address, "--count", "3", "--concurrency", "1")
	if err == nil || err.Error() != "3 of 3 did not go well" {
		t.Errorf("got %v, want 3 of 3", err)
	}
	if !strings.Contains(out, "3  answer: not what was sent") {
		t.Errorf("the errors are not in:\n%s", out)
	}
}

func TestCommandPhases(t *testing.T) {
	target := startEcho(t, EchoOptions{})
	file := filepath.Join(t.TempDir(), "phases.toml")
	if err := os.WriteFile(file, []byte("seed = 3\n[[phase]]\nduration = \"50ms\"\nrate = 100\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := command(t, "--target", target.Address, "--phases", file, "--json")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out, `"seed": 3`) || !strings.Contains(out, `"name": "phase 1"`) {
		t.Errorf("no seed or no phase in %s", out)
	}
}

func TestCommandMistakes(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "--target ADDR is missing"},
		{[]string{"--target", "192.0.2.1:80"}, "--remote"},
		{[]string{"--target", "nowhere"}, "--target: "},
		{[]string{"--target", ":80", "--mode", "dance"}, "none of connect"},
		{[]string{"--target", ":80", "--source", "here"}, `--source "here" is not an IP`},
		{[]string{"--target", ":80", "--phases", "/nonexistent"}, "read phases: "},
	} {
		_, err := command(t, c.args...)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want %q in it", c.args, err, c.want)
		}
	}
}

func TestProgress(t *testing.T) {
	var out bytes.Buffer
	r := &run{Options: Options{Mode: Connect, Progress: &out}}
	p := progress{run: r}
	tally := newTally()
	tally.finish(1)
	p.tell(tally)
	p.end()
	if !strings.Contains(out.String(), "errors 0") || !strings.HasSuffix(out.String(), "\r\x1b[K") {
		t.Errorf("got %q", out.String())
	}
}
