package embedded

import (
	"context"
	"log/slog"
	"sync/atomic"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// newLogger makes etcd's logger write to log: errors as errors, warnings at
// debug level (etcd warns of every slow disk), the rest not at all.
//
// etcd reports what it cannot go on with as a fatal line, upon which zap exits
// the process, a no-op logger too. Here it panics instead, so that Start can
// return it.
//
// While closing is set, errors are the noise of sockets being closed, and go to
// debug level too.
func newLogger(log *slog.Logger, closing *atomic.Bool) *zap.Logger {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return zap.New(slogCore{log: log, closing: closing}, zap.WithFatalHook(zapcore.WriteThenPanic))
}

// slogCore is a zapcore.Core over a slog.Logger.
type slogCore struct {
	log     *slog.Logger
	closing *atomic.Bool
	fields  []zapcore.Field
}

// earlyMonitor is what etcd's version monitor logs as an error at every first
// start, when it looks before the first write; it looks again every few seconds.
const earlyMonitor = "failed to update storage version"

func (c slogCore) level(l zapcore.Level, message string) slog.Level {
	if l >= zapcore.ErrorLevel && !c.closing.Load() && message != earlyMonitor {
		return slog.LevelError
	}
	return slog.LevelDebug
}

// Enabled tells whether l is worth writing.
func (c slogCore) Enabled(l zapcore.Level) bool {
	return l >= zapcore.WarnLevel && c.log.Enabled(context.Background(), c.level(l, ""))
}

// With returns a core that adds fields to every line.
func (c slogCore) With(fields []zapcore.Field) zapcore.Core {
	c.fields = append(c.fields[:len(c.fields):len(c.fields)], fields...)
	return c
}

// Check adds the core to those that write e.
func (c slogCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return ce.AddCore(e, c)
	}
	return ce
}

// Write writes e, its fields in one group.
func (c slogCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range c.fields {
		f.AddTo(enc)
	}
	for _, f := range fields {
		f.AddTo(enc)
	}
	c.log.LogAttrs(context.Background(), c.level(e.Level, e.Message), "embedded etcd",
		slog.String("message", e.Message), slog.Any("fields", enc.Fields))
	return nil
}

// Sync does nothing: slog writes at once.
func (c slogCore) Sync() error { return nil }
