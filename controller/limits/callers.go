package limits

import (
	"container/list"
	"sync"

	"golang.org/x/time/rate"
)

// callers are the callers of late, the newest first, max of them at most. Who
// is forgotten begins with full buckets again; with that many certificates
// one could do more than any limit allows.
type callers struct {
	max int

	mu    sync.Mutex
	byKey map[string]*list.Element // of *caller
	order list.List
}

// caller has one bucket a limit, made when it is needed.
type caller struct {
	key string

	mu      sync.Mutex
	buckets [limitCount]*rate.Limiter
	open    int // streams
}

// enter counts a stream, unless there are most of them.
func (c *caller) enter(most int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open >= most {
		return false
	}
	c.open++
	return true
}

func (c *caller) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open--
}

// get finds or makes a caller, who is the newest then.
func (c *callers) get(key string) *caller {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.byKey[key]; ok {
		c.order.MoveToFront(e)
		return e.Value.(*caller)
	}
	if c.byKey == nil {
		c.byKey = map[string]*list.Element{}
	}
	if c.order.Len() >= c.max {
		oldest := c.order.Remove(c.order.Back()).(*caller)
		delete(c.byKey, oldest.key)
	}
	made := &caller{key: key}
	c.byKey[key] = c.order.PushFront(made)
	return made
}

func (c *caller) bucket(which limit, r Rate) *rate.Limiter {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.buckets[which] == nil {
		c.buckets[which] = rate.NewLimiter(rate.Limit(r.PerSecond), r.Burst)
	}
	return c.buckets[which]
}
