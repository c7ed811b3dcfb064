//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const (
	churnServers = 20
	churnLimit   = 2                     // sessions of each
	churnSession = 30 * time.Millisecond // how long the server keeps one
	churnClients = 80                    // at a time: as many wait as are served
)

// counted is a server that keeps each connection for a while, and ends it. It counts how many it has.
type counted struct {
	net.Listener
	now, peak, all atomic.Int64

	mu   sync.Mutex
	busy time.Duration // sum over all connections
}

func newCounted(t *testing.T) *counted {
	s := &counted{Listener: listen(t, "127.0.0.1:0")}
	go func() {
		for {
			c, err := s.Accept()
			if err != nil {
				return
			}
			go s.serve(c)
		}
	}()
	return s
}

func (s *counted) serve(c net.Conn) {
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		return // a probe
	}
	began := time.Now()
	n := s.now.Add(1)
	s.all.Add(1)
	for was := s.peak.Load(); n > was && !s.peak.CompareAndSwap(was, n); was = s.peak.Load() {
	}
	ended := time.NewTimer(churnSession)
	defer ended.Stop()
	<-ended.C
	s.now.Add(-1) // before weir hears of the end, and sends the next
	s.mu.Lock()
	s.busy += time.Since(began)
	s.mu.Unlock()
	io.WriteString(c, "k")
}

// churn is a weir whose file changes all the time, and its clients.
type churn struct {
	t       *testing.T
	engine  string
	file    string
	admin   string
	port    string
	random  *rand.Rand
	servers []*counted
	names   []string // of the backends now
	bind    string
	name    string // of the frontend

	served, failed atomic.Int64
}

// write makes the next file. Every server but the last few is always in it; its name and weight change.
func (c *churn) write() {
	r := c.random
	pick := func(words ...string) string { return words[r.IntN(len(words))] }
	if r.IntN(4) == 0 {
		c.bind = pick("127.0.0.1:", ":", "0.0.0.0:", "[::]:")
	}
	if r.IntN(8) == 0 {
		c.name = fmt.Sprintf("f%d", r.IntN(1000))
	}
	var f strings.Builder
	fmt.Fprintf(&f, "[[frontend]]\nname = %q\nengine = %q\nbind_on = %q\nstrategy = %q\nidle_timeout = \"%ds\"\nretries = %d\n", c.name, c.engine,
		c.bind+c.port, pick("cyclic", "least-connections", "two-choices", "source-hash", "first", "least-latency"), 30+r.IntN(30), 2+r.IntN(3))
	fmt.Fprintf(&f, "[frontend.queue]\nsize = %d\ntimeout = \"20s\"\n[frontend.health]\ninterval = \"100ms\"\n[frontend.passive]\nfailures = 0\n", 1000+r.IntN(100))
	for i, s := range c.servers {
		if r.IntN(5) == 0 {
			c.names[i] = fmt.Sprintf("b%d.%d", i, r.IntN(1000))
		}
		if i >= churnServers*3/4 && r.IntN(3) == 0 {
			continue
		}
		fmt.Fprintf(&f, "[[frontend.backend]]\nname = %q\nforward_to = %q\nweight = %d\nmax_connections = %d\n", c.names[i], s.Addr(), 1+r.IntN(4), churnLimit)
	}
	fmt.Fprintf(&f, "[admin]\nbind_on = \"unix:%s\"\n[shutdown]\ndrain = \"60s\"\n", c.admin)
	write(c.t, c.file, f.String())
}

// client is one short visit after the other, none of which may fail.
func (c *churn) client(over *atomic.Bool) {
	for !over.Load() {
		if err := c.visit(); err != nil {
			c.failed.Add(1)
			c.t.Errorf("a client: %v", err)
			return
		}
		c.served.Add(1)
	}
}

func (c *churn) visit() error {
	conn, err := net.DialTimeout("tcp", "127.0.0.1:"+c.port, patience)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, "x"); err != nil {
		return err
	}
	got, err := io.ReadAll(conn)
	if err == nil && string(got) != "k" {
		err = fmt.Errorf("got %q, want k", got)
	}
	return err
}

