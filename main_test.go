//go:build linux

package main

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/urfave/cli/v2"
)

// patience bounds every wait of a test. No test depends on how much of it is used.
const patience = 20 * time.Second

// binary is weir, built once, with the race detector if the tests themselves run with it.
var binary string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "weir")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "weir")
	args := []string{"build", "-o", binary}
	if raceDetector() {
		args = append(args, "-race")
		os.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE")) // for weir; the default is a second
	}
	if out, err := exec.Command("go", append(args, ".")...).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

func raceDetector() bool {
	info, _ := debug.ReadBuildInfo()
	for _, s := range info.Settings {
		if s.Key == "-race" {
			return s.Value == "true"
		}
	}
	return false
}

// result is a weir that has ended.
type result struct {
	args           []string
	code           int
	stdout, stderr string
}

// weir runs to its end in a directory.
func weir(t *testing.T, dir string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	var stdout, stderr bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if ctx.Err() != nil || err != nil && !errors.As(err, &exit) {
		t.Fatalf("weir %q: %v, %v", args, err, ctx.Err())
	}
	return result{args, cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// want checks the exit code, and what stdout and stderr contain. "" wants nothing there.
func (r result) want(t *testing.T, code int, stdout, stderr string) {
	t.Helper()
	if r.code != code {
		t.Errorf("weir %q: got exit code %d, want %d", r.args, r.code, code)
	}
	for _, out := range []struct{ name, got, want string }{{"stdout", r.stdout, stdout}, {"stderr", r.stderr, stderr}} {
		if out.want == "" && out.got != "" || !strings.Contains(out.got, out.want) {
			t.Errorf("weir %q: %s: got\n%s\nwant %q", r.args, out.name, out.got, out.want)
		}
	}
}

// inRepository returns the absolute path of a file of ours.
func inRepository(t *testing.T, path string) string {
	t.Helper()
	abs, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestCommandLine(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "good.toml"), read(t, "examples/two-echo.toml"))
	write(t, filepath.Join(dir, "bad.toml"), "[frontend]\nbind_on = 7070\n")
	const good, usage = "good.toml: ok: 1 frontend, 2 backends\n", "--help' for usage.\n"
	for _, c := range []struct {
		args           string
		code           int
		stdout, stderr string
	}{
		{"check -c good.toml", 0, good, ""},
		{"-t -c good.toml", 0, good, ""},
		{"-c good.toml -t", 0, good, ""},
		{"-c good.toml check", 0, good, ""},
		{"-v -c good.toml check", 0, good, ""},
		{"-t run -c good.toml", 0, good, ""},
		{"-tc good.toml", 0, good, ""},
		{"check --print -c good.toml", 0, "half_close_timeout = '5m'\n", ""},
		{"check -c bad.toml", 1, "", "bad.toml:2:11: frontend.bind_on: "},
		{"-t -c bad.toml", 1, "", "bad.toml:2:11: "},
		{"-c bad.toml", 1, "", "bad.toml:2:11: "},
		{"run -c bad.toml", 1, "", "bad.toml:2:11: "},
		{"-c none.toml", 1, "", "weir: read config: open none.toml: no such file or directory\n"},
		{"-c none.toml run", 1, "", "weir: read config: open none.toml: no such file or directory\n"},
		{"", 1, "", "weir: read config: open weir.toml: no such file or directory (name another file with -c, or see 'weir demo')\n"},
		{"run", 1, "", "open weir.toml: no such file or directory (name another"},
		{"-c .", 1, "", "weir: read config: read .: is a directory\n"},

		{"frob", 2, "", "weir: unknown command \"frob\"\nRun 'weir " + usage},
		{"-- frob", 2, "", `unknown command "frob"`},
		{"help", 2, "", `unknown command "help": did you mean --help?`},
		{"version", 2, "", `unknown command "version": did you mean --version?`},
		{"good.toml", 2, "", `unknown command "good.toml": a file is named with -c` + "\n"},
		{"check good.toml", 2, "", "check takes no argument, but got \"good.toml\": a file is named with -c\nRun 'weir check " + usage},
		{"run frob", 2, "", "run takes no argument, but got \"frob\"\nRun 'weir run " + usage},
		{"demo frob", 2, "", "demo takes no argument, but got \"frob\"\n"},
		{"--help frob", 2, "", "No help topic for 'frob'\nRun 'weir " + usage},
		{"--frob", 2, "", "weir: unknown flag --frob\nRun 'weir " + usage},
		{"-f", 2, "", "weir: unknown flag -f: 'weir events' has it\n"},
		{"run --frob", 2, "", "weir: unknown flag --frob\nRun 'weir run " + usage},
		{"-c good.toml --print", 2, "", "unknown flag --print: 'weir check' has it\n"},
		{"-c", 2, "", "weir: -c needs a value\nRun 'weir " + usage},
		{"run --config", 2, "", "weir: --config needs a value\n"},
		{"--config=", 2, "", "weir: -c needs the name of a file\n"},
		{"--log-format xml -c good.toml", 2, "", `weir: --log-format "xml" is none of auto, console, json` + "\n"},
		{"--verbose=3", 2, "", `invalid boolean value "3" for`},
		{"echo", 2, "", "--listen ADDR is missing"},
		{"echo --listen", 2, "", "--listen needs a value"},
		{"echo --listen 127.0.0.1", 2, "", `--listen: "127.0.0.1" has no port; did you mean "127.0.0.1:8080"?`},
		{"echo --listen :0 --delay 5", 2, "", `invalid value "5" for --delay` + "\nRun 'weir echo " + usage},
		{"echo --listen :0 --delay -5s", 2, "", "--delay -5s is negative\n"},
		{"echo --listen :0 --capacity 5s", 2, "", `invalid value "5s" for --capacity` + "\nRun 'weir echo " + usage},
		{"echo --listen :0 --capacity -5", 2, "", "--capacity -5 is negative\n"},
	} {
		t.Run(c.args, func(t *testing.T) {
			weir(t, dir, strings.Fields(c.args)...).want(t, c.code, c.stdout, c.stderr)
		})
	}
}

func TestHelp(t *testing.T) {
	for args, wants := range map[string][]string{
		"--help":       {"weir COMMAND [OPTIONS]", "run ", "check ", "echo ", "demo ", "--config FILE, -c FILE", "-vvv", "--log-format FORMAT", "--version, -V", "Exit codes: 0"},
		"-h":           {"weir COMMAND [OPTIONS]"},
		"run --help":   {"weir run [-v] [-c FILE]", "-vvv"},
		"--help run":   {"weir run [-v] [-c FILE]"},
		"check --help": {"weir check [--print] [--elsewhere] [-c FILE]", "file:line:column"},
		"echo --help":  {"weir echo --listen ADDR [--name NAME] [--delay TIME] [--capacity N]", "unix:/path", "(default: no limit)"},
		"demo --help":  {"weir demo [--serve]"},
	} {
		r := weir(t, ".", strings.Fields(args)...)
		r.want(t, 0, "NAME:", "")
		for _, want := range wants {
			if !strings.Contains(r.stdout, want) {
				t.Errorf("weir %s: no %q in\n%s", args, want, r.stdout)
			}
		}
		for line := range strings.Lines(r.stdout) {
			if n := strings.Count(line, "default"); n > 1 {
				t.Errorf("weir %s: says the default %d times: %s", args, n, line)
			}
		}
	}
}

func TestVersion(t *testing.T) {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	form := regexp.MustCompile(`^weir \S+ \(commit (\w+)(, modified)?, (\S+)\)\n$`)
	for _, flag := range []string{"-V", "--version", "-vV"} {
		r := weir(t, ".", flag)
		r.want(t, 0, "weir", "")
		got := form.FindStringSubmatch(r.stdout)
		if got == nil {
			t.Fatalf("weir %s: got %q, want the form %s", flag, r.stdout, form)
		}
		commit := "unknown"
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				commit = s.Value
			}
		}
		if got[1] != commit || got[3] != info.GoVersion {
			t.Errorf("weir %s: got commit %s of %s, want %s of %s", flag, got[1], got[3], commit, info.GoVersion)
		}
	}
}

