package load

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Mode is the kind of work that a load generator does.
type Mode string

// The modes. What counts as one piece of work is in each comment.
const (
	Connect Mode = "connect" // connect, send Size bytes, read as many, close
	Pong    Mode = "echo"    // Size bytes there and back, on Concurrency lasting connections
	Stream  Mode = "stream"  // bytes without a pause, both ways, on Concurrency connections
	Hold    Mode = "hold"    // Concurrency connections that stay idle after one exchange
)

// Modes lists the modes in the order in which they are explained.
var Modes = []Mode{Connect, Pong, Stream, Hold}

// Options says what load is generated.
type Options struct {
	Mode   Mode
	Target Address
	// Remote allows a target beyond this host's loopback.
	Remote bool
	// Sources holds the local addresses that connections come from, in turn: each has its own ports.
	// Empty: the kernel chooses.
	Sources []netip.Addr
	// Size is the bytes of a message; with Stream, of a write. 0: see the defaults.
	Size int
	// Concurrency is how many connections there are at one time; in the open loop of [Connect], the most.
	// 0: see the defaults.
	Concurrency int
	// Rate is how many pieces of work begin in a second, whether or not earlier ones have ended (open
	// loop). Latency counts from the moment at which a piece was to begin. 0: each connection begins
	// again when it has ended (closed loop).
	Rate float64
	// Phases, if any, take the place of Rate and Duration.
	Phases []Phase
	// Seed makes random rates the same in every run.
	Seed uint64
	// Duration ends the run. 0: Count does, or else the default.
	Duration time.Duration
	// Count ends the run after so many pieces of work have begun. 0: Duration does.
	Count int64
	// Timeout bounds one piece of work; with Stream, a time without a byte. 0: see the defaults.
	Timeout time.Duration
	// Greeting says that the target begins with a line, the name of who serves (weir echo --name).
	Greeting bool
	// Loops is how many event loops do the work. 0: one for each core.
	Loops int
	// Progress is told how it goes, once a second. nil: nobody is.
	Progress io.Writer
	// Begun, if not nil, is called once the lasting connections stand and what is measured begins.
	Begun func()
}

// The defaults.
const (
	defaultSize            = 100     // a small request
	defaultPongSize        = 64      // a message of a chat or a key-value store
	defaultStreamSize      = 1 << 16 // what one system call moves well
	defaultConcurrency     = 50
	defaultOpenConcurrency = 1000 // an open loop needs room for what is late
	defaultStreams         = 1
	defaultTimeout         = 5 * time.Second
	defaultDuration        = 10 * time.Second
	// maxSize and maxConcurrency are beyond what a test of one host can mean.
	maxSize, maxConcurrency = 1 << 30, 1 << 20
)

// complete fills in the defaults and returns what is wrong with the options.
func (o *Options) complete() error {
	if !slices.Contains(Modes, o.Mode) {
		return fmt.Errorf("mode %q is none of %s", o.Mode, modeNames())
	}
	o.setDefaults()
	switch {
	case o.Size < 1 || o.Size > maxSize:
		return fmt.Errorf("size %d is not between 1 and %d", o.Size, maxSize)
	case o.Concurrency < 1 || o.Concurrency > maxConcurrency:
		return fmt.Errorf("concurrency %d is not between 1 and %d", o.Concurrency, maxConcurrency)
	case o.Loops < 1:
		return fmt.Errorf("loops %d is not 1 or more", o.Loops)
	case !(o.Rate >= 0) || o.Rate > maxRate:
		return fmt.Errorf("rate %v is not between 0 and %v a second", o.Rate, float64(maxRate))
	case o.Duration < 0 || o.Timeout < 0 || o.Count < 0:
		return errors.New("duration, timeout and count cannot be negative")
	case o.open() && o.Mode == Stream:
		return errors.New("a stream has no rate: it goes as fast as it can")
	case len(o.Phases) > 0 && o.Rate > 0:
		return errors.New("phases have their own rates: leave out the rate")
	case o.Count > 0 && (o.Mode == Stream || o.Mode == Hold):
		return fmt.Errorf("a count means nothing to mode %s: give a duration", o.Mode)
	}
	return o.checkTarget()
}

func modeNames() string {
	names := make([]string, len(Modes))
	for i, m := range Modes {
		names[i] = string(m)
	}
	return strings.Join(names, ", ")
}

func (o *Options) setDefaults() {
	set(&o.Size, map[Mode]int{Pong: defaultPongSize, Stream: defaultStreamSize}[o.Mode], defaultSize)
	many := 0
	if o.Mode == Stream {
		many = defaultStreams
	} else if o.Mode == Connect && o.open() {
		many = defaultOpenConcurrency
	}
	set(&o.Concurrency, many, defaultConcurrency)
	set(&o.Loops, runtime.NumCPU(), 1)
	set(&o.Timeout, defaultTimeout, 0)
	o.Loops = min(o.Loops, max(o.Concurrency, 1)) // a loop without a connection would do nothing
	if len(o.Phases) > 0 {
		o.Duration = total(o.Phases)
	} else if o.Count == 0 {
		set(&o.Duration, defaultDuration, 0)
	}
}

// set gives a value that is zero the first of two that is not.
func set[T int | time.Duration](v *T, first, second T) {
	for _, d := range []T{first, second} {
		if *v == 0 {
			*v = d
		}
	}
}

// open says that work begins at its own times, whatever the target does.
func (o *Options) open() bool { return o.Rate > 0 || len(o.Phases) > 0 }

// phases returns the phases of an open loop, of which there is at least one.
func (o *Options) phases() []Phase {
	if len(o.Phases) > 0 {
		return o.Phases
	}
	d := o.Duration
	if d == 0 {
		d = math.MaxInt64 // Count ends it
	}
	return []Phase{{Duration: d, Shape: Constant, Min: o.Rate, Max: o.Rate}}
}

// checkTarget refuses what is not on this host: a load generator that is pointed at a stranger by a
// slip of the finger is an attack.
func (o *Options) checkTarget() error {
	if o.Target.Network == "unix" {
		return nil
	}
	ap, err := o.Target.resolve()
	if err != nil {
		return err
	}
	if !ap.Addr().IsLoopback() && !o.Remote {
		return fmt.Errorf("target %s is not this host's loopback: --remote allows it, if you may load that host", o.Target.Address)
	}
	o.Target.Address = ap.String() // the same host throughout
	return nil
}
