package feed

import (
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
}

// step is a change from one state to another of one judge; from is zero when all
// is sent. States of one version are the same.
type step struct {
	from, to verdicts.Version
	all      bool
}

// messages are made once, by the first who wants them.
type messages struct {
	at   time.Time
	once sync.Once
	list []*pb.SubscribeResponse
	err  error
}

// updates are the messages of a change, encoded. They are shared, so they must
// not be changed.
func (s *shared) updates(st, sent *verdicts.State, now time.Time) ([]*pb.SubscribeResponse, error) {
	k := step{to: st.Version, all: sent == nil}
	if sent != nil {
		k.from = sent.Version
	}
	m := s.of(k, now)
	m.once.Do(func() {
		for u := range updates(st, sent, now) {
			e, err := encoded(&pb.SubscribeResponse{Message: &pb.SubscribeResponse_Health{Health: u}})
			if err != nil {
				m.list, m.err = nil, err
				return
			}
			m.list = append(m.list, e)
		}
	})
	return m.list, m.err
}

func (s *shared) of(k step, now time.Time) *messages {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.by[k]; m != nil && now.Sub(m.at) < sharedFor {
		return m
	}
	m := &messages{at: now}
	s.drop(now)
	if s.by == nil {
		s.by = map[step]*messages{}
	}
	if len(s.by) < maxShared {
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