func TestVerbosityCounts(t *testing.T) {
	for args, want := range map[string]int{
		"":              0,
		"-v":            1,
		"--verbose":     1,
		"-vv":           2,
		"-vvv":          3,
		"-v -v":         2,
		"-v -c x -v":    2,
		"-c x -vv":      2,
		"-vvc x":        2,
		"run":           0,
		"run -v":        1,
		"run -c x -vv":  2,
		"-v run":        1,
		"-v run -vv":    3,
		"-c x -v run":   1,
		"echo -v":       1,
		"-v echo -v -v": 3,
	} {
		app, got := newApp(), -1
		count := func(c *cli.Context) error { got = verbosity(c); return nil }
		app.Action = count
		for _, command := range app.Commands {
			command.Action = count
		}
		if err := app.Run(append([]string{"weir"}, strings.Fields(args)...)); err != nil || got != want {
			t.Errorf("weir %s: got %d, %v; want %d", args, got, err, want)
		}
	}
}

func TestCheckPrintIsReadAgain(t *testing.T) {
	for _, file := range append(glob(t, "examples/*.toml"), glob(t, "config/testdata/good/*.toml")...) {
		first := weir(t, ".", "check", "--elsewhere", "--print", "-c", file)
		first.want(t, 0, "[[frontend]]", "")
		again := filepath.Join(t.TempDir(), "effective.toml")
		write(t, again, first.stdout)
		second := weir(t, ".", "check", "--elsewhere", "--print", "-c", again)
		second.want(t, 0, "[[frontend]]", "")
		if first.stdout != second.stdout {
			t.Errorf("%s: got\n%s\nfrom\n%s", file, second.stdout, first.stdout)
		}
	}
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("glob %s: %v, %d files", pattern, err, len(paths))
	}
	return paths
}

