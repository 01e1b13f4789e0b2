package feed

import (
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/fairlead-dns/fairlead/controller/verdicts"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

const (
	// sharedFor is how long a change's messages are handed out to more subscribers.
	// The ages in them count from when they were made, so that is also how far off
	// the later ones' ages are.
	sharedFor = 100 * time.Millisecond
	// maxShared bounds the changes whose messages are kept. Subscribers come from
	// the state before, those that are slow from a few older ones.
	maxShared = 16
)

// shared holds the messages of the latest changes: most subscribers have the same
// state before a change, and what they are sent is built and encoded once. When
// hundreds of nameservers subscribe at once, as after a controller's restart, that
// is the difference between one table and hundreds.
type shared struct {
	mu sync.Mutex
	by map[step]*messages
	// seen is the newest state of the judge, and current the first that is the same
	// to nameservers: only evidence has changed since.
	seen, current *verdicts.State
}

// table is what nameservers are to have by a state of the judge: that state, or an
// older one that differs in evidence only, or a newer one that somebody has seen.
func (s *shared) table(st *verdicts.State) *verdicts.State {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.current == nil:
		s.seen, s.current = st, st
	case st.Version.Number > s.seen.Version.Number:
		if differ(s.seen, st) {
			s.current = st
		}
		s.seen = st
	}
	return s.current
}

// differ tells whether nameservers see a difference between a state and a later one.
func differ(was, is *verdicts.State) bool {
	if was.Digest != is.Digest || !slices.Equal(was.Latches, is.Latches) {
		return true
	}
	d := is.Since(was)
	return len(d.Removed) > 0 || slices.ContainsFunc(d.Changed, func(t *verdicts.Target) bool {
		old, had := was.Get(t.ID)
		return !had || !same(old, t)
	})
}

// step is a change from one table to another of one judge. Tables of one version
// are the same. All that there is, is one step whatever the version: who gets one
// that is a moment old gets what has changed since after it.
type step struct {
	from, to verdicts.Version
	all      bool
}

// messages are made once, by the first who wants them.
type messages struct {
	at   time.Time
	to   *verdicts.State
	once sync.Once
	list []*pb.SubscribeResponse
	err  error
}

// updates are the messages of a change, encoded, and the table that they lead to:
// st, or after all that there is, an older one. They are shared, so they must not
// be changed.
func (s *shared) updates(st, sent *verdicts.State, now time.Time) ([]*pb.SubscribeResponse, *verdicts.State, error) {
	k := step{all: true}
	if sent != nil {
		k = step{from: sent.Version, to: st.Version}
	}
	m := s.of(k, st, now)
	m.once.Do(func() {
		for u := range updates(m.to, sent, now) {
			e, err := encoded(&pb.SubscribeResponse{Message: &pb.SubscribeResponse_Health{Health: u}})
			if err != nil {
				m.list, m.err = nil, err
				return
			}
			m.list = append(m.list, e)
		}
	})
	return m.list, m.to, m.err
}

func (s *shared) of(k step, st *verdicts.State, now time.Time) *messages {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.by[k]; m != nil && now.Sub(m.at) < sharedFor {
		return m
	}
	m := &messages{at: now, to: st}
	s.drop(now)
	if s.by == nil {
		s.by = map[step]*messages{}
	}
	if len(s.by) < maxShared || k.all {
		s.by[k] = m
	}
	return m
}

// forget drops what is not handed out any more.
func (s *shared) forget(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(now)
}

// drop is forget with mu held.
func (s *shared) drop(now time.Time) {
	for k, m := range s.by {
		if now.Sub(m.at) >= sharedFor {
			delete(s.by, k)
		}
	}
}

// encoded is a message that is marshalled already: its fields are unknown ones,
// which are copied as they are. Any stream may send it, compressed or not.
func encoded(m *pb.SubscribeResponse) (*pb.SubscribeResponse, error) {
	data, err := proto.Marshal(m)
	if err != nil {
		return nil, err
	}
	e := &pb.SubscribeResponse{}
	e.ProtoReflect().SetUnknown(data)
	return e, nil
}
