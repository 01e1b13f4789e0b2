package controller

import (
	"context"
	"time"
)

// Advance does what is due at a time, as the controller does by itself.
func (s *Server) Advance(ctx context.Context, now time.Time) error { return s.api.Advance(ctx, now) }
