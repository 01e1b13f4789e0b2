package embedded_test

import (
	"context"
	"testing"
	"time"

	"github.com/fairlead-dns/fairlead/controller/store/embedded"
)

// A frozen member takes requests and is silent, a muted one carries them out
// besides; the others go on. In the end it answers again, and has followed.
func TestFreeze(t *testing.T) {
	c, err := embedded.StartCluster(t.Context(), embedded.ClusterOptions{Freezable: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { check(t, c.Close()) })
	member := (c.Leader() + 1) % 3
	alone := dial(t, c.Endpoints()[member:member+1])
	others := dial(t, []string{c.Endpoints()[(member+1)%3], c.Endpoints()[(member+2)%3]})

	for _, held := range []struct {
		name  string
		do    func(int)
		carry bool // out what it is asked to do
	}{
		{"frozen", c.Freeze, false},
		{"muted", c.Mute, true},
	} {
		t.Run(held.name, func(t *testing.T) {
			put(t, alone, "a", "1")
			held.do(member)
			ctx, cancel := context.WithCancel(t.Context())
			answers := make(chan error, 2)
			go func() {
				_, err := alone.Put(ctx, "a", "2")
				answers <- err
			}()
			anew := dial(t, c.Endpoints()[member:member+1])
			go func() {
				_, err := anew.Get(ctx, "a")
				answers <- err
			}()
			if held.carry {
				for get(t, others, "a") != "2" {
					time.Sleep(10 * time.Millisecond)
				}
			} else {
				time.Sleep(300 * time.Millisecond)
				if got := get(t, others, "a"); got != "1" {
					t.Errorf("a is %q", got)
				}
			}
			put(t, others, "b", held.name)
			select {
			case err := <-answers:
				t.Errorf("it answered: %v", err)
			default:
			}
			cancel()
			<-answers
			<-answers
			c.Thaw(member)
			if got := get(t, alone, "b"); got != held.name {
				t.Errorf("b is %q", got)
			}
		})
	}
}
