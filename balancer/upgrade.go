//go:build unix

package balancer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/activation"

	"weir/balancer/handover"
	"weir/frontend"
)

// Successor is a process that is to take the place of this one.
type Successor struct {
	// Binary and Args are what to start; Args begins with the name of the program.
	Binary string
	Args   []string
	// Dir is where it starts. Empty: where this process is.
	Dir string
	// Sockets are to be handed over beside those of the frontends.
	Sockets []frontend.Socket
	// Memory is for the successor to read: its Handed.Memory. Empty: there is none.
	Memory []byte
	// Within is how long it may take to get ready. 0: 30 s.
	Within time.Duration
}

const (
	defaultWithin = 30 * time.Second
	// readyVariable names the descriptor on which the successor says that it serves.
	readyVariable = "WEIR_READY_FD"
	readyWord     = "ready\n"
	// memoryVariable names the descriptor from which the successor reads what this process knows.
	memoryVariable = "WEIR_MEMORY_FD"
	// formerVariable names the descriptors over which the successor speaks with this process and those before it, with
	// commas between them.
	formerVariable = "WEIR_FORMER_FDS"
)

// Upgrade starts a successor with the listening sockets of this balancer, and returns when it serves: then
// this one is to stop, and nobody who comes meanwhile is refused. When the successor ends, or does not get
// ready in time, it is ended, this balancer goes on, and the error says why.
func (b *Balancer) Upgrade(ctx context.Context, s Successor) (pid int, err error) {
	b.changing.Lock()
	defer b.changing.Unlock()
	if b.stopping {
		return 0, ErrStopping
	}
	if s.Within <= 0 {
		s.Within = defaultWithin
	}
	mine, theirs, err := handover.Pair()
	if err != nil {
		b.log.Warn().Err(err).Msg("this process and the new one will hold the limits each by itself")
	}
	former, err := b.landlord.Files()
	if err != nil {
		mine.Hangup()
		theirs.Close()
		return 0, fmt.Errorf("upgrade: %w", err)
	}
	to := b.newPremises()
	ready, memory, process, err := s.start(slices.Concat(b.sockets(), s.Sockets), theirs, former)
	theirs.Close() // nil is allowed
	for _, f := range former {
		f.Close()
	}
	if err != nil {
		mine.Hangup()
		return 0, fmt.Errorf("upgrade: start %s: %w", s.Binary, err)
	}
	tenant := handover.NewTenant(mine, to, b.guard)
	defer ready.Close()
	defer memory.Close() // also when the successor did not want it
	b.guard.Go("telling the new process what this one knows", func() {
		memory.Write(s.Memory)
		memory.Close()
	})
	ctx, cancel := context.WithTimeout(ctx, s.Within)
	defer cancel()
	ctx, hurry := hurried(ctx, tenant)
	defer hurry()
	if err := awaitReady(ctx, ready); err != nil {
		process.Kill()
		state, _ := process.Wait()
		tenant.Close()
		return 0, fmt.Errorf("upgrade: the new process %d is not ready (%v; it ended with %v): this one goes on", process.Pid, err, state)
	}
	go process.Wait() // should it end before this one
	to.leave()
	if !tenant.IsGreeted() { // it is of another version
		tenant.Close()
		b.log.Warn().Int("pid", process.Pid).Msg("the new process does not count the sessions of this one: each holds the limits by itself")
	}
	b.mu.Lock()
	b.stopping = true
	b.mu.Unlock()
	b.log.Warn().Int("pid", process.Pid).Msg("another process has taken over the listeners")
	return process.Pid, nil
}

