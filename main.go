// Command weir balances TCP connections among backends: see README.md.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/mattn/go-isatty"
	"github.com/rs/zerolog"
	"github.com/urfave/cli/v2"

	"weir/balancer"
	"weir/balancer/admin/remote"
	"weir/balancer/load"
	"weir/balancer/run"
	"weir/config"
)

// Exit codes.
const (
	exitFailed = 1 // could not start, or check found mistakes, or was made to end at once
	exitUsage  = 2 // bad command line
)

func main() {
	signals := run.Catch() // before anything else
	os.Exit(obey(signals.With(context.Background()), os.Args))
}

// obey does what the command line says, and returns the exit code.
func obey(ctx context.Context, args []string) int {
	app := newApp()
	if err := app.RunContext(ctx, args); err != nil {
		return complain(app.ErrWriter, err)
	}
	return 0
}

// complain prints what went wrong and returns its exit code.
func complain(w io.Writer, err error) int {
	var status remote.ExitStatus
	if errors.As(err, &status) { // all is said
		return int(status)
	}
	var mistakes config.Mistakes
	if errors.As(err, &mistakes) { // each begins with its place in the file, and is safe to print
		fmt.Fprintln(w, mistakes)
		return exitFailed
	}
	fmt.Fprintln(w, "weir: "+printable(err.Error()))
	var usage *usageError
	var topic cli.ExitCoder // "weir --help frob"
	switch {
	case errors.As(err, &usage):
		fmt.Fprintf(w, "Run '%s --help' for usage.\n", usage.command)
	case errors.As(err, &topic):
		fmt.Fprintln(w, "Run 'weir --help' for usage.")
	default:
		return exitFailed
	}
	return exitUsage
}

// printable escapes what could steer a terminal: names of files and arguments can hold anything.
func printable(text string) string {
	var b strings.Builder
	for _, r := range text {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
	}
	return b.String()
}

// usageError is a bad command line, of weir or one of its commands.
type usageError struct {
	message string
	command string
}

func (e *usageError) Error() string { return e.message }

func badUsage(c *cli.Context, format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...), c.Command.HelpName}
}

// badFlag says in weir's words what package flag says in its own.
func badFlag(c *cli.Context, err error, _ bool) error {
	text := err.Error()
	if name, ok := strings.CutPrefix(text, "flag provided but not defined: -"); ok {
		return badUsage(c, "unknown flag %s%s", dashed(name), whoseFlag(c.App, name))
	}
	if name, ok := strings.CutPrefix(text, "flag needs an argument: -"); ok {
		return badUsage(c, "%s needs a value", dashed(name))
	}
	if value, name, ok := strings.Cut(strings.TrimSuffix(text, ": parse error"), " for flag -"); ok {
		return badUsage(c, "%s for %s", value, dashed(name))
	}
	return badUsage(c, "%s", text)
}

func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// whoseFlag says which command has a flag that was given to another.
func whoseFlag(app *cli.App, name string) string {
	for _, command := range app.Commands {
		for _, flag := range command.Flags {
			if slices.Contains(flag.Names(), name) {
				return fmt.Sprintf(": 'weir %s' has it", command.Name)
			}
		}
	}
	return ""
}

// stray is an argument where none belongs; often it is the file, or a flag without its dashes.
func stray(c *cli.Context, complaint string) error {
	name := c.Args().First()
	complaint = fmt.Sprintf("%s %q", complaint, name)
	for _, flag := range c.Command.Flags {
		if slices.Contains(flag.Names(), name) {
			return badUsage(c, "%s: did you mean %s?", complaint, dashed(name))
		}
	}
	if info, err := os.Stat(name); err == nil && !info.IsDir() {
		return badUsage(c, "%s: a file is named with -c", complaint)
	}
	return badUsage(c, "%s", complaint)
}

