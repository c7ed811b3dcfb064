//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const logRow = "log: connect, 100 B, answer, close, with a line in a file for each"

// logger is a proxy that writes a line for each session into a file.
type logger struct {
	*proxy
	lines *os.File
}

// logged turns the configuration of a proxy into one that logs to a file. Nothing else about it changes. HAProxy and
// nginx write each line as it comes, which is how they come; weir writes those together that come within 5 ms.
// HAProxy knows no files, but its stdout can be one.
func logged(name, text, file string) string {
	switch name {
	case "HAProxy":
		text = strings.Replace(text, "global\n", "global\n\tlog stdout format raw local0\n", 1)
		return strings.Replace(text, "defaults\n", "defaults\n\tlog global\n\toption tcplog\n", 1)
	case "nginx":
		// What tcplog has, as far as nginx knows it.
		format := `'$remote_addr:$remote_port [$time_local] $server_addr:$server_port $upstream_addr $upstream_connect_time ` +
			`$session_time $bytes_received $bytes_sent $status'`
		text = strings.Replace(text, "nginx.pid", "nginx-log.pid", 1)
		return strings.Replace(text, "access_log off;", fmt.Sprintf("log_format session %s;\n\taccess_log %s session;", format, file), 1)
	}
	return text + fmt.Sprintf("\n[log]\nfile = %q\n", file)
}

// beginLoggers starts once more each proxy that is compared, with a log.
func (s *stage) beginLoggers(ctx context.Context) (started []*logger, err error) {
	defer func() {
		if err != nil {
			endLoggers(started)
		}
	}()
	for i, like := range s.proxies {
		l, err := s.beginLogger(like, fmt.Sprintf("127.77.6.%d", i+1))
		if err != nil {
			return started, err
		}
		started = append(started, l)
		if err := reach(ctx, l.process, l.address+echoPort); err != nil {
			return started, err
		}
	}
	return started, nil
}

func (s *stage) beginLogger(like *proxy, address string) (*logger, error) {
	at := slices.IndexFunc(like.args, func(a string) bool { return strings.HasPrefix(a, s.peers) })
	text, err := os.ReadFile(like.args[at])
	if err != nil {
		return nil, err
	}
	base := filepath.Join(s.scratch, strings.ReplaceAll(like.name, " ", "-")+"-log")
	lines, err := os.OpenFile(base+".lines", os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	file := logged(like.name, strings.ReplaceAll(string(text), like.address, address), lines.Name())
	if err := os.WriteFile(base+".conf", []byte(file), 0o644); err != nil {
		return nil, err
	}
	args := slices.Clone(like.args)
	args[at] = base + ".conf"
	var stdout *os.File
	if like.name == "HAProxy" {
		stdout = lines
	}
	p, err := beginWriting(stdout, like.name+", logging", like.path, args...)
	if err != nil {
		lines.Close()
		return nil, err
	}
	return &logger{&proxy{process: p, name: like.name, address: address}, lines}, nil
}

func endLoggers(all []*logger) {
	for _, l := range all {
		l.end()
		l.lines.Close()
	}
}

// measure measures the storm of connections. Whoever has not written a line for each is not compared.
func (l *logger) measure(ctx context.Context, connect *row, d time.Duration) (sample, error) {
	if err := l.lines.Truncate(0); err != nil {
		return nil, err
	}
	v, err := connect.measure(ctx, l.proxy, d)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(l.lines.Name())
	if err != nil {
		return nil, err
	}
	least := int(v["connections/s"] * d.Seconds() * 0.9) // the last lines may be on their way
	if n := bytes.Count(text, []byte("\n")); n < least {
		return nil, fmt.Errorf("%d lines for %d connections or more", n, least)
	}
	return v, nil
}

// measureLogging compares what a connection costs with a line in a log for each.
func measureLogging(ctx context.Context, o options, s *stage, r *report) error {
	started, err := s.beginLoggers(ctx)
	if err != nil {
		return err
	}
	defer endLoggers(started)
	connect := ownRows()[0]
	t := newTable(logRow, connect.figures)
	for i := range o.rounds {
		for _, l := range turn(i, started) {
			v, err := l.measure(ctx, &connect, o.each)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				t.failed(l.name, err)
				continue
			}
			t.add(i, l.name, v)
		}
	}
	r.add(t)
	return nil
}
