package cli

import (
	"fmt"
	"sync"
	"time"
)

// progress shows on a terminal that something is waited for, until the
// returned function is called; it leaves nothing behind.
func (a *app) progress(show bool, what string) (stop func()) {
	if !show || !a.Progress {
		return func() {}
	}
	done := make(chan struct{})
	var g sync.WaitGroup
	g.Go(func() {
		began := time.Now()
		t := time.NewTicker(time.Second)
		defer t.Stop()
		for {
			fmt.Fprintf(a.Err, "\r%s, %s\x1b[K", what, human(time.Since(began).Truncate(time.Second)))
			select {
			case <-done:
				fmt.Fprint(a.Err, "\r\x1b[K")
				return
			case <-t.C:
			}
		}
	})
	return func() {
		close(done)
		g.Wait()
	}
}
