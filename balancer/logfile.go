package balancer

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/rs/zerolog"

	"weir/config"
	"weir/frontend"
)

// LogFile is a file that the log is appended to. It can be opened again, for when logrotate has renamed
// it; no line is lost or cut in two.
type LogFile struct {
	path     string
	fallback io.Writer

	mu      sync.Mutex
	file    *os.File
	lines   wholeLines // to it
	failing bool       // the last write did
}

// OpenLogFile opens a file, or creates it with mode 0640. Lines that cannot be written to it go to
// fallback, with a line that says why.
func OpenLogFile(path string, fallback io.Writer) (*LogFile, error) {
	file, err := openLog(path)
	if err != nil {
		return nil, err
	}
	return &LogFile{path: path, fallback: fallback, file: file, lines: wholeLines{out: file}}, nil
}

// openLog lets the group read what others may not: a log has addresses of clients in it.
func openLog(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY|openWithoutWaiting, 0o640)
	if err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	return file, nil
}

// Write appends lines. Those that the file does not take go to the fallback, whole. With an error neither took all:
// it returns how many bytes of whole lines they took.
func (f *LogFile) Write(lines []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.lines.Write(lines)
	if err == nil {
		f.failing = false
		return n, nil
	}
	if !f.failing {
		f.failing = f.complain(err) == nil
	}
	rest, err := f.fallback.Write(lines[n:])
	return n + rest, err
}

// complain says in the fallback why lines come there.
func (f *LogFile) complain(why error) error {
	var line bytes.Buffer // zerolog itself would complain of a fallback that fails, in the midst of whatever is there
	log := zerolog.New(&line).With().Timestamp().Logger()
	log.Error().Err(why).Msg("cannot write the log file: its lines come here until it works")
	_, err := f.fallback.Write(line.Bytes())
	return err
}

// Reopen opens the file of that path, which may be another one by now, and goes on there. When that fails
// it goes on with the old one.
func (f *LogFile) Reopen() error {
	file, err := openLog(f.path)
	if err != nil {
		return err
	}
	f.mu.Lock()
	old := f.file
	f.file, f.lines, f.failing = file, wholeLines{out: file}, false
	f.mu.Unlock()
	return old.Close()
}

// Close closes the file, if there is one. Nothing may be written afterwards.
func (f *LogFile) Close() error {
	if f == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.file.Close()
}

// ReopenOnSignal opens the file again for each signal, until ctx ends, and logs how it went. A nil *LogFile
// is a log on stderr, for which there is nothing to do.
func (f *LogFile) ReopenOnSignal(ctx context.Context, signals <-chan os.Signal, log zerolog.Logger) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-signals:
			f.tellReopen(log)
		}
	}
}

func (f *LogFile) tellReopen(log zerolog.Logger) {
	if f == nil {
		log.Info().Msg("the log is not in a file: nothing to open again")
	} else if err := f.Reopen(); err != nil {
		log.Error().Err(err).Msg("cannot open the log file again: going on with the old one")
	} else {
		log.Info().Str("file", f.path).Msg("opened the log file again")
	}
}

// sessionPolicy translates what the file says about the lines of sessions.
func sessionPolicy(c *config.Log) frontend.SessionPolicy {
	p := frontend.SessionPolicy{Sample: c.Sample, Rate: c.Rate}
	switch {
	case c.Sessions == "all", c.Sessions == "auto" && c.File != "":
		p.Lines = frontend.LinesAll
	case c.Sessions == "failed":
		p.Lines = frontend.LinesFailed
	case c.Sessions == "none":
		p.Lines = frontend.LinesNone
	}
	return p
}
