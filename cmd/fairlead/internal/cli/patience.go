package cli

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// leastWait keeps a caller that is far over a limit from asking for every call
// that it is allowed.
const leastWait = 250 * time.Millisecond

// overLimit tells whether a call was refused because its caller asked for too
// much, and after what time it may ask again (google.rpc.RetryInfo). Without
// that time it is another kind of limit, which waiting does not change.
func overLimit(err error) (over bool, wait time.Duration) {
	st, ok := status.FromError(err)
	if !ok || st.Code() != codes.ResourceExhausted {
		return false, 0
	}
	for _, d := range st.Details() {
		if r, ok := d.(*errdetails.RetryInfo); ok {
			return true, max(r.GetRetryDelay().AsDuration(), leastWait)
		}
	}
	return false, 0
}

// patience waits as long as a controller asks for, and says so on stderr. It
// fails at once when there is no time for it.
func (a *app) patience(ctx context.Context, addr string, wait time.Duration) error {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= wait {
		return context.DeadlineExceeded
	}
	fmt.Fprintf(a.Err, "fairlead: %s: over its limit of what one caller may ask; trying again in %s\n", addr, human(wait.Round(time.Millisecond)))
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
