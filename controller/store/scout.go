package store

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// scoutInterval is how often a silent member is asked whether it answers again.
const scoutInterval = time.Second

// scout asks silent members, one at a time, whether they answer again, and
// tells of them; renew is called when one has fallen silent, which may be the
// one that the head is watched at. While none is silent, it sends nothing.
func (s *Store) scout(ctx context.Context, renew func()) {
	silent := map[string]bool{} // and told of
	for sleep(ctx, jitter(scoutInterval)) {
		member, err := s.askSilent(ctx)
		switch {
		case ctx.Err() != nil:
		case member == "" && err == nil:
			return // a client that was not made by Dial: none is remembered
		case member == "":
			for m := range silent {
				s.log.Info("etcd member answers again, or its connection has ended", "member", m)
			}
			clear(silent)
		case err == nil:
			if silent[member] {
				s.log.Info("etcd member answers again", "member", member)
			}
			delete(silent, member)
		case !silent[member]:
			silent[member] = true
			s.log.Warn("etcd member does not answer; the others are asked first", "member", member, "error", err)
			renew()
		}
	}
}

// askSilent sends a read, one that takes a quorum, to a silent member; there
// may be none.
func (s *Store) askSilent(ctx context.Context) (member string, err error) {
	ctx, cancel := context.WithTimeout(clientv3.WithRequireLeader(ctx), firstPatience)
	defer cancel()
	var q inquiry
	_, err = s.client.Get(q.context(ctx), s.keys.head(), clientv3.WithKeysOnly())
	return q.member, err
}
