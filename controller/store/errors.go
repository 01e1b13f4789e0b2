package store

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

var (
	// ErrUnavailable: etcd cannot be reached, has no quorum or is overloaded.
	// Nothing was changed.
	ErrUnavailable = errors.New("etcd is unavailable")
	// ErrUnknownOutcome: the change may have been made, or may still be made.
	// It does not match ErrUnavailable. Repeating the request under its id is
	// safe and tells.
	ErrUnknownOutcome = errors.New("the outcome of the change is unknown")
	// ErrFull: etcd's database has reached its quota and takes no writes.
	ErrFull = errors.New("etcd's database is full")
	// ErrDenied: etcd does not know this client or does not let it do this.
	ErrDenied = errors.New("etcd denies access")
	// ErrConflict: the head is not the one that was expected.
	ErrConflict = errors.New("the head has moved")
	// ErrCollected: objects were removed since the change's objects were put,
	// perhaps some of these. Putting them again and swapping again is safe.
	ErrCollected = errors.New("objects were collected meanwhile")
	// ErrCollecting: another controller collects at the same time.
	ErrCollecting = errors.New("another controller is collecting")
	// ErrHeadLost: there is no head, but there was one. Nothing but a restore
	// may make another.
	ErrHeadLost = errors.New("the head was deleted")
	// ErrEpoch: the new head's epoch is below that of the head it replaces.
	ErrEpoch = errors.New("the epoch would go back")
	// ErrMissingObject: an object is not in the store.
	ErrMissingObject = errors.New("object is missing")
	// ErrAlteredObject: an object's bytes do not match its digest.
	ErrAlteredObject = errors.New("object was altered")
	// ErrMalformedCollection: the collection key holds something else.
	ErrMalformedCollection = errors.New("the collection key is malformed")
	// ErrPageToken: it is none that a page came with.
	ErrPageToken = errors.New("no page token")
	// ErrMalformedHead: the head key holds something that is no head.
	ErrMalformedHead = errors.New("the head is malformed")
)

// RepeatedError says that a request id was used before, by a change that was
// made. Repeating a request succeeds: the caller answers with Result.
type RepeatedError struct {
	// Revision is the head revision that the earlier change made.
	Revision int64
	// Result is what the earlier change stored.
	Result []byte
}

func (e *RepeatedError) Error() string {
	return fmt.Sprintf("the request was carried out before, at revision %d", e.Revision)
}

// code returns the status code of an error from etcd's client, which may be an
// EtcdError, a gRPC status or a context's error.
func code(err error) codes.Code {
	var e rpctypes.EtcdError
	switch {
	case errors.As(err, &e):
		return e.Code()
	case errors.Is(err, context.DeadlineExceeded):
		return codes.DeadlineExceeded
	case errors.Is(err, context.Canceled):
		return codes.Canceled
	}
	return status.Code(err)
}

// classify puts what etcd's client says under one of the errors above; ctx is
// that of the request. It is the only place that knows etcd's errors.
func classify(ctx context.Context, err error) error {
	if err == nil || errors.Is(err, ErrUnavailable) {
		return err
	}
	var kind error
	switch code(err) {
	case codes.Unavailable, codes.DeadlineExceeded:
		kind = ErrUnavailable
	case codes.Canceled:
		if ctx.Err() == nil { // it was not the caller who cancelled
			kind = ErrUnavailable
		}
	case codes.ResourceExhausted:
		kind = ErrUnavailable // too many requests
		if errors.Is(err, rpctypes.ErrNoSpace) {
			kind = ErrFull
		}
	case codes.PermissionDenied, codes.Unauthenticated:
		kind = ErrDenied
	case codes.InvalidArgument:
		if errors.Is(err, rpctypes.ErrAuthFailed) || errors.Is(err, rpctypes.ErrUserEmpty) {
			kind = ErrDenied
		}
	case codes.Unknown:
		// "raft proposal dropped" and its like: there is no leader just now.
		if strings.Contains(err.Error(), "raft") {
			kind = ErrUnavailable
		}
	}
	if kind == nil {
		return err
	}
	return fmt.Errorf("%w: %w", kind, err)
}

// rejected tells whether err, from a write, says that etcd did not and will
// not carry it out. Unavailable is no such answer: a proposal that is under
// way can still be committed.
func rejected(err error) bool {
	switch code(err) {
	case codes.InvalidArgument, codes.NotFound, codes.FailedPrecondition, codes.OutOfRange,
		codes.PermissionDenied, codes.Unauthenticated, codes.ResourceExhausted:
		return true
	}
	return false
}
