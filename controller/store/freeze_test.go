package store_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"

	"github.com/fairlead-dns/fairlead/controller/store"
	"github.com/fairlead-dns/fairlead/controller/store/embedded"
)

// A member is frozen: its connections stay, and nothing comes. Whoever writes
// has changed over long before taking turns with it would have used up the
// time, and what the frozen one does with what it was sent, when it goes on,
// changes nothing.
func TestMemberFrozen(t *testing.T) {
	t.Parallel()
	cluster := startCluster(t, embedded.ClusterOptions{Freezable: true})
	s := open(t, store.Options{Client: dial(t, store.DialOptions{Endpoints: cluster.Endpoints()}), RequestTimeout: 10 * time.Second})
	rev := mustSwap(t, s, swap(0, manifest(t, s, "m"), "first"))
	w := watch(t, s)
	w.waitRevision(rev)
	n := 1
	for member := range 3 {
		cluster.Freeze(member)
		func() {
			// With every third of 40 requests stuck for its patience, it would
			// not do.
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			for range 10 {
				n++
				digests, mark, err := s.Put(ctx, [][]byte{fmt.Append(nil, "m", n)})
				must(t, err)
				change := swap(rev, digests[0].Bytes(), fmt.Sprint("r", n))
				change.Mark = mark
				made, err := s.Swap(ctx, change)
				must(t, err)
				h, err := s.Head(ctx)
				must(t, err)
				if h.Revision != made {
					t.Errorf("head is at %d, want %d", h.Revision, made)
				}
				rev = made
			}
		}()
		w.waitRevision(rev)
		cluster.Thaw(member)
		// What it was sent while it was frozen comes before this.
		alone := open(t, store.Options{Client: dial(t, store.DialOptions{Endpoints: cluster.Endpoints()[member : member+1]})})
		if h := mustHead(t, alone); h.Revision != rev {
			t.Errorf("member %d says that the head is at %d, want %d", member, h.Revision, rev)
		}
	}
	events := allEvents(t, s)
	if len(events) != n {
		t.Errorf("%d events, want %d", len(events), n)
	}
	checkChain(t, s, events)
}

// routed is a client as Dial makes it, whose requests pass through a function of
// the test's; member is whom one went to.
func routed(t *testing.T, endpoints []string, through func(req any, send func() (member string, err error)) error) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{
		Endpoints: endpoints, Logger: zap.NewNop(),
		DialOptions: []grpc.DialOption{
			grpc.WithDisableServiceConfig(), grpc.WithDefaultServiceConfig(store.ServiceConfig),
			grpc.WithChainUnaryInterceptor(
				func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
					return through(req, func() (string, error) {
						var p peer.Peer
						err := invoke(ctx, method, req, reply, cc, append(opts, grpc.Peer(&p))...)
						if p.Addr == nil {
							return "", err
						}
						return p.Addr.String(), err
					})
				}),
		},
	})
	must(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

// A member carries a change out, and freezes before it says so. The others are
// asked what became of it: it was made, once, and the caller is told so.
func TestMemberFreezesWithTheAnswer(t *testing.T) {
	t.Parallel()
	cluster := startCluster(t, embedded.ClusterOptions{Freezable: true})
	var silent []string // who held back the answer
	mute := false
	c := routed(t, cluster.Endpoints(), func(req any, send func() (string, error)) error {
		if txn, ok := req.(*etcdserverpb.TxnRequest); !ok || !mute || !writes(txn, headKey) {
			_, err := send()
			return err
		}
		mute = false
		for i := range 3 {
			cluster.Mute(i)
		}
		member, err := send()
		if err == nil {
			t.Error("an answer came")
		}
		silent = append(silent, member)
		for i, e := range cluster.Endpoints() {
			if e != member {
				cluster.Thaw(i)
			}
		}
		return err
	})
	s := open(t, store.Options{Client: c, RequestTimeout: 5 * time.Second})
	m := manifest(t, s, "m")
	rev := mustSwap(t, s, swap(0, m, "first"))
	var revs []int64
	for _, id := range []string{"a", "", "b"} {
		mute = true
		// The first copy is made, the second finds that out at another member.
		rev = mustSwap(t, s, swap(rev, m, id))
		if mute {
			t.Error("the head was not written")
		}
		revs = append(revs, rev)
		if h := mustHead(t, s); h.Revision != rev {
			t.Errorf("head is at %d, want %d", h.Revision, rev)
		}
		if id != "" {
			other := open(t, store.Options{Client: dial(t, store.DialOptions{Endpoints: cluster.Endpoints()})})
			_, err := other.Swap(t.Context(), swap(rev, m, id))
			var repeated *store.RepeatedError
			if !errors.As(err, &repeated) || repeated.Revision != rev {
				t.Errorf("the same again: %v, want that of %d", err, rev)
			}
		}
		for i := range 3 {
			cluster.Thaw(i)
		}
	}
	if events := allEvents(t, s); len(events) != 4 {
		t.Errorf("%d events, want 4; made at %v while %v were silent", len(events), revs, silent)
	}
}

// Two of three members are frozen: it is told that etcd is away, and when they
// go on, that it is back.
func TestQuorumFrozen(t *testing.T) {
	t.Parallel()
	cluster := startCluster(t, embedded.ClusterOptions{Freezable: true})
	s := open(t, store.Options{Client: dial(t, store.DialOptions{Endpoints: cluster.Endpoints()})})
	rev := mustSwap(t, s, swap(0, manifest(t, s, "m"), "first"))
	w := watch(t, s) // with much patience for a request, which counts for nothing here
	w.waitRevision(rev)
	leader := cluster.Leader()
	cluster.Freeze(leader)
	cluster.Freeze((leader + 1) % 3)
	w.waitErr(store.ErrUnavailable)
	cluster.Thaw(leader)
	cluster.Thaw((leader + 1) % 3)
	w.waitRevision(rev)
}

// lines keeps what is logged.
type lines struct {
	mu  sync.Mutex
	all strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(b)
}

func (l *lines) count(words ...string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.all.String()) {
		has := true
		for _, w := range words {
			has = has && strings.Contains(line, w)
		}
		if has {
			n++
		}
	}
	return n
}