func TestExamplesLoad(t *testing.T) {
	for file, want := range map[string]string{
		"two-echo.toml":          "1 frontend, 2 backends",
		"postgres-replicas.toml": "1 frontend, 4 backends",
		"grpc-replicas.toml":     "1 frontend, 3 backends",
		"canary.toml":            "1 frontend, 5 backends",
		"sticky.toml":            "1 frontend, 3 backends",
		"unix-sockets.toml":      "2 frontends, 4 backends",
		"fragile-server.toml":    "1 frontend, 1 backend",
	} {
		file = filepath.Join("examples", file)
		weir(t, ".", "check", "--elsewhere", "-c", file).want(t, 0, file+": ok: "+want+"\n", "")
	}
	if got := len(glob(t, "examples/*.toml")); got != 7 {
		t.Errorf("examples has %d files, this test knows 7", got)
	}
}

// check binds nothing: it says ok to a file whose address is taken, and leaves no unix socket behind.
func TestCheckBindsNothing(t *testing.T) {
	dir := shortTempDir(t)
	socket := filepath.Join(dir, "front.sock")
	file := filepath.Join(dir, "weir.toml")
	write(t, file, fmt.Sprintf("[frontend]\nbind_on = [\"unix:%s\", %q]\nbackend = { forward_to = \"127.0.0.1:1\" }\n",
		socket, listen(t, "127.0.0.1:0").Addr()))
	weir(t, ".", "check", "-c", file).want(t, 0, "ok: 1 frontend, 1 backend\n", "")
	if _, err := os.Lstat(socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("check made %s: %v", socket, err)
	}
}

func TestCheckNamesEightMistakes(t *testing.T) {
	file := "config/testdata/bad/eight.toml"
	r := weir(t, ".", "check", "-c", file)
	r.want(t, 1, "", file+":4:11: ")
	places := regexp.MustCompile(`(?m)^config/testdata/bad/eight\.toml:\d+:\d+: frontend`).FindAllString(r.stderr, -1)
	if lines := strings.Count(r.stderr, "\n"); len(places) != 8 || lines != 8 {
		t.Errorf("got %d positions in %d lines, want 8 in 8:\n%s", len(places), lines, r.stderr)
	}
}

