//go:build linux

package balancer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/frontend"
)

const (
	postgresAsks    = "\x00\x00\x00\x08\x04\xd2\x16\x2f" // may there be TLS?
	postgresStartup = "\x00\x00\x00\x12\x00\x03\x00\x00user\x00ann\x00\x00"
	postgresSorry   = "E\x00\x00\x00\x3bSFATAL\x00VFATAL\x00C53300\x00Msorry, too many clients already\x00\x00"
)

// causes are why a client is refused although a backend is there, and what brings that about in a weir whose
// one slot is taken.
var causes = []struct {
	outcome frontend.Outcome
	code    string
	queue   string
	fill    int // so many clients wait before
}{
	{frontend.BackendsFull, "PQ", "", 0},
	{frontend.QueueFull, "PQ", queueTable(1), 1},
	{frontend.QueueTimeout, "sQ", queueTable(5, `timeout = "100ms"`), 0},
}

// ways are how a client is refused, and what it then sees.
var ways = []struct {
	name, keys string
	sees       func(t *testing.T, c *net.TCPConn)
}{
	{"close", `on_refuse = "close"`, func(t *testing.T, c *net.TCPConn) { expectEnd(t, c) }},
	{"literal", "on_refuse = \"speak\"\nrefuse_message = \"421 busy\\r\\n\"", hears("421 busy\r\n")},
	{"redis", "on_refuse = \"speak\"\nprotocol = \"redis\"", hears("-ERR max number of clients reached\r\n")},
	{"redis, own text", "on_refuse = \"speak\"\nprotocol = \"redis\"\nrefuse_message = \"later\"", hears("-ERR later\r\n")},
	{"mysql", "on_refuse = \"speak\"\nprotocol = \"mysql\"", hears("\x17\x00\x00\x00\xff\x10\x04Too many connections")},
	{"postgres", speakPostgres, func(t *testing.T, c *net.TCPConn) {
		send(t, c, postgresAsks)
		expect(t, c, "N")
		send(t, c, postgresStartup[:5])
		send(t, c, postgresStartup[5:])
		hears(postgresSorry)(t, c)
	}},
}

const speakPostgres = "on_refuse = \"speak\"\nprotocol = \"postgres\""

func hears(text string) func(*testing.T, *net.TCPConn) {
	return func(t *testing.T, c *net.TCPConn) {
		t.Helper()
		expect(t, c, text)
		expectEnd(t, c)
		c.Close() // else weir gives us time to
	}
}

func TestRefuse(t *testing.T) {
	for _, cause := range causes {
		for _, way := range ways {
			t.Run(cause.outcome.String()+"/"+way.name, func(t *testing.T) {
				everyEngine(t, func(t *testing.T, engine string) {
					k := takenWeir(t, engine, way.keys, cause.queue)
					for i := range cause.fill {
						k.dial()
						k.wantQueued(i + 1)
					}
					way.sees(t, k.dial())
					if line := k.wantEnd(cause.outcome, cause.code); line.Tries != 0 || line.Backend != "" {
						t.Errorf("%d tries, of %q; want none", line.Tries, line.Backend)
					}
					k.wantGranted(1)
				})
			})
		}
	}
}

func TestRefuseByReset(t *testing.T) {
	for _, cause := range causes {
		t.Run(cause.outcome.String(), func(t *testing.T) {
			everyEngine(t, func(t *testing.T, engine string) {
				k := takenWeir(t, engine, `on_refuse = "reset"`, cause.queue)
				for i := range cause.fill {
					k.dial()
					k.wantQueued(i + 1)
				}
				if err := findRefusal(k.addr); !isReset(err) {
					t.Errorf("the client got %v, want a reset", err)
				}
				k.wantEnd(cause.outcome, cause.code)
				k.wantGranted(1)
			})
		})
	}
}

// With no backend at all clients are told the same, unless on_no_backend says otherwise.
func TestRefuseNoBackend(t *testing.T) {
	for _, c := range []struct {
		how, hears string
		reset      bool
	}{{"refuse", "-ERR max number of clients reached\r\n", false}, {"close", "", false}, {"reset", "", true}} {
		t.Run(c.how, func(t *testing.T) {
			everyEngine(t, func(t *testing.T, engine string) {
				w := startWeir(t, engine, fmt.Sprintf("on_refuse = \"speak\"\nprotocol = \"redis\"\non_no_backend = %q", c.how),
					to(deadAddress(t))+probes("5s", "1h", 1, 1)+"initial = \"down\"\n")
				if c.reset {
					if err := findRefusal(w.addr); !isReset(err) {
						t.Errorf("the client got %v, want a reset", err)
					}
				} else {
					hears(c.hears)(t, w.dial())
				}
				w.wantEnd(frontend.NoBackend, "SC")
			})
		})
	}
}