// hurried is ctx, but once this process has stopped accepting there is less time.
func hurried(ctx context.Context, t *handover.Tenant) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-t.Ceding():
		case <-ctx.Done():
			return
		}
		late := time.NewTimer(handover.Patience)
		defer late.Stop()
		select {
		case <-late.C:
			cancel(fmt.Errorf("nobody was accepted for %v", handover.Patience))
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

// sockets are those of every listener, and those that nobody accepts from.
func (b *Balancer) sockets() (all []frontend.Socket) {
	for _, p := range b.parts {
		all = append(all, p.frontend.Listening().Sockets()...)
	}
	return append(all, b.parked.Sockets()...)
}

// start starts the successor. What it writes to ready tells how it is doing; it reads memory. It speaks with this process
// over theirs, if that is not nil, and with those before it over the others.
func (s *Successor) start(sockets []frontend.Socket, theirs *os.File, others []*os.File) (ready, memory *os.File, process *os.Process, err error) {
	ready, tell, err := os.Pipe()
	if err != nil {
		return nil, nil, nil, err
	}
	defer tell.Close()
	recall, memory, err := os.Pipe()
	if err != nil {
		ready.Close()
		return nil, nil, nil, err
	}
	defer recall.Close()
	files := []uintptr{0, 1, 2}
	var names []string
	for _, socket := range sockets {
		files, names = append(files, socket.FD), append(names, socket.Name())
	}
	next := len(files) // the sockets begin at 3, as systemd hands them over: sd_listen_fds(3)
	files = append(files, tell.Fd(), recall.Fd())
	var former []string
	if theirs != nil {
		for _, fd := range append([]uintptr{theirs.Fd()}, descriptors(others)...) {
			former = append(former, strconv.Itoa(len(files)))
			files = append(files, fd)
		}
	}
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return strings.HasPrefix(v, "LISTEN_") || name == readyVariable || name == memoryVariable || name == formerVariable
	})
	env = append(env,
		"LISTEN_FDS="+strconv.Itoa(len(sockets)), "LISTEN_FDNAMES="+strings.Join(names, ":"),
		readyVariable+"="+strconv.Itoa(next), memoryVariable+"="+strconv.Itoa(next+1),
		formerVariable+"="+strings.Join(former, ","))
	// Not with os/exec: it would put the sockets, which this process goes on using, into blocking mode.
	pid, err := syscall.ForkExec(s.Binary, s.Args, &syscall.ProcAttr{Dir: s.Dir, Env: env, Files: files})
	if err != nil {
		ready.Close()
		memory.Close()
		return nil, nil, nil, err
	}
	process, err = os.FindProcess(pid)
	return ready, memory, process, err
}

// descriptors are those of files that stay open. File.Fd would make them block, for other processes too.
func descriptors(files []*os.File) (fds []uintptr) {
	for _, f := range files {
		if raw, err := f.SyscallConn(); err == nil {
			raw.Control(func(fd uintptr) { fds = append(fds, fd) })
		}
	}
	return fds
}

// awaitReady waits for the word.
func awaitReady(ctx context.Context, ready *os.File) error {
	stop := context.AfterFunc(ctx, func() { ready.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	got, err := io.ReadAll(io.LimitReader(ready, int64(len(readyWord))))
	switch {
	case string(got) == readyWord:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("it took too long: %w", context.Cause(ctx))
	case err != nil:
		return err
	}
	return errors.New("it ended first")
}

// Handed is what a process was started with.
type Handed struct {
	// Files are listening sockets, from a process that this one takes the place of, or from systemd.
	Files []*os.File
	// Memory is what the predecessor wants this process to know. Empty: nothing.
	Memory []byte
	// Former lead to the processes before this one that have sessions yet: see Balancer.TakeOver.
	Former []*os.File
	ready  *os.File // nil: nobody waits
}

// TakeHanded takes what was handed to this process, once. Sockets from systemd are only meant for the process
// that LISTEN_PID names, a number that a predecessor cannot know beforehand.
func TakeHanded() *Handed {
	h := new(Handed)
	if h.ready = inherited(readyVariable); h.ready != nil {
		os.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid()))
	}
	if memory := inherited(memoryVariable); memory != nil {
		h.Memory, _ = io.ReadAll(memory) // of a predecessor that has just ended: who would care?
		memory.Close()
	}
	for _, text := range strings.Split(os.Getenv(formerVariable), ",") {
		if f := descriptor(text, formerVariable); f != nil {
			h.Former = append(h.Former, f)
		}
	}
	os.Unsetenv(formerVariable)
	h.Files = activation.Files(true)
	return h
}

// inherited returns the file whose descriptor a variable names, once; nil: there is none.
func inherited(variable string) *os.File {
	defer os.Unsetenv(variable)
	return descriptor(os.Getenv(variable), variable)
}

// descriptor returns the file that a number means; nil: none.
func descriptor(text, variable string) *os.File {
	fd, err := strconv.Atoi(text)
	if err != nil {
		return nil
	}
	syscall.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), variable)
}

// Ready tells the predecessor, if there is one, that this process serves.
func (h *Handed) Ready() error {
	if h.ready == nil {
		return nil
	}
	defer h.ready.Close()
	_, err := h.ready.WriteString(readyWord)
	h.ready = nil
	return err
}