// Whatever a stranger puts into names, files and arguments, the terminal gets only what can be printed.
func TestNothingSteersTheTerminal(t *testing.T) {
	// Colour, title, carriage return, the one-byte CSI, a mark that reverses text, a broken character.
	const evil = "a\x1b[31m\x1b]0;x\a\r\u009b2J\u202eb\x7f\xff\n"
	dir := t.TempDir()
	name := strings.ReplaceAll(evil, "/", "") + ".toml"
	write(t, filepath.Join(dir, name), read(t, "examples/two-echo.toml"))
	write(t, filepath.Join(dir, "bad-"+name), evil)
	escaped := strings.NewReplacer("\x1b", `\u001b`, "\a", `\u0007`, "\r", `\r`, "\x7f", `\u007f`, "\xff", "", "\n", `\n`).Replace(evil)
	write(t, filepath.Join(dir, "names.toml"), fmt.Sprintf(
		"[frontend]\nbind_on = \"%[1]s\"\nname = \"%[1]s\"\nstrategy = \"%[1]s\"\nidle_timeout = \"%[1]s\"\n\"%[1]s\" = 1\n"+
			"[[frontend.backend]]\nforward_to = \"%[1]s:1\"\n[[frontend.backend]]\nforward_to = \"unix:/%[1]s\"\nname = \"%[1]s\"\n", escaped))
	for _, args := range [][]string{
		{evil}, {"--" + evil}, {"run", evil}, {"run", "--" + evil}, {"--help", evil}, {"-c", evil}, {"-c", evil, "run"},
		{"--log-format", evil}, {"--verbose=" + evil}, {"check", "-c", name}, {"-t", "-c", name}, {"check", "-c", "bad-" + name},
		{"-c", "bad-" + name}, {"check", "-c", "names.toml"}, {"check", "--print", "-c", "names.toml"},
		{"echo", "--listen", evil}, {"echo", "--listen", "unix:/" + evil}, {"echo", "--listen", "127.0.0.1:0", "--name", evil},
		{"echo", "--listen", "127.0.0.1:0", "--delay", evil}, {"demo", evil},
	} {
		r := weir(t, dir, args...)
		if r.stdout+r.stderr == "" {
			t.Errorf("weir %q says nothing", args)
		}
		for line := range strings.Lines(r.stdout + r.stderr) {
			line = strings.TrimSuffix(line, "\n")
			if i := strings.IndexFunc(line, func(c rune) bool { return !unicode.IsPrint(c) }); i >= 0 || !utf8.ValidString(line) {
				t.Errorf("weir %q prints %q", args, line)
			}
		}
	}
}

// A fragile server says on stderr that it is overloaded, without any -v, and on stdout in the end how it was
// used.
func TestEchoCapacity(t *testing.T) {
	address := listenOnce(t)
	p := start(t, ".", "echo", "--log-format", "json", "--listen", address, "--name", "db1", "--capacity", "1")
	_, port, _ := strings.Cut(address, ":")
	eventually(t, "it to listen", func() bool { return listening(t, []string{port}) })
	expect(t, dial(t, address), "db1\n")
	if got, err := talk(address, "hello\n"); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		t.Errorf("the second connection: got %q, %v; want a reset", got, err)
	}
	p.stderr.await(t, `"message":"overloaded: a connection beyond the capacity was reset"`)
	p.signal(syscall.SIGTERM)
	p.wantExit(t, 0)
	form := regexp.MustCompile(`^capacity 1: served 1 connections, at most 1 at one time; overloads 1; used 100\.00 % of the capacity in \S+s\n$`)
	if got := p.stdout.String(); !form.MatchString(got) {
		t.Errorf("stdout: got %q, want the form %s", got, form)
	}
}

func TestDemo(t *testing.T) {
	began := time.Now()
	r := weir(t, t.TempDir(), "demo")
	r.want(t, 0, "b2 is back", "")
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("the demo took %v, want less than 15 s", took)
	}
	rows := regexp.MustCompile(`(?m)^  (\w.*?) +(\d+) +(\d+) +(\d+) +(\d+) +(\d+)$`).FindAllStringSubmatch(r.stdout, -1)
	if len(rows) != 4 {
		t.Fatalf("got a table of %d rows, want 4:\n%s", len(rows), r.stdout)
	}
	for _, row := range rows {
		if failed := row[6]; failed != "0" {
			t.Errorf("%s connections failed while %s", failed, row[1])
		}
		if none := row[4] == "0"; none != (row[1] == "b2 is dead") {
			t.Errorf("b2 got %s connections while %s", row[4], row[1])
		}
	}
}

