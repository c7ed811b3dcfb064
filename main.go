// Command weir balances TCP connections among backends: see README.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"syscall"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/rs/zerolog"
	"github.com/urfave/cli/v2"

	"weir/balancer"
	"weir/balancer/load"
	"weir/config"
)

// Exit codes.
const (
	exitFailed = 1 // could not start, or check found mistakes, or was made to end at once
	exitUsage  = 2 // bad command line
)

func main() {
	os.Exit(run(context.Background(), os.Args))
}

// run returns the exit code.
func run(ctx context.Context, args []string) int {
	app := newApp()
	err := app.RunContext(ctx, args)
	if err == nil {
		return 0
	}
	if text := err.Error(); text != "" {
		fmt.Fprintln(app.ErrWriter, text)
	}
	var usage *usageError
	if errors.As(err, &usage) {
		return exitUsage
	}
	return exitFailed
}

// usageError is a bad command line.
type usageError struct{ err error }

func (e *usageError) Error() string {
	return fmt.Sprintf("weir: %v\nRun 'weir --help' for usage.", e.err)
}

func (e *usageError) Unwrap() error { return e.err }

func newApp() *cli.App {
	return &cli.App{
		Name:                   "weir",
		Usage:                  "balances TCP connections among backends",
		Description:            "weir -c weir.toml listens as the file says and forwards each connection to one backend.",
		UsageText:              "weir [-v…] [-c FILE]            run (the same as 'weir run')\nweir -t [-c FILE]              check a file (the same as 'weir check')\nweir COMMAND [OPTIONS]",
		Version:                version(),
		HideVersion:            true, // the flag is ours: -v counts
		HideHelpCommand:        true,
		UseShortOptionHandling: true,
		Flags:                  rootFlags(),
		Commands:               []*cli.Command{runCommand(), checkCommand(), echoCommand(), demoCommand()},
		Action:                 rootAction,
		Writer:                 os.Stdout,
		ErrWriter:              os.Stderr,
		ExitErrHandler:         func(*cli.Context, error) {}, // run decides
		OnUsageError:           badUsage,
	}
}

func badUsage(_ *cli.Context, err error, _ bool) error { return &usageError{err} }

// rootAction is what weir does without a command.
func rootAction(c *cli.Context) error {
	switch {
	case c.Args().Present():
		return &usageError{fmt.Errorf("unknown command %q", c.Args().First())}
	case c.Bool("version"):
		fmt.Fprintln(c.App.Writer, version())
		return nil
	case c.Bool("test"):
		return check(c)
	}
	return serve(c)
}

// flags shared by the commands that read a file; those before a command hold for it too.
func fileFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "config", Aliases: []string{"c"}, Value: "weir.toml", Usage: "read the configuration from `FILE`"},
	}
}

func logFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Count: &verbosity, DisableDefaultText: true,
			Usage: "log more: -v sessions (info), -vv debug, -vvv trace; without it only warnings"},
		&cli.StringFlag{Name: "log-format", Value: "auto", Usage: "`FORMAT` of the log on stderr: auto (console on a terminal, else json), console, json"},
	}
}

func rootFlags() []cli.Flag {
	return slices.Concat(fileFlags(), logFlags(), []cli.Flag{
		&cli.BoolFlag{Name: "test", Aliases: []string{"t"}, DisableDefaultText: true, Usage: "check the file and exit, as 'weir check' does"},
		&cli.BoolFlag{Name: "version", Aliases: []string{"V"}, DisableDefaultText: true, Usage: "print the version and exit"},
	})
}

// verbosity counts -v wherever it stands in the command line.
var verbosity int

// text returns a string flag from the innermost part of the command line that sets it.
func text(c *cli.Context, name string) string {
	for _, part := range c.Lineage() {
		if part.Command != nil && slices.Contains(part.LocalFlagNames(), name) {
			return part.String(name)
		}
	}
	return c.String(name)
}

func runCommand() *cli.Command {
	return command("run", "listen and forward, until SIGTERM or SIGINT", serve, fileFlags(), logFlags())
}

func serve(c *cli.Context) error {
	log, err := newLogger(c)
	if err != nil {
		return err
	}
	cfg, err := config.Load(text(c, "config"))
	if err != nil {
		return err
	}
	b, err := balancer.New(c.Context, cfg, log)
	if err != nil {
		return fmt.Errorf("weir: %w", err)
	}
	stop, now, release := untilSignal(c.Context)
	defer release()
	if err := b.Run(stop, now); err != nil {
		return err
	}
	if now.Err() != nil {
		return errors.New("weir: ended at once by a second signal")
	}
	return nil
}

func checkCommand() *cli.Command {
	printFlag := &cli.BoolFlag{Name: "print", DisableDefaultText: true, Usage: "print the configuration with all defaults filled in, as TOML"}
	return command("check", "say everything that is wrong with a file; bind nothing", check, fileFlags(), []cli.Flag{printFlag})
}

