package refusal

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is the longest that a real client, or we with it, may take.
const patience = 20 * time.Second

// realClients are the programs that people use, and what they show when they are refused. They are given
// any address at which that is done.
var realClients = []struct {
	name, protocol, message string
	binaries                []string // the first that is installed
	args                    func(host, port string) []string
	want                    string
}{
	{
		name: "psql without TLS", protocol: "postgres", binaries: []string{"psql"}, args: psql("disable"),
		want: "FATAL:  sorry, too many clients already",
	},
	{
		// Asks for TLS, and goes on without.
		name: "psql that prefers TLS", protocol: "postgres", binaries: []string{"psql"}, args: psql("prefer"),
		want: "FATAL:  sorry, too many clients already",
	},
	{
		// Connects anew with TLS when it was refused without.
		name: "psql that allows TLS", protocol: "postgres", binaries: []string{"psql"}, args: psql("allow"),
		want: "FATAL:  sorry, too many clients already",
	},
	{
		// Nothing that comes without TLS is shown. See the package's comment.
		name: "psql that requires TLS", protocol: "postgres", binaries: []string{"psql"}, args: psql("require"),
		want: "server does not support SSL, but SSL was required",
	},
	{
		name: "psql, own text", protocol: "postgres", message: "come back later", binaries: []string{"psql"},
		args: psql("prefer"), want: "FATAL:  come back later",
	},
	{
		name: "mysql without TLS", protocol: "mysql", binaries: []string{"mariadb", "mysql"}, args: mysqlPlain,
		want: "ERROR 1040 (HY000): Too many connections",
	},
	{
		// With TLS, the default of some, MariaDB's newer clients wrap what came before it: see mysqlError.
		name: "mysql as it comes, number", protocol: "mysql", binaries: []string{"mariadb", "mysql"}, args: mysql,
		want: "1040",
	},
	{
		name: "mysql as it comes, text", protocol: "mysql", binaries: []string{"mariadb", "mysql"}, args: mysql,
		want: "Too many connections",
	},
	{
		name: "mysql, own text", protocol: "mysql", message: "come back later", binaries: []string{"mariadb", "mysql"},
		args: mysqlPlain, want: "ERROR 1040 (HY000): come back later",
	},
	{
		name: "redis-cli", protocol: "redis", binaries: []string{"redis-cli"}, args: redisCLI,
		want: "ERR max number of clients reached",
	},
	{
		name: "redis-cli, own text", protocol: "redis", message: "come back later", binaries: []string{"redis-cli"},
		args: redisCLI, want: "ERR come back later",
	},
	{
		name: "redis-cli, literal", message: "-LOADING elsewhere\r\n", binaries: []string{"redis-cli"},
		args: redisCLI, want: "LOADING elsewhere",
	},
}

func psql(sslmode string) func(host, port string) []string {
	return func(host, port string) []string {
		return []string{"-X", "-w", "-c", "select 1", "host=" + host + " port=" + port + " user=ann dbname=shop sslmode=" + sslmode}
	}
}

func mysql(host, port string) []string {
	return []string{"--no-defaults", "--protocol=tcp", "-h", host, "-P", port, "-u", "ann", "-e", "select 1"}
}

// mysqlPlain is without TLS where there is such an option: MySQL's client has another, and needs none.
func mysqlPlain(host, port string) []string { return append(mysql(host, port), "--loose-skip-ssl") }

func redisCLI(host, port string) []string { return []string{"-h", host, "-p", port, "PING"} }

func TestRealClients(t *testing.T) {
	for _, c := range realClients {
		t.Run(c.name, func(t *testing.T) {
			program := installed(t, c.binaries)
			host, port, _ := net.SplitHostPort(refuse(t, mustFor(t, c.protocol, c.message)))
			got := run(t, program, c.args(host, port))
			if !strings.Contains(got, c.want) {
				t.Errorf("%s shows %q, want %q", program, got, c.want)
			}
		})
	}
}

// installed returns the path of the first program that is there. Without one the test is skipped, but
// fails where CI=true says that everything is to be there.
func installed(t *testing.T, programs []string) string {
	t.Helper()
	for _, name := range programs {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	missing := strings.Join(programs, " or ") + " is not installed"
	if os.Getenv("CI") == "true" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}

// run returns all that a program prints, in English. Whether it is content is not asked: redis-cli exits
// with 0 after an error.
func run(t *testing.T, program string, args []string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "LC_ALL=C"}
	output, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if ctx.Err() != nil || err != nil && !errors.As(err, &exit) {
		t.Fatalf("run %s: %v; it printed %q", program, err, output)
	}
	return string(output)
}

// refuse listens until the test ends, and refuses everyone as s says. It returns the address.
func refuse(t *testing.T, s *Speech) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() {
		l.Close()
		all.Wait()
	})
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { speak(conn.(*net.TCPConn), s) })
		}
	})
	return l.Addr().String()
}

// speak tells one client, and closes as an engine is to: shut down writing, drain, close. A close with
// unread bytes would send a reset, and the client might never read what was said.
func speak(conn *net.TCPConn, s *Speech) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	conn.Write(s.Opening())
	listen(conn, s)
	conn.CloseWrite()
	io.Copy(io.Discard, io.LimitReader(conn, 64<<10))
}

// listen hears the client, if it is to be heard, and answers until there is no more to say.
func listen(conn *net.TCPConn, s *Speech) {
	var h Hearing
	buffer := make([]byte, 512)
	for done := !s.Listens(); !done; {
		n, err := conn.Read(buffer)
		if err != nil {
			return
		}
		var answer []byte
		answer, done = s.Hear(&h, buffer[:n])
		conn.Write(answer)
	}
}