func newApp() *cli.App {
	return &cli.App{
		Name:  "weir",
		Usage: "balances TCP connections among backends",
		Description: "Listens as FILE says and forwards each connection to one backend.\n" +
			"See it at work with 'weir demo', which needs no file.\n\n" +
			"Exit codes: 0 done; 1 could not start, or the file is wrong; 2 bad command line.",
		UsageText: "weir [-v] [-c FILE]        run, as 'weir run' does\n" +
			"weir -t [-c FILE]          check the file, as 'weir check' does\n" +
			"weir COMMAND [OPTIONS]     'weir COMMAND --help' tells more",
		Version:                version(),
		HideVersion:            true, // the flag is ours: -v counts
		HideHelpCommand:        true,
		UseShortOptionHandling: true,
		Flags:                  rootFlags(),
		Commands: append([]*cli.Command{runCommand(), checkCommand(), echoCommand(), loadCommand(), demoCommand()},
			remote.Commands(remote.Shell{BadUsage: badUsage, BadFlag: badFlag, Text: text, Instead: instead, Printable: printable})...),
		Before:         passSignals,
		Action:         rootAction,
		Writer:         os.Stdout,
		ErrWriter:      os.Stderr,
		ExitErrHandler: func(*cli.Context, error) {}, // run decides
		OnUsageError:   badFlag,
	}
}

// passSignals lets signals do what they do to any process, unless the command has a better use for them.
func passSignals(c *cli.Context) error {
	switch c.Args().First() {
	case "", "run": // serve takes them
	case "echo", "load", "demo": // untilSignal does
	default:
		run.Caught(c.Context).Pass(nil)
	}
	return nil
}

// rootAction is what weir does without a command.
func rootAction(c *cli.Context) error {
	if c.Args().Present() {
		return stray(c, "unknown command")
	}
	return instead(c, serve)
}

// instead does what -V or -t before a command ask for, in its place.
func instead(c *cli.Context, action cli.ActionFunc) error {
	switch {
	case c.Bool("version"):
		_, err := fmt.Fprintln(c.App.Writer, version())
		return err
	case c.Bool("test"):
		return check(c)
	}
	return action(c)
}

const defaultFile = "weir.toml"

// flags shared by the commands that read a file; those before a command hold for it too.
func fileFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "config", Aliases: []string{"c"}, Value: defaultFile, Usage: "read the configuration from `FILE`"},
	}
}

func logFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Count: new(int), DisableDefaultText: true,
			Usage: "log more than warnings: -v sessions (info), -vv debug, -vvv trace"},
		&cli.StringFlag{Name: "log-format", Value: "auto", Usage: "write the log as `FORMAT`: console, json, or auto (console on a terminal, else json)"},
	}
}

func rootFlags() []cli.Flag {
	return slices.Concat(fileFlags(), logFlags(), []cli.Flag{
		&cli.BoolFlag{Name: "test", Aliases: []string{"t"}, DisableDefaultText: true, Usage: "check the file and exit"},
		&cli.BoolFlag{Name: "version", Aliases: []string{"V"}, DisableDefaultText: true, Usage: "print the version and exit"},
	})
}

// verbosity counts the -v before and after the command.
func verbosity(c *cli.Context) (n int) {
	for _, part := range c.Lineage() {
		if part.Command != nil && slices.Contains(part.LocalFlagNames(), "verbose") {
			n += part.Count("verbose")
		}
	}
	return n
}

// text returns a string flag from the innermost part of the command line that sets it.
func text(c *cli.Context, name string) string {
	for _, part := range c.Lineage() {
		if part.Command != nil && slices.Contains(part.LocalFlagNames(), name) {
			return part.String(name)
		}
	}
	return c.String(name)
}

// readConfig reads the file that the command line names.
func readConfig(c *cli.Context) (*config.Reading, error) {
	file := text(c, "config")
	if file == "" {
		return nil, badUsage(c, "-c needs the name of a file")
	}
	read, err := config.Read(file)
	if errors.Is(err, fs.ErrNotExist) && file == defaultFile {
		return nil, fmt.Errorf("%w (name another file with -c, or see 'weir demo')", err)
	}
	return read, err
}

