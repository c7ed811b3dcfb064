//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const admissionRow = "admission: CPU µs/connection (weir reactor)"

// variant is one weir among several that do the same work.
type variant struct {
	name     string
	frontend string // keys of [[frontend]]
	backend  string // of each backend
	tables   string
	door     string // path of the operator's socket; empty: there is none
}

// prefixes is a list of that many networks, none of which is ours.
func prefixes(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("%q", fmt.Sprintf("10.%d.%d.0/24", i/256, i%256))
	}
	return "[" + strings.Join(list, ", ") + "]"
}

// admissions are the same weir without admission, with all of it, and with so low a limit that most clients
// wait in the queue.
func admissions() []variant {
	all := variant{
		name:     "on",
		frontend: "max_connections = 1000\nmax_sessions = 10000\ndeny = " + prefixes(10000) + "\n",
		backend:  "max_connections = 600\n",
		tables: "[frontend.queue]\nsize = 5000\n" +
			"[frontend.rate]\nsessions = 1000000\n" +
			"[frontend.client]\nrate = 1000000\nmax_sessions = 10000\n" +
			"[[frontend.class]]\nname = \"a\"\nmatch = [\"127.77.2.0/30\"]\nweight = 2\n" +
			"[[frontend.class]]\nname = \"b\"\nmatch = [\"127.77.2.4/30\"]\n",
	}
	waits := all
	waits.name = "on, most wait"
	waits.frontend = strings.Replace(waits.frontend, "max_connections = 1000", "max_connections = 8", 1)
	return []variant{{name: "off"}, all, waits}
}

func (v *variant) file(address string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[[frontend]]\nbind_on = %q\nengine = \"reactor\"\nhealth = { kind = \"none\" }\n%s", address+echoPort, v.frontend)
	for _, to := range []string{"127.77.1.1:7000", "127.77.1.2:7000"} {
		fmt.Fprintf(&b, "[[frontend.backend]]\nforward_to = %q\n%s", to, v.backend)
	}
	return b.String() + v.tables
}

// beginVariants starts a weir for each.
func (s *stage) beginVariants(ctx context.Context, all []variant) (started []*proxy, err error) {
	defer func() {
		if err != nil {
			endAll(started)
		}
	}()
	for i := range all {
		address := fmt.Sprintf("127.77.5.%d", i+1)
		file := filepath.Join(s.scratch, fmt.Sprintf("variant-%d.toml", i))
		if err := os.WriteFile(file, []byte(all[i].file(address)), 0o644); err != nil {
			return started, err
		}
		p, err := begin("weir, "+all[i].name, s.weir, "-c", file)
		if err != nil {
			return started, err
		}
		started = append(started, &proxy{process: p, name: all[i].name, address: address})
		if err := reach(ctx, p, address+echoPort); err != nil {
			return started, err
		}
	}
	return started, nil
}

// measureVariants measures the storm of connections for each.
func measureVariants(ctx context.Context, o options, s *stage, r *report, name string, all []variant) error {
	started, err := s.beginVariants(ctx, all)
	if err != nil {
		return err
	}
	defer endAll(started)
	looking, stop := context.WithCancel(ctx)
	defer stop()
	go scrape(looking, all)
	connect := ownRows()[0]
	t := newTable(name, connect.figures)
	for i := range o.rounds {
		for _, p := range turn(i, started) {
			v, err := connect.measure(ctx, p, o.each)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				t.failed(p.name, err)
				continue
			}
			t.add(i, p.name, v)
		}
	}
	r.addVariants(t, started)
	return nil
}

// addVariants finishes a table in which everything is compared with the first.
func (r *report) addVariants(t *table, all []*proxy) {
	t.takeMedians()
	fmt.Printf("\n**%s**\n\n| |", t.Work)
	for _, p := range all {
		fmt.Printf(" %s |", p.name)
	}
	fmt.Printf("\n|---|%s\n", strings.Repeat("---:|", len(all)))
	for _, figure := range t.Figures {
		fmt.Printf("| %s |", figure)
		for _, p := range all {
			fmt.Printf(" %s%s", t.cell(p.name, figure), t.spread(p.name, figure))
			if ratio := t.against(p.name, all[0].name, figure); p != all[0] && ratio > 0 {
				t.Ratios[p.name+": "+figure] = ratio
				fmt.Printf(" = %.2f", ratio)
			}
			fmt.Print(" |")
		}
		fmt.Println()
	}
	r.close(t)
}

const operationsRow = "seen from outside: CPU µs/connection (weir reactor)"

// operations are the same weir with nobody looking, with metrics that are fetched every second, and with a
// line in a log file for each session as well.
func (s *stage) operations() []variant {
	door := filepath.Join(s.scratch, "door.sock")
	metrics := variant{name: "metrics", door: door, tables: fmt.Sprintf("[admin]\nbind_on = %q\n", "unix:"+door)}
	logs := variant{name: "metrics and log", door: door + "2"}
	logs.tables = fmt.Sprintf("[admin]\nbind_on = %q\n[log]\nfile = %q\n", "unix:"+logs.door, filepath.Join(s.scratch, "sessions.log"))
	return []variant{{name: "neither"}, metrics, logs}
}

// scrape fetches the metrics of those that have a door every second, as Prometheus would more rarely.
func scrape(ctx context.Context, all []variant) {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		for _, v := range all {
			if v.door != "" {
				fetch(ctx, v.door)
			}
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

func fetch(ctx context.Context, door string) {
	c := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", door)
		},
	}}
	r, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/metrics", nil)
	if answer, err := c.Do(r); err == nil {
		io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
	}
}
