//go:build linux

package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"weir/balancer/load"
	"weir/config"
)

// block is one fenced block of README.md. What a test is to do with it stands in the comment before it,
// <!-- test: … -->, where no reader sees it.
type block struct {
	line     int
	test     string
	language string
	text     string
}

func blocks(t *testing.T) []block {
	t.Helper()
	var list []block
	var test string
	open := false
	number := 0
	for line := range strings.Lines(read(t, "README.md")) {
		number++
		line = strings.TrimSuffix(line, "\n")
		language, fence := strings.CutPrefix(line, "```")
		switch {
		case fence && !open:
			list = append(list, block{line: number, test: test, language: language})
			open, test = true, ""
		case fence:
			open = false
		case open:
			list[len(list)-1].text += line + "\n"
		case strings.HasPrefix(line, "<!-- test: "):
			test = strings.TrimSuffix(strings.TrimPrefix(line, "<!-- test: "), " -->")
		case line != "":
			test = ""
		}
	}
	if open || len(list) == 0 {
		t.Fatalf("README.md: %d blocks, or one without its end", len(list))
	}
	return list
}

// named returns the blocks with that test, and fails when there is none.
func named(t *testing.T, test string) []block {
	t.Helper()
	var list []block
	for _, b := range blocks(t) {
		if b.test == test || strings.HasPrefix(b.test, test+", waits for ") {
			list = append(list, b)
		}
	}
	if len(list) == 0 {
		t.Fatalf("README.md has no block for %q", test)
	}
	return list
}

// Each block has a test that knows it. Whoever adds one adds a test.
func TestReadmeBlocksAreKnown(t *testing.T) {
	known := map[string][]string{
		"sh": {
			"demo", "suite", "build", "benchmark", "check of config/testdata/bad/eight.toml",
			"tour socat, waits for 8080 9090 7070", "tour socat", "end of tour socat",
			"tour echo, waits for 8080 9090 7070", "tour echo", "end of tour echo", "load",
			"operate", "drain", "plan", "curl",
		},
		"toml": {"core of examples/two-echo.toml", "every key with its default", "phases", "fragile", "classes", "door", "unix sockets"},
		"text": {
			"output of tour socat", "output of tour echo", "output of check, in part",
			"output of operate, in part", "output of drain", "output of plan",
		},
	}
	for _, b := range blocks(t) {
		if !slices.Contains(known[b.language], b.test) {
			t.Errorf("README.md:%d: no test knows this %q block with test %q", b.line, b.language, b.test)
		}
	}
}

func TestReadmeTOMLIsAccepted(t *testing.T) {
	for _, b := range blocks(t) {
		if b.language != "toml" || b.test == "phases" {
			continue
		}
		if _, err := config.Parse(fmt.Sprintf("README.md, block at line %d", b.line), []byte(b.text)); err != nil {
			t.Error(err)
		}
	}
}

