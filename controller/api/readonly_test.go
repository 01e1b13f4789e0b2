package api

import (
	"errors"
	"testing"
	"testing/synctest"
)

// Once a change has been read for, it is not given up because etcd is away: it
// might be under way.
func TestUntilRead(t *testing.T) {
	errAway := errors.New("away")
	for name, c := range map[string]struct {
		readFirst bool
		want      error
	}{
		"read before it is known": {true, nil},
		"away before it is read":  {false, errAway},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked, answer := make(chan struct{}), make(chan struct{})
				ctx, read := untilRead(t.Context(), func() error {
					asked <- struct{}{}
					<-answer
					return errAway
				})
				<-asked
				if c.readFirst {
					read()
				}
				close(answer)
				synctest.Wait()
				if (ctx.Err() != nil) != (c.want != nil) {
					t.Errorf("context: %v", ctx.Err())
				}
				read()
				read()
			})
		})
	}
}