func check(c *cli.Context) error {
	file := text(c, "config")
	cfg, err := config.Load(file)
	if err != nil {
		return err
	}
	if !c.Bool("print") {
		fmt.Fprintf(c.App.Writer, "%s: ok: %s\n", file, balancer.Count(cfg))
		return nil
	}
	effective, err := cfg.TOML()
	if err != nil {
		return fmt.Errorf("weir: print the configuration: %w", err)
	}
	_, err = c.App.Writer.Write(effective)
	return err
}

func echoCommand() *cli.Command {
	return command("echo", "send back what each client sends: a stand-in for a real server", echo, logFlags(), []cli.Flag{
		&cli.StringSliceFlag{Name: "listen", Usage: "listen on `ADDR`: IP:port, :port or unix:/path; may be given more than once"},
		&cli.StringFlag{Name: "name", Usage: "greet each client with this `NAME` on a line of its own"},
		&cli.DurationFlag{Name: "delay", Usage: "wait for `TIME` before each answer"},
	})
}

func echo(c *cli.Context) error {
	log, err := newLogger(c)
	if err != nil {
		return err
	}
	addrs, err := listenAddrs(c.StringSlice("listen"))
	if err != nil {
		return &usageError{err}
	}
	e, err := load.ListenEcho(c.Context, addrs, load.EchoOptions{Name: c.String("name"), Delay: c.Duration("delay"), Log: log})
	if err != nil {
		return fmt.Errorf("weir: %w", err)
	}
	stop, _, release := untilSignal(c.Context)
	defer release()
	context.AfterFunc(stop, e.Close)
	return e.Serve()
}

func listenAddrs(texts []string) (addrs []load.Address, err error) {
	for _, text := range texts {
		a, err := config.ParseListen(text)
		if err != nil {
			return nil, fmt.Errorf("--listen: %w", err)
		}
		network, address := a.Listen()
		addrs = append(addrs, load.Address{Network: network, Address: address})
	}
	if len(addrs) == 0 {
		return nil, errors.New("echo needs --listen ADDR")
	}
	return addrs, nil
}

func demoCommand() *cli.Command {
	return command("demo", "show weir at work: no files, nothing to install", demo, []cli.Flag{
		&cli.BoolFlag{Name: "serve", DisableDefaultText: true, Usage: "go on running afterwards, to play with, until SIGINT"},
	})
}

func demo(c *cli.Context) error {
	stop, _, release := untilSignal(c.Context)
	defer release()
	return load.Demo(stop, load.DemoOptions{Out: c.App.Writer, Serve: c.Bool("serve")})
}

// command is a command that takes no arguments beside its flags.
func command(name, usage string, action cli.ActionFunc, flags ...[]cli.Flag) *cli.Command {
	return &cli.Command{
		Name:                   name,
		Usage:                  usage,
		Flags:                  slices.Concat(flags...),
		UseShortOptionHandling: true,
		HideHelpCommand:        true,
		OnUsageError:           badUsage,
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return &usageError{fmt.Errorf("%s takes no argument: %q", name, c.Args().First())}
			}
			return action(c)
		},
	}
}

// newLogger returns the one logger, on stderr.
func newLogger(c *cli.Context) (zerolog.Logger, error) {
	levels := []zerolog.Level{zerolog.WarnLevel, zerolog.InfoLevel, zerolog.DebugLevel, zerolog.TraceLevel}
	level := levels[min(verbosity, len(levels)-1)]
	var out io.Writer = os.Stderr
	switch format := text(c, "log-format"); format {
	case "json":
	case "console":
		out = console()
	case "auto":
		if isatty.IsTerminal(os.Stderr.Fd()) {
			out = console()
		}
	default:
		return zerolog.Logger{}, &usageError{fmt.Errorf("log format %q: use auto, console or json", format)}
	}
	return zerolog.New(out).Level(level).With().Timestamp().Logger(), nil
}

func console() io.Writer {
	return zerolog.ConsoleWriter{Out: os.Stderr, TimeFormat: time.TimeOnly, NoColor: os.Getenv("NO_COLOR") != "" || !isatty.IsTerminal(os.Stderr.Fd())}
}

// version tells what this binary was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "weir, of unknown origin"
	}
	commit, modified := "unknown", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			commit = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = ", modified"
		}
	}
	return fmt.Sprintf("weir %s (commit %s%s, %s)", info.Main.Version, commit, modified, info.GoVersion)
}

// untilSignal returns two contexts: stop ends with the first SIGINT or SIGTERM, now with the second.
func untilSignal(parent context.Context) (stop, now context.Context, release func()) {
	stop, endStop := context.WithCancel(parent)
	now, endNow := context.WithCancel(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		for _, end := range []context.CancelFunc{endStop, endNow} {
			select {
			case <-signals:
				end()
			case <-now.Done(): // released
			}
		}
	}()
	return stop, now, func() { signal.Stop(signals); endStop(); endNow() }
}
