package admin_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"

	"weir/balancer/admin"
)

// Every reader gets every event; one that is slow is told how many it has missed, in their place.
func TestFeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f admin.Feed
		f.Publish(admin.Event{Message: "nobody reads"})
		ctx, cancel := context.WithCancel(t.Context())
		events := f.Read(ctx)
		f.Publish(admin.Event{Message: "first"})
		synctest.Wait() // it is on its way, out of the buffer
		for i := range 300 {
			f.Publish(admin.Event{Message: fmt.Sprint(i)})
		}
		want := []string{"first"}
		for i := range 256 {
			want = append(want, fmt.Sprint(i))
		}
		want = append(want, "44 events were dropped: they were read too slowly", "last")
		f2 := f.Read(ctx)
		for i, w := range want {
			if w == "last" {
				f.Publish(admin.Event{Message: "last"})
			}
			if got := <-events; got.Message != w {
				t.Fatalf("event %d: got %q, want %q", i, got.Message, w)
			} else if dropped := got.Kind == "dropped"; dropped != (i == 257) || dropped && got.Count != 44 {
				t.Errorf("event %d: got %+v", i, got)
			}
		}
		if got := <-f2; got.Message != "last" {
			t.Errorf("the second reader got %+v first", got)
		}
		cancel()
		for range events {
		}
		for range f2 {
		}
		f.Publish(admin.Event{Message: "nobody reads"})
	})
}