// The long block has every key, and each value in it is the default. What there is none of by default stands
// behind #.
func TestReadmeHasEveryKeyWithItsDefault(t *testing.T) {
	text := named(t, "every key with its default")[0].text
	got, err := config.Parse("README.md", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	least := "[frontend]\nbind_on = \"127.0.0.1:7070\"\n[[frontend.backend]]\nforward_to = \"127.0.0.1:8080\"\n"
	want, err := config.Parse("least.toml", []byte(least))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(normal(t, got), normal(t, want)) {
		t.Errorf("the values are not the defaults: got\n%s\nwant\n%s", normal(t, got), normal(t, want))
	}
	for _, key := range keys(reflect.TypeFor[config.Config]()) {
		if !regexp.MustCompile(`(?m)(^(# )?|[{,] *|^\[+[a-z.]*)` + key + ` *[=\]]`).MatchString(text) {
			t.Errorf("the key %s is not there", key)
		}
	}
}

func normal(t *testing.T, c *config.Config) string {
	t.Helper()
	text, err := c.TOML()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// keys returns the keys of the schema.
func keys(of reflect.Type) (list []string) {
	for of.Kind() == reflect.Slice {
		of = of.Elem()
	}
	if of.Kind() != reflect.Struct {
		return nil
	}
	for i := range of.NumField() {
		if key := of.Field(i).Tag.Get("toml"); key != "" {
			list = append(append(list, key), keys(of.Field(i).Type)...)
		}
	}
	return list
}

// The example is mini-balancer's file with comments around it, byte for byte the block in README.md.
func TestReadmeShowsTheExample(t *testing.T) {
	const miniBalancer = `[frontend]
bind_on = "127.0.0.1:7070"

[[frontend.backend]]
forward_to = "127.0.0.1:8080"

[[frontend.backend]]
forward_to = "127.0.0.1:9090"
`
	if got := named(t, "core of examples/two-echo.toml")[0].text; got != miniBalancer {
		t.Errorf("got\n%s", got)
	}
	before, after, ok := strings.Cut(read(t, "examples/two-echo.toml"), miniBalancer)
	if !ok {
		t.Error("examples/two-echo.toml does not have it byte for byte")
	}
	for line := range strings.Lines(before + after) {
		if line != "\n" && !strings.HasPrefix(line, "#") {
			t.Errorf("examples/two-echo.toml has more than that: %s", line)
		}
	}
}

// What README.md shows of the example is all of it, but for the name.
func TestReadmeShowsTheFragileServer(t *testing.T) {
	got, err := config.Parse("README.md", []byte(named(t, "fragile")[0].text))
	if err != nil {
		t.Fatal(err)
	}
	want, err := config.Load("examples/fragile-server.toml")
	if err != nil {
		t.Fatal(err)
	}
	got.Frontends[0].Name = want.Frontends[0].Name
	if !reflect.DeepEqual(normal(t, got), normal(t, want)) {
		t.Errorf("got\n%s\nwant\n%s", normal(t, got), normal(t, want))
	}
}

// The commands are run as they stand, but for the address: the server may be anywhere.
func TestReadmeLoad(t *testing.T) {
	_, address := echoServer(t, "127.0.0.1:0", "")
	for line := range strings.Lines(named(t, "load")[0].text) {
		args := strings.Fields(strings.ReplaceAll(line, "127.0.0.1:7070", address))
		if r := weir(t, ".", args[1:]...); r.code != 0 {
			t.Errorf("%s: exit code %d, want 0\n%s%s", line, r.code, r.stdout, r.stderr)
		}
	}
}

func TestReadmePhases(t *testing.T) {
	file := filepath.Join(t.TempDir(), "phases.toml")
	write(t, file, named(t, "phases")[0].text)
	if _, _, err := load.LoadPhases(file); err != nil {
		t.Error(err)
	}
}

func TestReadmeDemo(t *testing.T) {
	out, err := exec.Command("bash", "-e", "-c", named(t, "demo")[0].text).Output()
	if err != nil || !strings.Contains(string(out), "b2 is back") {
		t.Errorf("got %v and\n%s", err, out)
	}
}

// These are not run from here: one is what runs this, one is what TestMain did, one takes a minute.
func TestReadmeOtherCommands(t *testing.T) {
	for test, want := range map[string]string{
		"suite":     "./scripts/test\n",
		"build":     "go build .\n",
		"benchmark": "go test -run '^$' -bench 'Connection|Weighted' -count 5 ./backend/strategy\n",
	} {
		if got := named(t, test)[0].text; got != want {
			t.Errorf("%s: got %q, this test knows %q", test, got, want)
		}
	}
	if info, err := os.Stat("scripts/test"); err != nil || info.Mode()&0o111 == 0 {
		t.Errorf("scripts/test cannot be run: %v", err)
	}
	names := regexp.MustCompile(`(?m)^func Benchmark\w*(Connection|Weighted)\w*\(`)
	if found := names.FindAllString(read(t, "backend/strategy/bench_test.go"), -1); len(found) != 2 {
		t.Errorf("got benchmarks %q, want those two", found)
	}
}

func TestReadmeCheck(t *testing.T) {
	cmd := exec.Command("bash", "-c", named(t, "check of config/testdata/bad/eight.toml")[0].text)
	cmd.Dir = stage(t)
	out, _ := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != 1 {
		t.Errorf("got exit code %d, want 1", code)
	}
	if want := named(t, "output of check, in part")[0].text; !strings.HasPrefix(string(out), want) {
		t.Errorf("got\n%swant\n%s", out, want)
	}
}

// stage is a directory that looks like a checkout after "go build .".
func stage(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, target := range map[string]string{"weir": binary, "examples": inRepository(t, "examples"), "config": inRepository(t, "config")} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestReadmeTourWithSocat(t *testing.T) {
	if _, err := exec.LookPath("socat"); err != nil {
		skipAloud(t, "socat is not installed")
	}
	tour(t, "tour socat")
}

func TestReadmeTourWithEcho(t *testing.T) { tour(t, "tour echo") }

// skipAloud skips on a person's machine, and fails where everything should be there.
func skipAloud(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s, and CI=true wants it", why)
	}
	t.Skip("SKIPPED: " + why)
}

// tour gives a shell the blocks of a tour exactly as they stand, one after the other, as a person would
// who looks whether the servers listen before going on.
func tour(t *testing.T, name string) {
	if taken := takenPorts([]string{"7070", "8080", "9090"}); len(taken) > 0 {
		skipAloud(t, fmt.Sprintf("ports %v of 127.0.0.1 are taken", taken))
	}
	cmd := exec.Command("bash", "-s")
	cmd.Dir = stage(t)
	keyboard, screen := io.Pipe()
	cmd.Stdin = keyboard
	shell := startCommand(t, cmd)
	defer screen.Close()
	for _, b := range named(t, name) {
		fmt.Fprint(screen, b.text)
		if _, ports, ok := strings.Cut(b.test, ", waits for "); ok {
			eventually(t, "the servers to listen", func() bool { return listening(t, strings.Fields(ports)) })
		}
	}
	fmt.Fprintln(screen, "echo that was all")
	shell.stdout.await(t, "that was all")
	got := strings.TrimSuffix(shell.stdout.String(), "that was all\n")
	if want := named(t, "output of "+name)[0].text; got != want {
		t.Errorf("got\n%swant\n%s\nstderr:\n%s", got, want, shell.stderr)
	}
	fmt.Fprint(screen, named(t, "end of "+name)[0].text)
	fmt.Fprintln(screen, "wait")
	screen.Close()
	shell.wait(t)
	if strings.Count(shell.stderr.String(), `"message":"served connection"`) < 2 {
		t.Errorf("-v does not tell of the sessions:\n%s", shell.stderr)
	}
	eventually(t, "the ports to be free", func() bool { return len(takenPorts([]string{"7070", "8080", "9090"})) == 0 })
}

// listening looks whether somebody listens on all the ports of 127.0.0.1, without connecting: that would
// be a session.
func listening(t *testing.T, ports []string) bool {
	t.Helper()
	sockets := read(t, "/proc/net/tcp")
	for _, port := range ports {
		n, err := strconv.Atoi(port)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(sockets, fmt.Sprintf(": 0100007F:%04X 00000000:0000 0A", n)) {
			return false
		}
	}
	return true
}

// The table of outcomes is the one in the code.
func TestReadmeOutcomes(t *testing.T) {
	var got []string
	for _, row := range table(t, "outcomes") {
		got = append(got, row[0]+" "+row[1])
	}
	var want []string
	for _, o := range outcomesInCode(t) {
		want = append(want, fmt.Sprintf("`%s` `%s`", o[0], o[1]))
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// outcomesInCode reads words and letters out of the table in frontend/outcome.go. A letter that depends
// on the phase is a dot. The first, for an outcome that is not set, is not for users.
func outcomesInCode(t *testing.T) (list [][2]string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "frontend/outcome.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || spec.Names[0].Name != "outcomes" {
			return true
		}
		for _, e := range spec.Values[0].(*ast.CompositeLit).Elts {
			fields := e.(*ast.KeyValueExpr).Value.(*ast.CompositeLit).Elts
			words, _ := strconv.Unquote(fields[0].(*ast.BasicLit).Value)
			list = append(list, [2]string{words, letter(fields[1]) + letter(fields[2])})
		}
		return false
	})
	if len(list) < 2 || list[0][0] != "unknown" {
		t.Fatalf("the table in frontend/outcome.go looks different: %q", list)
	}
	return list[1:]
}

func letter(e ast.Expr) string {
	l := e.(*ast.BasicLit)
	if l.Kind == token.CHAR {
		return l.Value[1:2]
	}
	return "."
}

// table returns the rows of the table behind a comment, without its head.
func table(t *testing.T, test string) (rows [][]string) {
	t.Helper()
	_, text, ok := strings.Cut(read(t, "README.md"), "<!-- test: "+test+" -->\n\n")
	if !ok {
		t.Fatalf("README.md has no table %q", test)
	}
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "|") {
			break
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		rows = append(rows, cells)
	}
	return rows[2:]
}