// B60, B61, B62, B63, B73 at once: reloads that change everything, with upgrades among them, while more clients come
// than may be served. None is refused, and no server ever sees more sessions than its limit.
func TestChurnWithUpgrades(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		dir := shortTempDir(t)
		c := &churn{
			t: t, engine: engine, file: filepath.Join(dir, "weir.toml"), admin: filepath.Join(dir, "admin.sock"),
			random: rand.New(rand.NewPCG(60, 64)), bind: "127.0.0.1:", name: "f",
		}
		free := listen(t, "127.0.0.1:0")
		_, c.port, _ = net.SplitHostPort(free.Addr().String())
		for i := range churnServers {
			c.servers = append(c.servers, newCounted(t))
			c.names = append(c.names, fmt.Sprintf("b%d", i))
		}
		c.write()
		free.Close()
		p := start(t, ".", "run", "-c", c.file)
		o := &operator{t: t, door: c.admin}
		eventually(t, "weir to serve", func() bool { return strings.Contains(status(t, c.admin), `"state":"serving"`) })
		var over atomic.Bool
		var clients sync.WaitGroup
		for range churnClients {
			clients.Go(func() { c.client(&over) })
		}
		began := time.Now()
		reloads := 100
		if testing.Short() {
			reloads = 20
		}
		pid := p.cmd.Process.Pid
		for i := range reloads {
			before := c.served.Load()
			eventually(t, "visits", func() bool { return c.served.Load() > before+churnClients/2 || c.failed.Load() > 0 })
			if c.failed.Load() > 0 {
				break
			}
			c.write()
			if i%(reloads/4) != reloads/4-1 {
				o.do("reload")
				continue
			}
			o.do("upgrade")
			var next int
			eventually(t, "another process", func() bool {
				next = pidOf(status(t, c.admin))
				return next != 0 && next != pid
			})
			pid = next
		}
		took := time.Since(began)
		c.judge(took)
		c.wantEverySlot()
		over.Store(true)
		clients.Wait()
		syscall.Kill(pid, syscall.SIGTERM)
		p.wantExit(t, 0)
	})
}

// judge holds the servers to their limits, and tells how well they were used.
func (c *churn) judge(took time.Duration) {
	var busy, could time.Duration
	for i, s := range c.servers {
		if peak := s.peak.Load(); peak > churnLimit {
			c.t.Errorf("server %d had %d sessions at one time, and its limit is %d", i, peak, churnLimit)
		}
		if i < churnServers*3/4 { // always in the file
			s.mu.Lock()
			busy += s.busy
			s.mu.Unlock()
			could += churnLimit * took
		}
	}
	used := 100 * busy.Seconds() / could.Seconds()
	c.t.Logf("%d visits in %v, %.0f a second; the servers that were always there were used to %.1f %% of their limits",
		c.served.Load(), took.Round(time.Millisecond), float64(c.served.Load())/took.Seconds(), used)
}

// wantEverySlot waits until each server that was always there has as many sessions as it may: no slot was lost.
func (c *churn) wantEverySlot() {
	c.t.Helper()
	constant := c.servers[:churnServers*3/4]
	for _, s := range constant {
		s.peak.Store(0)
	}
	eventually(c.t, "every slot to be used", func() bool {
		return !slices.ContainsFunc(constant, func(s *counted) bool { return s.peak.Load() < churnLimit }) || c.failed.Load() > 0
	})
	for i, s := range constant {
		if peak := s.peak.Load(); peak > churnLimit {
			c.t.Errorf("server %d had %d sessions at one time, and its limit is %d", i, peak, churnLimit)
		}
	}
}

// pidOf reads the process out of a status; 0: there is none.
func pidOf(status string) int {
	_, after, ok := strings.Cut(status, `"pid":`)
	digits := strings.IndexFunc(after, func(r rune) bool { return r < '0' || r > '9' })
	if !ok || digits < 0 {
		return 0
	}
	pid, err := strconv.Atoi(after[:digits])
	if errors.Is(err, strconv.ErrSyntax) {
		return 0
	}
	return pid
}
