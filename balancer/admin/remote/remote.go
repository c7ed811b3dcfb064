// Package remote has weir's commands for a weir that runs: they ask its door, and show the answer to a
// person, or as JSON to a program.
//
// It decides nothing about balancing, and keeps nothing. Start with [Commands]; then each command is a file.
package remote

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"weir/balancer/admin"
	"weir/config"
)

// Shell is what these commands share with weir's others.
type Shell struct {
	// BadUsage makes the error for a bad command line, BadFlag that for what package flag objects to.
	BadUsage func(c *cli.Context, format string, args ...any) error
	BadFlag  cli.OnUsageErrorFunc
	// Text returns a string flag from the innermost part of the command line that sets it.
	Text func(c *cli.Context, name string) string
	// Instead does what the flags before a command ask for in its place, or else what the command does.
	Instead func(*cli.Context, cli.ActionFunc) error
	// Printable escapes what could steer a terminal.
	Printable func(string) string
	// Now tells the time. Nil: time.Now.
	Now func() time.Time
	// Terminal returns the width of what is written to, 0 if it is no terminal, and whether colours are
	// welcome. Nil: it is asked.
	Terminal func(io.Writer) (width int, colours bool)
	// Height returns the lines of a terminal, 0 if it is none or does not tell. Nil: it is asked.
	Height func(io.Writer) int
}

// ExitStatus is an error that is none: it is the exit code of a command that has said all there is to say.
type ExitStatus int

func (s ExitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

const (
	// changesFound is the exit code of plan when there are changes.
	changesFound ExitStatus = 3
	// unfinished is the exit code of what waits, when it was interrupted or had no time left.
	unfinished ExitStatus = 4
)

// Commands returns the commands.
func Commands(s Shell) []*cli.Command {
	if s.Now == nil {
		s.Now = time.Now
	}
	if s.Terminal == nil {
		s.Terminal = terminal
	}
	if s.Height == nil {
		s.Height = height
	}
	k := &remote{s}
	return slices.Concat(
		[]*cli.Command{k.statusCommand(), k.sessionsCommand(), k.killCommand()},
		k.backendCommands(),
		[]*cli.Command{k.eventsCommand(), k.whyCommand(), k.planCommand(), k.reloadCommand(), k.upgradeCommand(), k.saveCommand(), k.failbackCommand()},
		k.completionCommands(),
	)
}

type remote struct{ Shell }

// action is a command with what stands on the line beside its flags.
type action func(c *cli.Context, operands []string) error

// command makes a command that takes from least to most operands.
func (k *remote) command(name, usage, synopsis, description string, least, most int, do action, flags ...[]cli.Flag) *cli.Command {
	return &cli.Command{
		Name:                   name,
		Category:               "of a weir that runs",
		Usage:                  usage,
		UsageText:              "weir " + name + " " + synopsis,
		Description:            description,
		Flags:                  slices.Concat(flags...),
		UseShortOptionHandling: true,
		HideHelpCommand:        true,
		OnUsageError:           k.BadFlag,
		Action: func(c *cli.Context) error {
			return k.Instead(c, func(c *cli.Context) error {
				operands, err := k.operands(c)
				switch {
				case err != nil:
					return err
				case len(operands) < least:
					return k.BadUsage(c, "%s needs more: weir %s %s", name, name, synopsis)
				case len(operands) > most && most == 0:
					return k.BadUsage(c, "%s takes no argument, but got %q", name, operands[0])
				case len(operands) > most:
					return k.BadUsage(c, "%s takes no further argument, but got %q", name, operands[most])
				}
				return plainly(do(c, operands))
			})
		},
	}
}

// plainly gives mistakes in a configuration as config does: each with its place.
func plainly(err error) error {
	var p *admin.Problem
	if errors.As(err, &p) && len(p.Mistakes) > 0 {
		return p.ConfigMistakes()
	}
	return err
}

// operands returns what is not a flag. Flags may stand behind operands, too, where package flag does not
// look for them.
func (k *remote) operands(c *cli.Context) (list []string, err error) {
	for args := c.Args().Slice(); len(args) > 0; {
		word := args[0]
		args = args[1:]
		if word == "--" {
			return append(list, args...), nil
		}
		if !strings.HasPrefix(word, "-") || word == "-" || negative(word) {
			list = append(list, word)
			continue
		}
		if args, err = k.lateFlag(c, word, args); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// negative says whether a word is a number below 0: no flag is one, and who takes numbers says what is wrong with it.
func negative(word string) bool {
	_, err := strconv.ParseFloat(word, 64)
	return err == nil
}

// lateFlag sets the flag of a word, and returns the words behind it and its value.
func (k *remote) lateFlag(c *cli.Context, word string, args []string) ([]string, error) {
	name, value, hasValue := strings.Cut(strings.TrimLeft(word, "-"), "=")
	i := slices.IndexFunc(c.Command.Flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), name) })
	if i < 0 {
		return nil, k.BadUsage(c, "unknown flag %s", word)
	}
	flag := c.Command.Flags[i]
	if _, isBool := flag.(*cli.BoolFlag); isBool && !hasValue {
		value = "true"
	} else if !hasValue {
		if len(args) == 0 {
			return nil, k.BadUsage(c, "%s needs a value", word)
		}
		value, args = args[0], args[1:]
	}
	for _, name := range flag.Names() {
		if err := c.Set(name, value); err != nil {
			return nil, k.BadUsage(c, "invalid value %q for %s", value, word)
		}
	}
	return args, nil
}

