//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is one program that was started, with all its children. It lives no longer than we do.
type process struct {
	name string
	cmd  *exec.Cmd
	out  *bytes.Buffer
	done chan struct{}
}

// begin starts a program in a process group of its own. Call it from the main thread only: the kernel
// ends the program when the thread that started it dies.
func begin(name, path string, args ...string) (*process, error) {
	return beginWriting(nil, name, path, args...)
}

// beginWriting is begin with a file for what the program says on stdout. nil: it is kept with the rest.
func beginWriting(stdout *os.File, name, path string, args ...string) (*process, error) {
	p := &process{name: name, cmd: exec.Command(path, args...), out: new(bytes.Buffer), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	if stdout != nil {
		p.cmd.Stdout = stdout
	}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() { p.cmd.Wait(); close(p.done) }()
	return p, nil
}

// interrupt ends a program as Ctrl-C does, and waits for what it says.
func (p *process) interrupt() {
	syscall.Kill(p.cmd.Process.Pid, syscall.SIGINT)
	select {
	case <-p.done:
	case <-time.After(patience):
	}
}

// patience is how long a program may take to start or to end.
const patience = 20 * time.Second

// end stops the program and its children.
func (p *process) end() {
	if p == nil {
		return
	}
	// The second signal ends weir at once; nginx is to collect its workers itself.
	for range 2 {
		syscall.Kill(p.cmd.Process.Pid, syscall.SIGTERM)
		select {
		case <-p.done:
			return
		case <-time.After(time.Second):
		}
	}
	syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.done
}

// died returns an error if the program has ended.
func (p *process) died() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s has ended: %s", p.name, bytes.TrimSpace(p.out.Bytes()))
	default:
		return nil
	}
}

// pids returns the program and its children: nginx and HAProxy work in theirs.
func (p *process) pids() []int {
	pids := []int{p.cmd.Process.Pid}
	for i := 0; i < len(pids); i++ {
		children, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pids[i]))
		for _, file := range children {
			list, _ := os.ReadFile(file)
			for _, f := range strings.Fields(string(list)) {
				if pid, err := strconv.Atoi(f); err == nil {
					pids = append(pids, pid)
				}
			}
		}
	}
	return pids
}

// cpu returns the processor time that all its threads have used, user and system, to the nanosecond:
// clock ticks in /proc/PID/stat are too coarse.
func (p *process) cpu() (sum time.Duration) {
	for _, pid := range p.pids() {
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		for _, file := range files {
			stat, _ := os.ReadFile(file)
			if f := strings.Fields(string(stat)); len(f) > 0 {
				ns, _ := strconv.ParseInt(f[0], 10, 64)
				sum += time.Duration(ns)
			}
		}
	}
	return sum
}

// descriptors returns how many are open in all its processes.
func (p *process) descriptors() (n int) {
	for _, pid := range p.pids() {
		open, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		n += len(open)
	}
	return n
}

// memory returns the proportional set size of all its processes, in bytes: pages that workers share are
// counted once. Memory of the kernel, such as socket buffers and pipes, is not in it.
func (p *process) memory() (sum int64) {
	for _, pid := range p.pids() {
		rollup, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		for line := range strings.Lines(string(rollup)) {
			if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
				kb, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
				sum += kb << 10
			}
		}
	}
	return sum
}
