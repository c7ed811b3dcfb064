//go:build linux

package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// proxy is one of those that are compared.
type proxy struct {
	*process
	name, address string // without a port
	path          string
	args          []string
	version       string
}

// Ports of every proxy.
const echoPort, httpPort, iperfPort = ":7000", ":7001", ":7002"

// stage is everything that runs: proxies, backends, and where they come from.
type stage struct {
	weir, peers string // the binary; the directory of configurations
	scratch     string // for files of a run
	proxies     []*proxy
	others      []*process
}

func (s *stage) end() {
	for _, p := range s.proxies {
		p.end()
	}
	for _, p := range s.others {
		p.end()
	}
	os.RemoveAll(s.scratch)
}

// peer returns the path of a program: from the environment, or else from PATH.
func peer(variable, name string) (string, error) {
	if path := os.Getenv(variable); path != "" {
		return path, nil
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%s is not installed (or name it in %s=)", name, variable)
	}
	return path, nil
}

func (s *stage) begin(ctx context.Context) error {
	haproxy, err := peer("HAPROXY", "haproxy")
	if err != nil {
		return err
	}
	nginx, err := peer("NGINX", "nginx")
	if err != nil {
		return err
	}
	if err := s.backends(nginx); err != nil {
		return err
	}
	conf := func(name string) string { return filepath.Join(s.peers, name) }
	if err := s.add("weir reactor", "127.77.0.1", s.weir, "--version", "-c", conf("weir-reactor.toml")); err != nil {
		return err
	}
	if err := s.add("weir pinned", "127.77.0.5", s.weir, "--version", "-c", conf("weir-pinned.toml")); err != nil {
		return err
	}
	if err := s.add("weir copy", "127.77.0.2", s.weir, "--version", "-c", conf("weir-copy.toml")); err != nil {
		return err
	}
	if err := s.add("HAProxy", "127.77.0.3", haproxy, "-v", "-db", "-f", conf("haproxy.cfg")); err != nil {
		return err
	}
	if err := s.add("nginx", "127.77.0.4", nginx, "-v", s.nginxArgs(nginx, "nginx.conf")...); err != nil {
		return err
	}
	for _, p := range s.proxies {
		if err := reach(ctx, p.process, p.address+echoPort); err != nil {
			return err
		}
	}
	return nil
}

// nginxArgs keeps its files in the scratch directory, and loads stream where it is a module.
func (s *stage) nginxArgs(nginx, file string) []string {
	args := []string{"-p", s.scratch, "-e", "stderr", "-c", filepath.Join(s.peers, file)}
	build, _ := exec.Command(nginx, "-V").CombinedOutput()
	modules := regexp.MustCompile(`--modules-path=(\S+)`).FindSubmatch(build)
	if strings.Contains(string(build), "--with-stream=dynamic") && modules != nil {
		args = append(args, "-g", fmt.Sprintf("load_module %s/ngx_stream_module.so;", modules[1]))
	}
	return args
}

func (s *stage) backends(nginx string) error {
	if err := s.other("weir echo", s.weir, "echo", "--listen", "127.77.1.1:7000", "--listen", "127.77.1.2:7000"); err != nil {
		return err
	}
	if err := s.other("nginx (HTTP backend)", nginx, s.nginxArgs(nginx, "http.conf")...); err != nil {
		return err
	}
	return s.other("iperf3", "iperf3", "-s", "-B", "127.77.1.4", "-p", "7002")
}

func (s *stage) other(name, path string, args ...string) error {
	p, err := begin(name, path, args...)
	if err == nil {
		s.others = append(s.others, p)
	}
	return err
}

func (s *stage) add(name, address, path, versionFlag string, args ...string) error {
	version, _ := exec.Command(path, versionFlag).CombinedOutput()
	first, _, _ := strings.Cut(string(version), "\n")
	p, err := begin(name, path, args...)
	if err == nil {
		s.proxies = append(s.proxies, &proxy{p, name, address, path, args, first})
	}
	return err
}

// renew starts a proxy anew.
func (p *proxy) renew(ctx context.Context) (err error) {
	p.end()
	if p.process, err = begin(p.name, p.path, p.args...); err != nil {
		return err
	}
	return reach(ctx, p.process, p.address+echoPort)
}

// reach waits until a program accepts connections.
func reach(ctx context.Context, p *process, address string) error {
	limit, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var d net.Dialer
	for {
		c, err := d.DialContext(limit, "tcp", address)
		if err == nil {
			return c.Close()
		}
		if err := p.died(); err != nil {
			return err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-limit.Done():
			return fmt.Errorf("%s does not accept on %s: %w", p.name, address, err)
		}
	}
}