// doorFlags say where weir's door is.
func doorFlags() []cli.Flag {
	return append(proofFlags(),
		&cli.StringFlag{Name: "config", Aliases: []string{"c"}, Usage: "ask the weir that runs with `FILE`: at its admin.bind_on"})
}

func proofFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "admin", Usage: "ask the weir at `ADDR`: unix:/path, host:port or https://host:port (default: as -c says, or $WEIR_ADMIN, or " + admin.DefaultAddress + ")"},
		&cli.StringFlag{Name: "admin-token-file", EnvVars: []string{"WEIR_ADMIN_TOKEN_FILE"}, Usage: "show the bearer token in `FILE`"},
		&cli.StringFlag{Name: "admin-ca", EnvVars: []string{"WEIR_ADMIN_CA"}, Usage: "trust the authorities in `FILE`, in PEM, for weir's certificate"},
		&cli.StringFlag{Name: "admin-certificate", EnvVars: []string{"WEIR_ADMIN_CERTIFICATE"}, Usage: "show the certificate in `FILE`, in PEM"},
		&cli.StringFlag{Name: "admin-key", EnvVars: []string{"WEIR_ADMIN_KEY"}, Usage: "the key of that certificate is in `FILE`, in PEM"},
	}
}

func jsonFlag() []cli.Flag {
	return []cli.Flag{&cli.BoolFlag{Name: "json", DisableDefaultText: true, Usage: "print JSON, as the door gives it"}}
}

// client returns a client for the weir that the command line means.
func (k *remote) client(c *cli.Context) (*admin.Client, error) {
	return k.clientAt(c, k.Text(c, "admin"), k.Text(c, "config"))
}

func (k *remote) clientAt(c *cli.Context, address, file string) (*admin.Client, error) {
	proof := admin.ClientOptions{
		TokenFile: k.Text(c, "admin-token-file"), CA: k.Text(c, "admin-ca"), Certificate: k.Text(c, "admin-certificate"), Key: k.Text(c, "admin-key"),
	}
	if (proof.Certificate == "") != (proof.Key == "") {
		return nil, k.BadUsage(c, "--admin-certificate and --admin-key go together")
	}
	o, err := doorAt(address, file, &proof)
	if err != nil {
		return nil, err
	}
	return admin.NewClient(o)
}

// doorAt says where the door is: at an address, or else where a file says, or else where the environment
// does. What of proof is set wins over the file.
func doorAt(address, file string, proof *admin.ClientOptions) (o admin.ClientOptions, err error) {
	switch {
	case address != "":
		o.Address = address
	case file != "":
		if o, err = doorOf(file); err != nil {
			return o, err
		}
	default:
		o.Address = os.Getenv("WEIR_ADMIN")
	}
	o.TokenFile = cmp.Or(proof.TokenFile, o.TokenFile)
	o.CA = cmp.Or(proof.CA, o.CA)
	o.Certificate, o.Key = proof.Certificate, proof.Key
	return o, nil
}

// doorOf says where the door of a file is.
func doorOf(file string) (o admin.ClientOptions, err error) {
	cfg, err := config.Load(file)
	if err != nil {
		return o, err
	}
	if cfg.Admin.BindOn == (config.Address{}) {
		return o, fmt.Errorf("%s opens no door: it has no admin.bind_on", file)
	}
	return admin.ClientOptionsOf(&cfg.Admin), nil
}

// printJSON prints a value as the door gave it, indented.
func printJSON(c *cli.Context, value any) error {
	e := json.NewEncoder(c.App.Writer)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(value)
}

// printf prints a line of text; what it quotes is made printable.
func (k *remote) printf(c *cli.Context, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
		fmt.Fprintln(c.App.Writer, k.Printable(line))
	}
}

// place is a backend and the frontend before it.
type place struct{ frontend, backend string }

func (p place) String() string { return p.frontend + "/" + p.backend }

// places returns all backends, in the order of the file, each once. Those that are removed but still have sessions are
// among them if that is wanted.
func places(s *admin.Status, removed bool) (list []place) {
	there := map[place]bool{}
	for _, f := range s.Frontends {
		for _, b := range f.Pool.Backends {
			p := place{f.Name, b.Name}
			if there[p] || b.State == "removed" && !removed {
				continue
			}
			there[p] = true
			list = append(list, p)
		}
	}
	return list
}

// findAll returns the backends that a person means by their names.
func findAll(s *admin.Status, names []string) (list []place, err error) {
	for _, name := range names {
		p, err := find(s, name)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

// find returns the backend that a person means by its name, or by frontend/name; also one that is removed.
func find(s *admin.Status, name string) (place, error) {
	all := places(s, true)
	var found []place
	for _, p := range all {
		if p.backend == name || p.String() == name {
			found = append(found, p)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return place{}, fmt.Errorf("there is no backend %q: there are %s", name, list(all))
	}
	return place{}, fmt.Errorf("there is more than one backend %q: which of %s?", name, list(found))
}

// list names some of many.
func list(all []place) string {
	const most = 10
	if len(all) == 0 {
		return "none"
	}
	words := make([]string, 0, most)
	for _, p := range all[:min(most, len(all))] {
		words = append(words, p.String())
	}
	text := strings.Join(words, ", ")
	if len(all) > most {
		text += fmt.Sprintf(" and %d more", len(all)-most)
	}
	return text
}
