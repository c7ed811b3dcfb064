//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// foreignRows are measured with clients that are not ours.
func foreignRows() []row {
	request := []string{"CPU µs/request", "requests/s", "p50 µs", "p99 µs"}
	bulk := []string{"CPU ms/GB", "Gbit/s"}
	return []row{
		{"wrk: HTTP, a connection for each request, 50 at a time", request, wrk("/close")},
		{"wrk: HTTP, kept alive, 50 connections", request, wrk("/")},
		{"iperf3: bulk one way, 1 stream", bulk, iperf(1)},
		{"iperf3: bulk one way, 8 streams", bulk, iperf(8)},
	}
}

// client runs a program that is not ours, and returns what it printed.
func client(ctx context.Context, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return out.Bytes(), fmt.Errorf("%s: %w: %s", name, err, bytes.TrimSpace(complaint.Bytes()))
	}
	return out.Bytes(), nil
}

var (
	wrkRequests = regexp.MustCompile(`(\d+) requests in ([\d.]+)(m?s)`)
	wrkQuantile = regexp.MustCompile(`(?m)^\s+(50|99)%\s+([\d.]+)(us|ms|s)`)
	wrkErrors   = regexp.MustCompile(`Socket errors.*|Non-2xx.*`)
)

func wrk(path string) func(context.Context, *proxy, time.Duration) (sample, error) {
	return func(ctx context.Context, p *proxy, d time.Duration) (sample, error) {
		seconds := fmt.Sprintf("-d%.0fs", max(1, d.Seconds())) // wrk knows whole ones only
		before := p.cpu()
		out, err := client(ctx, "wrk", "-t2", "-c50", seconds, "--latency", "http://"+p.address+httpPort+path)
		used := p.cpu() - before
		if err != nil {
			return nil, err
		}
		return wrkFigures(string(out), used)
	}
}

func wrkFigures(out string, used time.Duration) (sample, error) {
	m := wrkRequests.FindStringSubmatch(out)
	if m == nil {
		return nil, fmt.Errorf("wrk said: %s", out)
	}
	if e := wrkErrors.FindString(out); e != "" {
		return nil, errors.New("wrk: " + e)
	}
	n, _ := strconv.ParseFloat(m[1], 64)
	took, _ := time.ParseDuration(m[2] + m[3])
	s := sample{"CPU µs/request": float64(used.Nanoseconds()) / 1e3 / n, "requests/s": n / took.Seconds()}
	for _, q := range wrkQuantile.FindAllStringSubmatch(out, -1) {
		t, _ := time.ParseDuration(q[2] + q[3])
		s["p"+q[1]+" µs"] = float64(t.Nanoseconds()) / 1e3
	}
	return s, nil
}

// iperfTries: the server takes one client at a time, and may not be done with the one before.
const iperfTries = 5

func iperf(streams int) func(context.Context, *proxy, time.Duration) (sample, error) {
	return func(ctx context.Context, p *proxy, d time.Duration) (s sample, err error) {
		for range iperfTries {
			if s, err = iperfOnce(ctx, p, d, streams); err == nil || !strings.Contains(err.Error(), "busy") {
				return s, err
			}
			time.Sleep(100 * time.Millisecond)
		}
		return nil, err
	}
}

func iperfOnce(ctx context.Context, p *proxy, d time.Duration, streams int) (sample, error) {
	before := p.cpu()
	host, port := p.address, strings.TrimPrefix(iperfPort, ":")
	out, err := client(ctx, "iperf3", "-c", host, "-p", port, "-t", fmt.Sprintf("%.0f", max(1, d.Seconds())), "-P", strconv.Itoa(streams), "-J")
	used := p.cpu() - before
	var answer struct {
		Error string
		End   struct {
			Received struct {
				Bytes         float64
				BitsPerSecond float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		}
	}
	if jsonErr := json.Unmarshal(out, &answer); jsonErr != nil && err == nil {
		err = fmt.Errorf("iperf3: %w", jsonErr)
	}
	if answer.Error != "" {
		err = errors.New("iperf3: " + answer.Error)
	}
	if err != nil {
		return nil, err
	}
	r := answer.End.Received
	return sample{"CPU ms/GB": float64(used.Nanoseconds()) / 1e6 / (r.Bytes / 1e9), "Gbit/s": r.BitsPerSecond / 1e9}, nil
}
