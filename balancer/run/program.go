package run

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// program is the binary that upgrades start: what the command line named, looked up anew each time. Where releases
// stand beside each other and a link says which is current, that link is in the name, and gone from what the kernel
// knows of the process.
type program struct {
	// name is the first word of the command line; "": it was not what was started.
	name string
	// dir is where the command line was said, by the name that the shell has for it: with its links.
	dir string
	// path is where the kernel found the binary at the start, without links.
	path string
}

// thisProgram is to be called before anything changes the directory.
func thisProgram() program {
	p := program{name: os.Args[0]}
	p.dir, _ = os.Getwd() // without it only absolute names can be found
	p.path, _ = os.Executable()
	if found, err := p.named(); err != nil || !isThisProcess(found, p.path) {
		p.name = "" // any word can stand there: exec -a, ExecStart=@
	}
	return p
}

// isThisProcess says whether a file is the one that this process was started from.
func isThisProcess(file, executable string) bool {
	named, err := os.Stat(file)
	if err != nil {
		return false
	}
	running, err := os.Stat("/proc/self/exe") // also when that was replaced or removed since
	if err != nil {
		running, err = os.Stat(executable)
	}
	return err == nil && os.SameFile(named, running)
}

// find returns the file to start now.
func (p program) find() (string, error) {
	if p.name == "" {
		return exec.LookPath(p.path)
	}
	found, err := p.named()
	if err == nil {
		return found, nil
	}
	if found, err := exec.LookPath(p.path); err == nil {
		return found, nil
	}
	return "", fmt.Errorf("there is no program to start: neither %s, which the command line named (%w), nor %s, where this one was: "+
		"put the new binary at one of these places", p.name, err, p.path)
}

// named looks the name up as the shell did: by PATH if it has no slash.
func (p program) named() (found string, err error) {
	if strings.ContainsRune(filepath.ToSlash(p.name), '/') {
		return exec.LookPath(p.absolute(p.name))
	}
	err = exec.ErrNotFound
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if found, err = exec.LookPath(p.absolute(filepath.Join(dir, p.name))); err == nil {
			return found, nil
		}
	}
	return "", err
}

func (p program) absolute(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(p.dir, name)
}

// directory is where the successor is to start, so that it finds what the command line names as this process did,
// and what it finds is of the release that is current then. "": where this process is, for that one is gone.
func (p program) directory() string {
	if info, err := os.Stat(p.dir); err != nil || !info.IsDir() {
		return ""
	}
	return p.dir
}