// A client that does not do its part in being told is closed in time, and takes no slot of a backend.
func TestRefuseStubborn(t *testing.T) {
	for _, c := range []struct {
		name, keys string
		talk       func(c *net.TCPConn) // until the connection is closed
	}{
		{"says nothing", speakPostgres, func(*net.TCPConn) {}},
		{"asks and falls silent", speakPostgres, func(c *net.TCPConn) { io.WriteString(c, postgresAsks) }},
		{"dribbles", speakPostgres, func(c *net.TCPConn) {
			tick := time.NewTicker(50 * time.Millisecond)
			defer tick.Stop()
			io.WriteString(c, "\x00\x00\x20\x00\x00\x03\x00\x00")
			for range tick.C {
				if _, err := io.WriteString(c, "x"); err != nil {
					return
				}
			}
		}},
		{"stays when all is said", speakPostgres, func(c *net.TCPConn) { io.WriteString(c, postgresStartup) }},
		{"stays when told at once", "on_refuse = \"speak\"\nprotocol = \"redis\"", func(*net.TCPConn) {}},
	} {
		t.Run(c.name, func(t *testing.T) {
			everyEngine(t, func(t *testing.T, engine string) {
				k := takenWeir(t, engine, c.keys, "")
				client := k.dial()
				var talking sync.WaitGroup
				talking.Go(func() { c.talk(client) })
				line := k.wantEnd(frontend.BackendsFull, "PQ")
				within(t, "the client was closed", milliseconds(line.TotalMS), frontend.SpeechTime)
				expectClosed(t, client)
				client.Close()
				talking.Wait()
				k.wantGranted(1)
			})
		})
	}
}

// Whoever ends its stream, or leaves, without having done its part is not waited for.
func TestRefuseLeaves(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		k := takenWeir(t, engine, speakPostgres, "")
		for _, leave := range []func(c *net.TCPConn){reset, func(c *net.TCPConn) { c.CloseWrite() }, func(c *net.TCPConn) { c.Close() }} {
			c := k.dial()
			send(t, c, postgresAsks)
			expect(t, c, "N")
			leave(c)
			if line := k.wantEnd(frontend.BackendsFull, "PQ"); line.TotalMS > 1500 {
				t.Errorf("the session ended after %v ms, want at once", line.TotalMS)
			}
		}
	})
}

// The second signal does not wait for one that is being refused.
func TestRefuseEndsWithShutdown(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		k := takenWeir(t, engine, speakPostgres, "")
		began := time.Now()
		c := k.dial()
		send(t, c, postgresAsks)
		expect(t, c, "N")
		k.stop()
		k.kill()
		expectClosed(t, c)
		k.wantOver()
		if took := time.Since(began); took > frontend.SpeechTime*3/4 {
			t.Errorf("stopped after %v, want at once", took)
		}
	})
}

// realClients are the programs that people use, and what they show when weir has no room for them. See
// frontend/refusal for more of them.
var realClients = []struct {
	name, protocol string
	binaries       []string // the first that is installed
	args           func(host, port string) []string
	want           string
}{
	{"psql", "postgres", []string{"psql"}, func(host, port string) []string {
		return []string{"-X", "-w", "-c", "select 1", "host=" + host + " port=" + port + " user=ann dbname=shop sslmode=prefer"}
	}, "FATAL:  sorry, too many clients already"},
	{"mysql", "mysql", []string{"mariadb", "mysql"}, func(host, port string) []string {
		return []string{"--no-defaults", "--protocol=tcp", "-h", host, "-P", port, "-u", "ann", "-e", "select 1", "--loose-skip-ssl"}
	}, "ERROR 1040 (HY000): Too many connections"},
	{"redis-cli", "redis", []string{"redis-cli"}, func(host, port string) []string {
		return []string{"-h", host, "-p", port, "PING"}
	}, "ERR max number of clients reached"},
}

func TestRefuseRealClients(t *testing.T) {
	for _, c := range realClients {
		t.Run(c.name, func(t *testing.T) {
			program := installed(t, c.binaries)
			for _, cause := range causes {
				t.Run(cause.outcome.String(), func(t *testing.T) {
					everyEngine(t, func(t *testing.T, engine string) {
						k := takenWeir(t, engine, fmt.Sprintf("on_refuse = \"speak\"\nprotocol = %q", c.protocol), cause.queue)
						for i := range cause.fill {
							k.dial()
							k.wantQueued(i + 1)
						}
						host, port, _ := net.SplitHostPort(k.addr)
						if got := output(t, program, c.args(host, port)); !strings.Contains(got, c.want) {
							t.Errorf("%s shows %q, want %q", program, got, c.want)
						}
						k.wantEnd(cause.outcome, cause.code)
						k.wantGranted(1)
					})
				})
			}
		})
	}
}

// installed returns the path of the first program that is there. Without one the test is skipped, but
// fails where CI=true says that everything is to be there.
func installed(t *testing.T, programs []string) string {
	t.Helper()
	for _, name := range programs {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	missing := strings.Join(programs, " or ") + " is not installed"
	if os.Getenv("CI") == "true" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}

// output returns all that a program prints, in English. Whether it is content is not asked: redis-cli exits
// with 0 after an error.
func output(t *testing.T, program string, args []string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "LC_ALL=C"}
	printed, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if ctx.Err() != nil || err != nil && !errors.As(err, &exit) {
		t.Fatalf("run %s: %v; it printed %q", program, err, printed)
	}
	return string(printed)
}
