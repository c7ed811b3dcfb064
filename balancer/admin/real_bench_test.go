//go:build linux

package admin_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"weir/balancer"
	"weir/balancer/admin"
	"weir/config"
)

// BenchmarkStatus asks for the status of one frontend with so many backends: ten times as many take ten times as long.
func BenchmarkStatus(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var text strings.Builder
			text.WriteString("[[frontend]]\nname = \"web\"\nbind_on = \"127.0.0.1:0\"\nhealth = { kind = \"none\" }\n")
			for i := range n {
				fmt.Fprintf(&text, "[[frontend.backend]]\nname = \"backend-%d\"\nforward_to = \"10.%d.%d.%d:5432\"\n", i, i>>16, i>>8&255, i&255)
			}
			file := filepath.Join(b.TempDir(), "weir.toml")
			cfg, err := config.Parse(file, []byte(text.String()))
			if err != nil {
				b.Fatal(err)
			}
			w, err := balancer.New(b.Context(), cfg, zerolog.Nop())
			if err != nil {
				b.Fatal(err)
			}
			defer w.Close()
			r := admin.NewRunning(&admin.Running{Balancer: w, File: file, Started: time.Now()})
			b.ReportAllocs()
			for b.Loop() {
				if s := r.Status(); len(s.Frontends[0].Pool.Backends) != n {
					b.Fatal("not all are told of")
				}
			}
		})
	}
}
