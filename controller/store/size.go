package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Size returns the size of etcd's database, in bytes, and how much of it is in
// use, at the member where it is largest among those that answer.
func (s *Store) Size(ctx context.Context) (total, used int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	var (
		mu   sync.Mutex
		wg   sync.WaitGroup
		errs []error
	)
	for _, e := range s.client.Endpoints() {
		wg.Go(func() {
			st, err := s.client.Status(ctx, e)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, classify(ctx, err))
				return
			}
			total, used = max(total, st.DbSize), max(used, st.DbSizeInUse)
		})
	}
	wg.Wait()
	if total == 0 {
		return 0, 0, fmt.Errorf("store: size: %w", errors.Join(errs...))
	}
	return total, used, nil
}
