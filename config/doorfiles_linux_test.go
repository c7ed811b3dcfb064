package config

import (
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
)

// Whoever has no right to the door's secrets can still read the file that names them.
func TestSecretsThatMayNotBeRead(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil { // which the testing package made for its user alone
		t.Fatal(err)
	}
	secret := filepath.Join(dir, "token")
	if err := os.WriteFile(secret, []byte("short"), 0); err != nil {
		t.Fatal(err)
	}
	text := leastFile + "\n[admin]\nbind_on = \"unix:/run/weir/admin.sock\"\ntoken_file = \"" + secret + "\"\n"
	var err error
	asNobody(func() { _, err = Parse("secret.toml", []byte(text)) })
	if err != nil {
		t.Error(err)
	}
	if err := os.Chmod(secret, 0o444); err != nil {
		t.Fatal(err)
	}
	asNobody(func() { _, err = Parse("secret.toml", []byte(text)) })
	checkMistakes(t, err)
}

// asNobody runs work without root's right to read everything (setfsuid(2)), on a thread that ends with it.
func asNobody(work func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if os.Geteuid() == 0 {
			syscall.Setfsuid(65534)
		}
		work()
	}()
	<-done
}
