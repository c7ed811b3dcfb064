package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/urfave/cli/v2"

	"weir/balancer/admin"
	"weir/balancer/admin/admintest"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// errUsage stands in for weir's own error for a bad command line.
var errUsage = errors.New("usage")

// screen is what the commands think they write to.
type screen struct {
	width   int
	colours bool
	height  int
}

// newApp is weir as far as these commands need it.
func newApp(out io.Writer, s screen) *cli.App {
	shell := Shell{
		BadUsage: func(_ *cli.Context, format string, args ...any) error {
			return fmt.Errorf("%w: %s", errUsage, fmt.Sprintf(format, args...))
		},
		BadFlag: func(_ *cli.Context, err error, _ bool) error { return fmt.Errorf("%w: %w", errUsage, err) },
		Text: func(c *cli.Context, name string) string {
			for _, part := range c.Lineage() {
				if part.Command != nil && part.IsSet(name) {
					return part.String(name)
				}
			}
			return c.String(name)
		},
		Instead:   func(c *cli.Context, do cli.ActionFunc) error { return do(c) },
		Printable: func(s string) string { return strings.Trim(strconv.QuoteToGraphic(s), `"`) },
		Now:       func() time.Time { return noon },
		Terminal:  func(io.Writer) (int, bool) { return s.width, s.colours },
		Height:    func(io.Writer) int { return s.height },
	}
	return &cli.App{
		Name: "weir", Writer: out, ErrWriter: io.Discard, Commands: Commands(shell), ExitErrHandler: func(*cli.Context, error) {},
		Flags: []cli.Flag{&cli.StringFlag{Name: "config", Aliases: []string{"c"}, Value: "weir.toml"}, &cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}}},
	}
}

// open serves a door with the fake behind it, to which $WEIR_ADMIN points.
func open(t *testing.T) *admintest.Operator {
	t.Helper()
	op, _ := openDoor(t)
	return op
}

// openDoor is open for a door that closes at the end of the test, or earlier.
func openDoor(t *testing.T) (op *admintest.Operator, stop func()) {
	t.Helper()
	dir, err := os.MkdirTemp("", "weir")
	if err != nil {
		t.Fatal(err)
	}
	op = admintest.New(noon)
	d, err := admin.New(admin.Options{Network: "unix", Address: filepath.Join(dir, "admin.sock"), Log: zerolog.Nop()}, op)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- d.Serve(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
		os.RemoveAll(dir)
	})
	t.Setenv("WEIR_ADMIN", "unix:"+d.Addr().String())
	return op, stop
}

// doorAddress is where the door is that open has opened.
func doorAddress() string { return os.Getenv("WEIR_ADMIN") }

// newInterrupt returns a context that ends as with Ctrl-C.
func newInterrupt(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithCancel(t.Context())
}

// on runs a command on a screen.
func on(t *testing.T, s screen, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := newApp(&out, s).RunContext(t.Context(), append([]string{"weir"}, args...))
	return out.String(), err
}

// weir runs a command, its words apart by spaces, that must go well.
func weir(t *testing.T, command string) string {
	t.Helper()
	out, err := on(t, screen{}, strings.Fields(command)...)
	if err != nil {
		t.Errorf("weir %s: %v", command, err)
	}
	return out
}

func wantText(t *testing.T, got, want string) {
	t.Helper()
	if want = strings.TrimPrefix(want, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}

// lastCall returns what the fake was asked last.
func lastCall(op *admintest.Operator) string {
	calls := op.Calls()
	if len(calls) == 0 {
		return ""
	}
	return calls[len(calls)-1]
}
