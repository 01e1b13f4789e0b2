package embedded_test

import (
	"context"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/fairlead-dns/fairlead/controller/store/embedded"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func dial(t *testing.T, endpoints []string) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: endpoints, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestQuick(t *testing.T) {
	ctx := t.Context()
	t0 := time.Now()
	s, err := embedded.Start(ctx, embedded.Options{UnsafeNoFsync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Log("start", time.Since(t0))
	c := dial(t, s.Endpoints())
	if _, err := c.Put(ctx, "a", "b"); err != nil {
		t.Fatal(err)
	}
	w := c.Watch(ctx, "a", clientv3.WithCreatedNotify())
	<-w
	t0 = time.Now()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	t.Log("close", time.Since(t0))
	c.Close()

	t0 = time.Now()
	cl, err := embedded.StartCluster(ctx, embedded.ClusterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Log("cluster start", time.Since(t0))
	cc := dial(t, cl.Endpoints())
	ww := cc.Watch(ctx, "a", clientv3.WithCreatedNotify())
	<-ww
	t0 = time.Now()
	_, err = cc.Put(ctx, "a", "b")
	t.Log("put", time.Since(t0), err, cl.Leader())
	t0 = time.Now()
	cl.Stop(cl.Leader())
	t.Log("stop", time.Since(t0))
	for range 3 {
		t0 = time.Now()
		cctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		_, err = cc.Put(cctx, "a", "b")
		cancel()
		t.Log("put", time.Since(t0), err)
	}
	t0 = time.Now()
	cl.Close()
	t.Log("close", time.Since(t0))
}
