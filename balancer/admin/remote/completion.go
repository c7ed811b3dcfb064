package remote

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"weir/balancer/admin"
)

// The scripts hand the words of the command line to the hidden command "complete", which prints one
// candidate a line. What it does not know, the shell completes as the name of a file.
var (
	//go:embed completion.bash
	bashScript string
	//go:embed completion.zsh
	zshScript string
	//go:embed completion.fish
	fishScript string
)

var shells = []string{"bash", "zsh", "fish"}

func (k *remote) completionCommands() []*cli.Command {
	visible := k.command("completion", "print a script that completes weir's commands in a shell", "bash|zsh|fish",
		"bash:  source <(weir completion bash)\n"+
			"zsh:   weir completion zsh > a directory of $fpath/_weir\n"+
			"fish:  weir completion fish > ~/.config/fish/completions/weir.fish",
		1, 1, k.completion)
	visible.Category = ""
	return []*cli.Command{visible, {
		Name: "complete", Hidden: true, SkipFlagParsing: true, HideHelpCommand: true, HideHelp: true,
		Action: func(c *cli.Context) error { return k.complete(c, c.Args().Slice()) },
	}}
}

func (k *remote) completion(c *cli.Context, operands []string) error {
	scripts := map[string]string{"bash": bashScript, "zsh": zshScript, "fish": fishScript}
	script, ok := scripts[operands[0]]
	if !ok {
		return k.BadUsage(c, "%q is none of %s", operands[0], strings.Join(shells, ", "))
	}
	_, err := fmt.Fprint(c.App.Writer, script)
	return err
}

// complete prints what the last of the words could become. It never fails: whoever presses Tab wants no
// message in the middle of the line.
func (k *remote) complete(c *cli.Context, words []string) error {
	if len(words) > 0 && words[0] == "--" {
		words = words[1:]
	}
	if len(words) == 0 {
		return nil
	}
	l := parseLine(c.App, words)
	for _, candidate := range k.candidates(c, l) {
		if strings.HasPrefix(candidate, l.current) && k.Printable(candidate) == candidate {
			fmt.Fprintln(c.App.Writer, candidate)
		}
	}
	return nil
}

// line is a command line as far as it is typed.
type line struct {
	command  *cli.Command // nil: none yet
	operands int          // before current
	flag     string       // the one whose value current is; empty: none
	current  string
	door     admin.ClientOptions // as the line says
	file     string              // of -c
}

func parseLine(app *cli.App, words []string) *line {
	l := &line{current: words[len(words)-1]}
	for _, word := range words[:len(words)-1] {
		switch {
		case l.flag != "":
			l.set(l.flag, word)
			l.flag = ""
		case strings.HasPrefix(word, "-"):
			name, value, ok := strings.Cut(strings.TrimLeft(word, "-"), "=")
			if ok {
				l.set(name, value)
			} else if takesValue(l.flags(app), name) {
				l.flag = name
			}
		case l.command == nil && l.operands == 0 && app.Command(word) != nil:
			l.command = app.Command(word)
		default:
			l.operands++
		}
	}
	return l
}

func (l *line) set(name, value string) {
	switch name {
	case "admin":
		l.door.Address = value
	case "admin-token-file":
		l.door.TokenFile = value
	case "admin-ca":
		l.door.CA = value
	case "admin-certificate":
		l.door.Certificate = value
	case "admin-key":
		l.door.Key = value
	case "c", "config":
		l.file = value
	}
}

// flags returns those that may come next.
func (l *line) flags(app *cli.App) []cli.Flag {
	if l.command != nil {
		return l.command.Flags
	}
	return app.Flags
}

func takesValue(flags []cli.Flag, name string) bool {
	i := slices.IndexFunc(flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), name) })
	if i < 0 {
		return false
	}
	f, ok := flags[i].(cli.DocGenerationFlag)
	return ok && f.TakesValue()
}

func (k *remote) candidates(c *cli.Context, l *line) []string {
	switch {
	case l.flag != "":
		return k.values(c, l)
	case strings.HasPrefix(l.current, "-"):
		return flagNames(l.flags(c.App))
	case l.command == nil && l.operands == 0:
		return commandNames(c.App)
	case l.command == nil: // what stands there is none
		return nil
	case l.command.Name == "completion" && l.operands == 0:
		return shells
	case takesBackend(l.command.Name, l.operands):
		return k.backendNames(c, l, false)
	}
	return nil
}

// values completes the value of a flag.
func (k *remote) values(c *cli.Context, l *line) []string {
	switch l.flag {
	case "backend":
		return k.backendNames(c, l, true)
	case "bind":
		if s := k.quickStatus(c, l); s != nil {
			return listeners(s)
		}
	case "frontend":
		if s := k.quickStatus(c, l); s != nil {
			return frontends(s)
		}
	case "sort":
		return admin.SessionSorts
	case "log-format":
		return []string{"auto", "console", "json"}
	}
	return nil
}

// takesBackend says whether an operand is a backend's name.
func takesBackend(command string, operand int) bool {
	switch command {
	case "drain", "ready", "maint", "remove":
		return true
	case "weight", "limit":
		return operand == 0
	}
	return false
}

// listeners returns where the frontends listen.
func listeners(s *admin.Status) (list []string) {
	for _, f := range s.Frontends {
		list = append(list, f.Addresses...)
	}
	return list
}

func commandNames(app *cli.App) (names []string) {
	for _, command := range app.VisibleCommands() {
		names = append(names, command.Name)
	}
	return names
}

func flagNames(flags []cli.Flag) (names []string) {
	for _, f := range flags {
		names = append(names, "--"+f.Names()[0])
	}
	if !slices.Contains(names, "--help") { // package cli adds it to what runs
		names = append(names, "--help")
	}
	return names
}

// backendNames gives those that mean one backend, and frontend/name where a name alone would not, or where
// one is being typed. Those that are removed still have sessions, but nothing else to be changed.
func (k *remote) backendNames(c *cli.Context, l *line, removed bool) (names []string) {
	s := k.quickStatus(c, l)
	if s == nil {
		return nil
	}
	all := places(s, removed)
	times := map[string]int{}
	for _, p := range all {
		times[p.backend]++
	}
	for _, p := range all {
		if times[p.backend] == 1 {
			names = append(names, p.backend)
		}
		if times[p.backend] > 1 || l.current != "" && strings.HasPrefix(p.String(), l.current) {
			names = append(names, p.String())
		}
	}
	return names
}

// quickTime is how long somebody who has pressed Tab waits.
const quickTime = time.Second

// quickStatus asks the weir that the line means; nil: there is no answer.
func (k *remote) quickStatus(c *cli.Context, l *line) *admin.Status {
	o, err := doorAt(l.door.Address, l.file, &l.door)
	if err != nil {
		return nil
	}
	client, err := admin.NewClient(o)
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(c.Context, quickTime)
	defer cancel()
	s, err := client.Status(ctx)
	if err != nil {
		return nil
	}
	return &s
}
