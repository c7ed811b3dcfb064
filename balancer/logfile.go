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
	failing bool // the last write did
	torn    bool // it left the beginning of a line
}

// OpenLogFile opens a file, or creates it with mode 0640. Lines that cannot be written to it go to
// fallback, with a line that says why.
func OpenLogFile(path string, fallback io.Writer) (*LogFile, error) {
	file, err := openLog(path)
	if err != nil {
		return nil, err
	}
	return &LogFile{path: path, fallback: fallback, file: file}, nil
}

// openLog lets the group read what others may not: a log has addresses of clients in it.
func openLog(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY|openWithoutWaiting, 0o640)
	if err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	return file, nil
}

// Write appends lines. Those that the file does not take go to the fallback, whole.
func (f *LogFile) Write(lines []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.mend()
	if err == nil {
		var n int
		n, err = f.file.Write(lines)
		if err != nil {
			whole := 1 + bytes.LastIndexByte(lines[:n], '\n')
			f.torn = n > whole
			lines = lines[whole:]
		}
	}
	if err == nil {
		f.failing = false
		return len(lines), nil
	}
	if !f.failing {
		f.failing = true
		complain := zerolog.New(f.fallback).With().Timestamp().Logger()
		complain.Error().Err(err).Msg("cannot write the log file: its lines come here until it works")
	}
	return f.fallback.Write(lines)
}

// mend ends a line of which a full disk took only the beginning, so that the next is not spoilt as well.
func (f *LogFile) mend() error {
	if !f.torn {
		return nil
	}
	_, err := f.file.Write([]byte("\n"))
	f.torn = err != nil
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
	f.file, f.failing, f.torn = file, false, false
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