// The log tells which member is silent, once, and when it answers again.
func TestSilentMemberIsTold(t *testing.T) {
	t.Parallel()
	cluster := startCluster(t, embedded.ClusterOptions{Freezable: true})
	var (
		log      lines
		mu       sync.Mutex
		answered = map[string]bool{}
	)
	c := routed(t, cluster.Endpoints(), func(_ any, send func() (string, error)) error {
		member, err := send()
		mu.Lock()
		defer mu.Unlock()
		answered[member] = answered[member] || err == nil
		return err
	})
	s := open(t, store.Options{Client: c, Log: slog.New(slog.NewTextHandler(&log, nil))})
	rev := mustSwap(t, s, swap(0, manifest(t, s, "m"), "first"))
	watch(t, s).waitRevision(rev)
	member := (cluster.Leader() + 1) % 3
	eventually(t, "connections to all", func() bool { // one that has none is not asked
		mustHead(t, s)
		mu.Lock()
		defer mu.Unlock()
		return len(answered) == 3
	})
	address := cluster.Endpoints()[member]
	cluster.Freeze(member)
	eventually(t, "it to be told of", func() bool { return log.count("does not answer", address) > 0 })
	cluster.Thaw(member)
	eventually(t, "it to answer again", func() bool { return log.count("answers again", address) > 0 })
	if silent, again := log.count("does not answer"), log.count("answers again"); silent != again {
		t.Errorf("told %d times that it does not answer, and %d times that it does", silent, again)
	}
}

// The watch hangs, as at a member that is frozen while others serve. The head
// is read nevertheless, which shows that it hangs, and the next watch is heard.
func TestHungWatchIsRenewed(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	var streams, heard atomic.Int32
	c, err := clientv3.New(clientv3.Config{
		Endpoints: server.Endpoints(), Logger: zap.NewNop(),
		DialOptions: []grpc.DialOption{grpc.WithChainStreamInterceptor(
			func(ctx context.Context, d *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
				st, err := open(ctx, d, cc, method, opts...)
				return &hearing{ClientStream: st, deaf: streams.Add(1) == 1, heard: &heard}, err
			})},
	})
	must(t, err)
	t.Cleanup(func() { c.Close() })
	w := watch(t, open(t, store.Options{Client: c, ReadInterval: 200 * time.Millisecond}))
	s := open(t, store.Options{Client: dial(t, store.DialOptions{Endpoints: server.Endpoints()})})
	m := manifest(t, s, "m")
	w.waitRevision(0)
	eventually(t, "the watch", func() bool { return streams.Load() == 1 })
	rev := mustSwap(t, s, swap(0, m, "first"))
	w.waitRevision(rev)
	eventually(t, "another watch", func() bool { return streams.Load() > 1 && heard.Load() > 0 })
	before := heard.Load()
	rev = mustSwap(t, s, swap(rev, m, "second"))
	w.waitRevision(rev)
	eventually(t, "the event", func() bool { return heard.Load() > before })
}

// hearing is a stream that counts what comes, or lets nothing through.
type hearing struct {
	grpc.ClientStream
	deaf  bool
	heard *atomic.Int32
}

func (h *hearing) RecvMsg(m any) error {
	for {
		if err := h.ClientStream.RecvMsg(m); err != nil {
			return err
		}
		if !h.deaf {
			h.heard.Add(1)
			return nil
		}
	}
}
