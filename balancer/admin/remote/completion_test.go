package remote

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// complete returns what the words could become. The last word may be empty.
func complete(t *testing.T, words ...string) []string {
	t.Helper()
	out, err := on(t, screen{}, append([]string{"complete", "--"}, words...)...)
	if err != nil {
		t.Errorf("%q: %v", words, err)
	}
	return strings.Fields(out)
}

func TestComplete(t *testing.T) {
	op := open(t)
	address := os.Getenv("WEIR_ADMIN")
	file := filepath.Join(t.TempDir(), "weir.toml")
	os.WriteFile(file, []byte("[frontend]\nbind_on = \":7070\"\nbackend = { forward_to = \"127.0.0.1:1\" }\n[admin]\nbind_on = \""+address+"\"\n"), 0o600)
	type row struct {
		words string // the last one is empty behind a space
		want  string
	}
	rows := []row{
		{"dr", "drain"}, {"s", "status sessions save"}, {"comple", "completion"}, {"-", "--config --verbose --help"},
		{"drain ", "db1 db2"}, {"drain db", "db1 db2"}, {"drain db1 db", "db1 db2"}, {"drain x", ""}, {"drain pg/", "pg/db1 pg/db2"},
		{"ready ", "db1 db2"}, {"maint ", "db1 db2"}, {"remove ", "db1 db2"}, {"weight ", "db1 db2"}, {"weight db1 ", ""}, {"limit d", "db1 db2"},
		{"-v drain ", "db1 db2"}, {"drain --json ", "db1 db2"}, {"add ", ""}, {"kill ", ""}, {"why ", ""},
		{"kill --backend ", "db1 db2"}, {"kill --frontend ", "pg"}, {"kill --backend db1 --frontend p", "pg"},
		{"kill --cl", "--client"}, {"kill --a", "--all --admin --admin-token-file --admin-ca --admin-certificate --admin-key"},
		{"why 10.0.0.1 --bind ", "127.0.0.1:5432"}, {"drain --t", "--timeout --then-kill"}, {"drain --wait --timeout ", ""}, {"status --w", "--watch"}, {"status --watch ", ""},
		{"kill --r", "--rate"}, {"kill --all --limit ", ""}, {"drain db1 --wait d", "db1 db2"},
		{"sessions --sort ", "age idle bytes rtt"}, {"completion ", "bash zsh fish"}, {"completion bash ", ""}, {"none ", ""}, {"drain -c ", ""},
	}
	for _, r := range rows {
		if got := complete(t, strings.Split(r.words, " ")...); !slices.Equal(got, strings.Fields(r.want)) {
			t.Errorf("%q: got %q, want %q", r.words, got, r.want)
		}
	}
	op.State.Frontends = append(op.State.Frontends, op.State.Frontends[0])
	op.State.Frontends[1].Name = "pg2"
	if got := complete(t, "drain", ""); !slices.Equal(got, []string{"pg/db1", "pg/db2", "pg2/db1", "pg2/db2"}) {
		t.Errorf("two of each: got %q", got)
	}
	t.Setenv("WEIR_ADMIN", "unix:/none")
	for words, want := range map[string]int{
		"drain ": 0, "drain --admin " + address + " ": 4, "drain --admin=" + address + " ": 4, "drain -c " + file + " ": 4, "-c " + file + " drain ": 4, "drain -c /none ": 0,
	} {
		if got := complete(t, strings.Split(words, " ")...); len(got) != want {
			t.Errorf("%q: got %q, want %d", words, got, want)
		}
	}
	if out, err := on(t, screen{}, "complete"); out != "" || err != nil {
		t.Errorf("no words: got %q, %v", out, err)
	}
}

// The scripts are taken by their shells, and hand on the words. A weir that tells what it was given stands
// in for weir.
func TestScripts(t *testing.T) {
	dir := t.TempDir()
	fake := "#!/bin/sh\nprintf '<%s>' \"$@\" >" + dir + "/args\necho 127.0.0.1:8080\necho 127.0.0.1:9090\n"
	if err := os.WriteFile(filepath.Join(dir, "weir"), []byte(fake), 0o700); err != nil {
		t.Fatal(err)
	}
	for shell, c := range map[string]struct {
		test string // $script is the file
		want string
	}{
		"bash": {`source $script; COMP_LINE='weir -c f drain 127.0.0.1:'; COMP_POINT=${#COMP_LINE}; _weir; echo "${COMPREPLY[@]}"; complete -p weir`,
			"8080 9090\ncomplete -o default -F _weir weir\n"},
		"zsh":  {`compadd() { shift; print -r -- "$@" }; compdef() { : }; source $script; words=(weir -c f drain 127.0.0.1:); CURRENT=5; _weir`, "127.0.0.1:8080 127.0.0.1:9090\n"},
		"fish": {`source $script; complete -C 'weir -c f drain 127.0.0.1:'`, "127.0.0.1:8080\n127.0.0.1:9090\n"},
	} {
		t.Run(shell, func(t *testing.T) {
			path, err := exec.LookPath(shell)
			if err != nil {
				if os.Getenv("CI") == "true" {
					t.Fatalf("%s is not installed", shell)
				}
				t.Skipf("SKIPPED: %s is not installed", shell)
			}
			script := filepath.Join(dir, "script."+shell)
			os.WriteFile(script, []byte(weir(t, "completion "+shell)), 0o600)
			cmd := exec.CommandContext(t.Context(), path, "-c", strings.ReplaceAll(c.test, "$script", script))
			cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "HOME="+dir, "XDG_CONFIG_HOME="+dir)
			out, err := cmd.CombinedOutput()
			if err != nil || string(out) != c.want {
				t.Errorf("got %q, %v, want %q", out, err, c.want)
			}
			if args, _ := os.ReadFile(dir + "/args"); string(args) != "<complete><--><-c><f><drain><127.0.0.1:>" {
				t.Errorf("weir was given %s", args)
			}
			os.Remove(dir + "/args")
		})
	}
}