// The fields of the line that ends a session are those in the table, in the order of the table but for
// level and time.
func TestReadmeLogFields(t *testing.T) {
	documented := map[string]bool{}
	for _, row := range table(t, "fields of served connection") {
		for _, name := range regexp.MustCompile("`(\\w+)`").FindAllStringSubmatch(row[0], -1) {
			documented[name[1]] = true
		}
	}
	server := listen(t, "127.0.0.1:0")
	w, address := balance(t, server.Addr().String())
	c := dial(t, address)
	for range 2 { // the first may be a probe; a session with an error has every field
		s, err := server.Accept()
		if err != nil {
			t.Fatal(err)
		}
		s.(*net.TCPConn).SetLinger(0)
		defer s.Close()
	}
	c.SetLinger(0)
	c.Close()
	line := w.stderr.await(t, "served connection")
	logged := map[string]bool{}
	for _, field := range regexp.MustCompile(`"(\w+)":`).FindAllStringSubmatch(line, -1) {
		logged[field[1]] = true
	}
	if !reflect.DeepEqual(logged, documented) {
		t.Errorf("got the fields %v\nwant %v", logged, documented)
	}
	w.signal(syscall.SIGTERM)
	w.wantExit(t, 0)
}

// Every file and every heading of one word that README.md and CHANGELOG.md point to is there.
func TestReadmeLinks(t *testing.T) {
	for _, file := range []string{"README.md", "CHANGELOG.md"} {
		for _, link := range regexp.MustCompile(`\]\(([^)]+)\)`).FindAllStringSubmatch(read(t, file), -1) {
			if strings.HasPrefix(link[1], "https://") {
				continue
			}
			if heading, ok := strings.CutPrefix(link[1], "#"); ok {
				if !regexp.MustCompile(`(?im)^##+ ` + heading + `$`).MatchString(read(t, file)) {
					t.Errorf("%s: no heading %s", file, heading)
				}
				continue
			}
			if _, err := os.Stat(link[1]); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
}

// README.md says what the exit codes are, and the code says the same.
func TestReadmeExitCodes(t *testing.T) {
	text := read(t, "README.md")
	for code, words := range map[int]string{0: "done", exitFailed: "could not start", exitUsage: "bad command line"} {
		if !strings.Contains(text, fmt.Sprintf("\n| %d | %s", code, words)) {
			t.Errorf("README.md does not say that %d is %s", code, words)
		}
	}
}

// operated starts the weir of README.md with other addresses, and returns a shell beside it that runs a block.
func operated(t *testing.T) (run func(text string) (out string, code int)) {
	t.Helper()
	_, left := echoServer(t, "127.0.0.1:0", "")
	_, right := echoServer(t, "127.0.0.1:0", "")
	socket := filepath.Join(shortTempDir(t), "admin.sock")
	here := strings.NewReplacer("127.0.0.1:7070", "127.0.0.1:0", "127.0.0.1:8080", left, "127.0.0.1:9090", right,
		"/run/weir/admin.sock", socket)
	door := here.Replace(named(t, "door")[0].text)
	dir := stage(t)
	write(t, filepath.Join(dir, "weir.toml"), door)
	changed := strings.NewReplacer("[frontend]\n", "[frontend]\nidle_timeout = \"1h\"\n", "name = \"left\"\n", "name = \"left\"\nweight = 2\n")
	write(t, filepath.Join(dir, "new.toml"), changed.Replace(door))
	p := start(t, dir, "run", "-v", "-c", "weir.toml")
	p.stderr.await(t, "listening for connections")
	eventually(t, "the door to open", func() bool { return status(t, socket) != "" })
	t.Cleanup(func() {
		p.signal(syscall.SIGTERM)
		p.wantExit(t, 0)
	})
	return func(text string) (string, int) {
		cmd := exec.Command("bash", "-e", "-c", here.Replace(text))
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "WEIR_ADMIN=unix:"+socket)
		out, _ := cmd.CombinedOutput()
		return string(out), cmd.ProcessState.ExitCode()
	}
}

func TestReadmeOperate(t *testing.T) {
	run := operated(t)
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	out, code := run(named(t, "operate")[0].text)
	want := strings.ReplaceAll(named(t, "output of operate, in part")[0].text, "by root", "by "+me.Username)
	if code != 0 || !strings.HasPrefix(out, want) || !strings.Contains(out, "2 of 2 backends usable") {
		t.Errorf("exit code %d, and got\n%swant\n%s", code, out, want)
	}
	out, code = run(named(t, "drain")[0].text)
	want = strings.ReplaceAll(named(t, "output of drain")[0].text, "by root", "by "+me.Username)
	if code != 0 || out != want {
		t.Errorf("exit code %d, and got\n%swant\n%s", code, out, want)
	}
	out, code = run(named(t, "plan")[0].text)
	if want := named(t, "output of plan")[0].text; code != 3 || out != want {
		t.Errorf("exit code %d, and got\n%swant\n%s", code, out, want)
	}
}

func TestReadmeCurl(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		skipAloud(t, "curl is not installed")
	}
	out, code := operated(t)(named(t, "curl")[0].text)
	if code != 0 || !strings.HasPrefix(out, "ok\n") || !strings.Contains(out, `"weight":3`) {
		t.Errorf("exit code %d, and got\n%s", code, out)
	}
}

// Each command for a weir that runs is in the table, and there are no others.
func TestReadmeCommandsOfOperators(t *testing.T) {
	documented := map[string]bool{}
	for _, row := range table(t, "commands of operators") {
		documented[strings.Fields(strings.Trim(row[0], "`"))[1]] = true
	}
	is := map[string]bool{}
	for _, c := range newApp().Commands {
		if c.Category != "" {
			is[c.Name] = true
		}
	}
	if !reflect.DeepEqual(documented, is) {
		t.Errorf("got the commands %v\nwant %v", documented, is)
	}
}

// Each metric of weir's own is in the table, in the order of the code.
func TestReadmeMetrics(t *testing.T) {
	var documented, is []string
	for _, row := range table(t, "metrics") {
		documented = append(documented, strings.Trim(row[0], "`"))
	}
	for _, name := range regexp.MustCompile(`desc\("(\w+)"`).FindAllStringSubmatch(read(t, "balancer/metrics/names.go"), -1) {
		is = append(is, "weir_"+name[1])
	}
	if is = append(is, "weir_build_info"); !slices.Equal(documented, is) {
		t.Errorf("got  %q\nwant %q", documented, is)
	}
}