func TestDemoServes(t *testing.T) {
	p := start(t, ".", "demo", "--serve")
	line := p.stdout.await(t, "Still running: try 'socat - TCP:")
	address := regexp.MustCompile(`127\.0\.0\.1:\d+`).FindString(line)
	if got, err := talk(address, "hello\n"); err != nil || !regexp.MustCompile(`^b[123]\nhello\n$`).MatchString(got) {
		t.Errorf("got %q, %v", got, err)
	}
	p.signal(syscall.SIGINT)
	p.wantExit(t, 0)
}

func TestDemoInterrupted(t *testing.T) {
	p := start(t, ".", "demo")
	p.stdout.await(t, "weir listens on")
	p.signal(syscall.SIGINT)
	// It may just have come to its end.
	if code := p.wait(t); code == exitFailed {
		p.stderr.await(t, "weir: demo: interrupted")
	} else if code != 0 {
		t.Errorf("got exit code %d", code)
	}
}

// process is a program that runs.
type process struct {
	cmd            *exec.Cmd
	stdout, stderr *book
	done           chan struct{} // closed when it has ended
}

// start starts weir in a directory. The test's end kills it.
func start(t *testing.T, dir string, args ...string) *process {
	t.Helper()
	cmd := exec.Command(binary, args...)
	cmd.Dir = dir
	return startCommand(t, cmd)
}

func startCommand(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{cmd: cmd, stdout: newBook("stdout"), stderr: newBook("stderr"), done: make(chan struct{})}
	if cmd.Stdout == nil {
		cmd.Stdout = p.stdout
	}
	if cmd.Stderr == nil {
		cmd.Stderr = p.stderr
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // what it starts ends with it
	cmd.WaitDelay = patience
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { cmd.Wait(); close(p.done) }()
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-p.done
	})
	return p
}

func (p *process) signal(s os.Signal) { p.cmd.Process.Signal(s) }

// kill ends it as the kernel would, and waits until it is gone.
func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.done
}

// wait returns the exit code.
func (p *process) wait(t *testing.T) int {
	t.Helper()
	return p.waitFor(t, patience)
}

// waitFor is wait for what has so much to do.
func (p *process) waitFor(t *testing.T, limit time.Duration) int {
	t.Helper()
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(limit):
		t.Fatalf("%q does not end; its stderr:\n%s", p.cmd.Args, p.stderr)
		return -1
	}
}

func (p *process) wantExit(t *testing.T, want int) {
	t.Helper()
	if got := p.wait(t); got != want {
		t.Errorf("%q: got exit code %d, want %d; its stderr:\n%s", p.cmd.Args, got, want, p.stderr)
	}
}

// book keeps what a process writes.
type book struct {
	name  string
	mu    sync.Mutex
	grown *sync.Cond
	text  []byte
}

func newBook(name string) *book {
	b := &book{name: name}
	b.grown = sync.NewCond(&b.mu)
	return b
}

func (b *book) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text = append(b.text, p...)
	b.grown.Broadcast()
	return len(p), nil
}

func (b *book) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.text)
}

// await waits for a line with that text, and returns the first.
func (b *book) await(t *testing.T, text string) string {
	t.Helper()
	return b.awaitNth(t, text, 1)
}

func (b *book) awaitNth(t *testing.T, text string, n int) string {
	t.Helper()
	late := false
	timer := time.AfterFunc(patience, func() { b.mu.Lock(); late = true; b.grown.Broadcast(); b.mu.Unlock() })
	defer timer.Stop()
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		found := 0
		for line := range bytes.Lines(b.text) {
			if bytes.HasSuffix(line, []byte("\n")) && bytes.Contains(line, []byte(text)) {
				if found++; found == n {
					return string(line)
				}
			}
		}
		if late {
			t.Fatalf("%q is not on %s, %d times:\n%s", text, b.name, n, b.text)
		}
		b.grown.Wait()
	}
}

var _ io.Writer = (*book)(nil)