func runCommand() *cli.Command {
	return command("run", "listen and forward, until SIGTERM or SIGINT", "[-v] [-c FILE] [--watch [--watch-settle TIME]]",
		"The first signal stops accepting and lets the running sessions finish, as [shutdown] in FILE\n"+
			"says. The second one ends weir at once, with exit code 1.\n\n"+
			"SIGHUP reads FILE again and goes over to it, if nothing is wrong with it. SIGUSR1 opens the log\n"+
			"file anew. SIGUSR2 starts the binary anew, which takes over: this weir lets its sessions finish.",
		serve, fileFlags(), logFlags(), []cli.Flag{
			&cli.BoolFlag{Name: "watch", DisableDefaultText: true, Usage: "reload when FILE changes, or a file that it names, as SIGHUP does"},
			&cli.DurationFlag{Name: "watch-settle", Value: run.DefaultSettle, Usage: "with --watch: go by files that have been still for `TIME`"},
		})
}

func serve(c *cli.Context) error {
	signals := run.Caught(c.Context)
	if signals == nil {
		signals = run.Catch()
	}
	defer signals.Release()
	run.OutliveReaders()
	settle, err := watchSettle(c)
	if err != nil {
		return err
	}
	read, err := readConfig(c)
	if err != nil {
		return err
	}
	fit := balancer.FitFiles(read, nil)
	if err := fit.Err(); err != nil {
		return err
	}
	file, err := openLog(&read.Config.Log)
	if err != nil {
		return err
	}
	defer file.Close()
	log, lines, err := newLogger(c, file)
	if err != nil {
		return err
	}
	defer lines.Flush()
	return run.Run(c.Context, run.Options{
		File: text(c, "config"), Fit: fit, Version: version(), Log: log, Lines: lines, LogFile: file, Settle: settle,
	}, signals)
}

// watchSettle is how long files are to be still before weir goes by them; 0: it does not watch.
func watchSettle(c *cli.Context) (time.Duration, error) {
	settle := c.Duration("watch-settle")
	switch {
	case !c.Bool("watch") && c.IsSet("watch-settle"):
		return 0, badUsage(c, "--watch-settle has no meaning without --watch")
	case !c.Bool("watch"):
		return 0, nil
	case settle < run.LeastSettle:
		return 0, badUsage(c, "--watch-settle %v is too short: the least is %v", settle, run.LeastSettle)
	}
	return settle, nil
}

// openLog opens the file that the log goes to; nil: it goes to stderr.
func openLog(c *config.Log) (*balancer.LogFile, error) {
	if c.File == "" {
		return nil, nil
	}
	return balancer.OpenLogFile(c.File, balancer.Lines(os.Stderr))
}

func checkCommand() *cli.Command {
	return command("check", "say everything that is wrong with a file", "[--print] [--elsewhere] [-c FILE]",
		"Prints one line for each mistake: file:line:column, the key, what is wrong and what would be\n"+
			"right. Warnings are of what will hardly do what is meant; they are no mistakes. Looks also at what\n"+
			"this machine would refuse to this user: files, directories, addresses and limits. Listens\n"+
			"nowhere, connects to nothing and resolves no name.",
		check, fileFlags(), []cli.Flag{
			&cli.BoolFlag{Name: "print", DisableDefaultText: true, Usage: "print the configuration with all defaults filled in, as TOML"},
			&cli.BoolFlag{Name: "elsewhere", DisableDefaultText: true, Usage: "FILE is for another machine or user: say nothing about this one"},
		})
}

func check(c *cli.Context) error {
	read, err := readConfig(c)
	if err != nil {
		return err
	}
	if !c.Bool("elsewhere") {
		fit := balancer.FitFiles(read, nil).FitSockets(nil, nil).FitNetwork()
		err = fit.Err()
	}
	for _, w := range read.Warnings {
		fmt.Fprintln(c.App.ErrWriter, w)
	}
	if err != nil {
		return err
	}
	cfg := read.Config
	if !c.Bool("print") {
		_, err := fmt.Fprintf(c.App.Writer, "%s: ok: %s\n", printable(text(c, "config")), verdict(read))
		return err
	}
	effective, err := cfg.TOML()
	if err != nil {
		return fmt.Errorf("print the configuration: %w", err)
	}
	_, err = c.App.Writer.Write(effective)
	return err
}

