package rest

import (
	"context"
	"net/http"
	"time"

	"google.golang.org/grpc/status"
)

// writeTimeout is how long a client may take for each write. It replaces the
// HTTP server's own, which ends before a stream or a call that waits does.
const writeTimeout = 30 * time.Second

type writerKey struct{}

// writer writes a response. A client that went away or does not read ends its
// request's context; the translator, which would only log it, is not told.
type writer struct {
	http.ResponseWriter
	deadline func(time.Time) error
	cancel   context.CancelFunc
	begun    bool           // the header is written
	silent   bool           // nothing more is written
	failed   *status.Status // what a stream ended with
}

// newWriter makes a writer, and a request's context that knows it.
func newWriter(rw http.ResponseWriter, r *http.Request, cancel context.CancelFunc) (*writer, *http.Request) {
	w := &writer{ResponseWriter: rw, deadline: http.NewResponseController(rw).SetWriteDeadline, cancel: cancel}
	return w, r.WithContext(context.WithValue(r.Context(), writerKey{}, w))
}

// Unwrap is for http.ResponseController.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (w *writer) WriteHeader(code int) {
	if w.begun {
		return
	}
	w.begun = true
	_ = w.deadline(time.Now().Add(writeTimeout)) // not every server has deadlines
	if w.failed != nil {
		// A stream that failed before its first message: the translator would
		// wrap the error as if it were a message.
		writeStatus(w.ResponseWriter, code, w.failed)
		w.silent = true
		return
	}
	w.ResponseWriter.WriteHeader(code)
}

// Write implements io.Writer; it never fails.
func (w *writer) Write(b []byte) (int, error) {
	if !w.begun {
		w.WriteHeader(http.StatusOK)
	}
	if w.silent {
		return len(b), nil
	}
	_ = w.deadline(time.Now().Add(writeTimeout))
	if _, err := w.ResponseWriter.Write(b); err != nil {
		w.gone()
	}
	return len(b), nil
}

// FlushError is for http.ResponseController; it never fails.
func (w *writer) FlushError() error {
	if !w.silent && http.NewResponseController(w.ResponseWriter).Flush() != nil {
		w.gone()
	}
	return nil
}

func (w *writer) gone() {
	w.silent = true
	w.cancel()
}