// verdict counts what is in a file that is right.
func verdict(read *config.Reading) string {
	words := balancer.Count(read.Config)
	switch n := len(read.Warnings); n {
	case 0:
		return words
	case 1:
		return words + ", 1 warning"
	default:
		return fmt.Sprintf("%s, %d warnings", words, n)
	}
}

func echoCommand() *cli.Command {
	return command("echo", "send back what each client sends: a stand-in for a real server", "--listen ADDR [--name NAME] [--delay TIME] [--capacity N]",
		"ADDR is IP:port, [IPv6]:port, :port, unix:/path or unix:@name. Runs until SIGTERM or SIGINT,\n"+
			"which reset what is connected.\n\n"+
			"With --capacity it stands in for a fragile server: a connection beyond N is an overload, which is\n"+
			"counted and reset at once. In the end it prints how many connections it served, the most at one\n"+
			"time, the overloads, and how much of its capacity was used from the first to the last of them.",
		echo, []cli.Flag{
			&cli.StringSliceFlag{Name: "listen", Usage: "listen on `ADDR`; give the flag again for a further one"},
			&cli.StringFlag{Name: "name", Usage: "greet each client with `NAME` on a line of its own"},
			&cli.DurationFlag{Name: "delay", DefaultText: "none", Usage: "wait for `TIME`, such as 100ms or 2s, before each answer"},
			&cli.IntFlag{Name: "capacity", DefaultText: "no limit", Usage: "serve at most `N` connections at one time, and reset the others"},
		}, logFlags())
}

func echo(c *cli.Context) error {
	run.OutliveReaders()
	log, lines, err := newLogger(c, nil)
	if err != nil {
		return err
	}
	defer lines.Flush()
	o := load.EchoOptions{Name: c.String("name"), Delay: c.Duration("delay"), Capacity: c.Int("capacity"), Loops: load.EchoLoops(), Log: log}
	if o.Delay < 0 {
		return badUsage(c, "--delay %v is negative", o.Delay)
	}
	if o.Capacity < 0 {
		return badUsage(c, "--capacity %d is negative", o.Capacity)
	}
	if printable(o.Name) != o.Name {
		return badUsage(c, "--name %q has characters that cannot be printed", o.Name)
	}
	addrs, err := listenAddrs(c)
	if err != nil {
		return err
	}
	e, err := load.ListenEcho(c.Context, addrs, o)
	if err != nil {
		return err
	}
	stop, _, release := untilSignal(c.Context)
	defer release()
	context.AfterFunc(stop, e.Close)
	err = e.Serve()
	if o.Capacity > 0 {
		fmt.Fprintln(c.App.Writer, e.Stats())
	}
	return err
}

func listenAddrs(c *cli.Context) (addrs []load.Address, err error) {
	for _, text := range c.StringSlice("listen") {
		a, err := config.ParseListen(text)
		if err != nil {
			return nil, badUsage(c, "--listen: %v", err)
		}
		network, address := a.Listen()
		addrs = append(addrs, load.Address{Network: network, Address: address})
	}
	if len(addrs) == 0 {
		return nil, badUsage(c, "--listen ADDR is missing: where should it listen?")
	}
	return addrs, nil
}

func loadCommand() *cli.Command {
	return command("load", "put load on a TCP server and measure it", "--target ADDR [--mode WORK] [OPTIONS]",
		"The modes of --mode are\n"+
			"  connect  connect, send a message, read it back, close (the default)\n"+
			"  echo     send messages to and fro on connections that last\n"+
			"  stream   send and read back without a pause\n"+
			"  hold     keep connections idle after one message\n"+
			"The target is to send back what it is sent, as 'weir echo' does; every byte is compared.\n\n"+
			"With --rate the time of an answer counts from when its question was due, not from when a busy\n"+
			"target let it be sent. Ctrl-C ends early with the results so far.\n\n"+
			"A file of phases has one table for each, and maybe a seed:\n"+
			"  [[phase]]\n"+
			"  name = \"quiet\"\n"+
			"  duration = \"5m\"\n"+
			"  rate = 200            # or rate_min and rate_max, with shape = \"random\", \"sine\" or \"ramp\"\n\n"+
			"Exit codes: 0 all went well; 1 something went wrong; 2 bad command line.",
		generate, load.Flags())
}

func generate(c *cli.Context) error {
	o, err := load.FromFlags(c)
	if err != nil {
		return badUsage(c, "%v", err)
	}
	stop, _, release := untilSignal(c.Context)
	defer release()
	return load.Command(stop, c, o)
}

func demoCommand() *cli.Command {
	return command("demo", "show weir at work: no files, nothing to install", "[--serve]",
		"Starts three echo servers and a balancer on ports of 127.0.0.1 that are free, kills one server\n"+
			"under load, brings it back, and tells what happened. Exits with 1 if a connection was lost.",
		demo, []cli.Flag{
			&cli.BoolFlag{Name: "serve", DisableDefaultText: true, Usage: "stay up afterwards, to play with, until SIGTERM or SIGINT"},
		})
}

func demo(c *cli.Context) error {
	if c.Bool("serve") {
		run.OutliveReaders()
	}
	stop, _, release := untilSignal(c.Context)
	defer release()
	return load.Demo(stop, load.DemoOptions{Out: c.App.Writer, Serve: c.Bool("serve")})
}

// command is a command that takes no arguments beside its flags.
func command(name, usage, synopsis, description string, action cli.ActionFunc, flags ...[]cli.Flag) *cli.Command {
	return &cli.Command{
		Name:                   name,
		Usage:                  usage,
		UsageText:              "weir " + name + " " + synopsis,
		Description:            description,
		Flags:                  slices.Concat(flags...),
		UseShortOptionHandling: true,
		HideHelpCommand:        true,
		OnUsageError:           badFlag,
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return stray(c, name+" takes no argument, but got")
			}
			return instead(c, action)
		},
	}
}

// newLogger returns the one logger, on stderr or in a file, and what writes its lines: flush it in the end.
func newLogger(c *cli.Context, file *balancer.LogFile) (log zerolog.Logger, lines *balancer.LogWriter, err error) {
	levels := []zerolog.Level{zerolog.WarnLevel, zerolog.InfoLevel, zerolog.DebugLevel, zerolog.TraceLevel}
	level := levels[min(verbosity(c), len(levels)-1)]
	out := balancer.Lines(os.Stderr)
	terminal := isatty.IsTerminal(os.Stderr.Fd())
	if file != nil {
		out, terminal = file, false
	}
	switch format := text(c, "log-format"); format {
	case "json":
	case "console":
		out = console(out, terminal)
	case "auto":
		if terminal {
			out = console(out, terminal)
		}
	default:
		return log, nil, badUsage(c, "--log-format %q is none of auto, console, json", format)
	}
	w := balancer.NewLogWriter(out)
	return zerolog.New(w).Level(level).With().Timestamp().Logger(), w, nil
}

func console(out io.Writer, terminal bool) io.Writer {
	return eachLine{zerolog.ConsoleWriter{Out: out, TimeFormat: time.TimeOnly, NoColor: os.Getenv("NO_COLOR") != "" || !terminal}}
}

// eachLine hands lines on one by one: zerolog's console takes one event at a time.
type eachLine struct{ out io.Writer }

func (e eachLine) Write(lines []byte) (n int, err error) {
	for line := range bytes.Lines(lines) {
		if _, err := e.out.Write(line); err != nil {
			return n, err
		}
		n += len(line)
	}
	return n, nil
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
	number := strings.Trim(info.Main.Version, "()") // "(devel)" when it is not known
	return fmt.Sprintf("weir %s (commit %s%s, %s)", number, commit, modified, info.GoVersion)
}

// untilSignal returns two contexts: stop ends with the first SIGINT or SIGTERM, now with the second.
func untilSignal(parent context.Context) (stop, now context.Context, release func()) {
	stop, endStop := context.WithCancel(parent)
	now, endNow := context.WithCancel(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	run.Caught(parent).Pass(signals, os.Interrupt, syscall.SIGTERM)
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
