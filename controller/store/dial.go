package store

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

// DialOptions say where etcd is and how to speak to it.
type DialOptions struct {
	// Endpoints are host:port, or URLs: https:// with TLS, http:// or unix://
	// without.
	Endpoints []string
	// TLS is nil for plain text.
	TLS *tls.Config
	// Username and Password are for etcd's own authentication; both or none.
	Username, Password string
}

func (o DialOptions) validate() error {
	var errs []error
	if len(o.Endpoints) == 0 {
		errs = append(errs, errors.New("store: no etcd endpoints: want at least one, as 192.0.2.1:2379"))
	}
	for _, e := range o.Endpoints {
		scheme, rest, found := strings.Cut(e, "://")
		switch {
		case e == "" || found && rest == "":
			errs = append(errs, fmt.Errorf("store: etcd endpoint %q has no host: want host:port", e))
		case !found:
		case scheme == "https" && o.TLS == nil:
			errs = append(errs, fmt.Errorf("store: etcd endpoint %q needs TLS, and none is configured", e))
		case scheme != "https" && o.TLS != nil:
			// etcd's client would silently speak plain text.
			errs = append(errs, fmt.Errorf("store: etcd endpoint %q would not use the TLS that is configured: want https:// or host:port", e))
		case scheme != "https" && scheme != "http" && scheme != "unix":
			errs = append(errs, fmt.Errorf("store: etcd endpoint %q: want https://, http://, unix:// or host:port", e))
		}
	}
	if (o.Username == "") != (o.Password == "") {
		errs = append(errs, errors.New("store: etcd username and password go together: only one is set"))
	}
	return errors.Join(errs...)
}

// Dial makes a client. It does not wait for a connection, and needs none: a
// controller starts without etcd.
func Dial(o DialOptions) (*clientv3.Client, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	var ready atomic.Bool
	c, err := clientv3.New(clientv3.Config{
		Endpoints: o.Endpoints,
		TLS:       o.TLS,
		Username:  o.Username,
		Password:  o.Password,
		Logger:    zap.NewNop(),
		// Pings end the connection to a member that is frozen or cut off, and
		// the watch with it, if nothing else finds it out before. etcd takes
		// them only while there are requests or streams; gRPC sends none
		// sooner than after 10 s of silence.
		DialKeepAliveTime:    10 * time.Second,
		DialKeepAliveTimeout: 3 * time.Second,
		DialOptions: []grpc.DialOption{
			grpc.WithDisableServiceConfig(), // but for this one
			grpc.WithDefaultServiceConfig(serviceConfig),
			// gRPC's own maximum of two minutes would be the time that it
			// takes to notice that etcd is back.
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 3 * time.Second},
				MinConnectTimeout: 3 * time.Second,
			}),
			// With a password, New authenticates, and waits for etcd to do it.
			// Told that there is no authentication, it goes on; the first
			// request that etcd refuses makes the client authenticate then.
			grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
				if !ready.Load() {
					return rpctypes.ErrGRPCAuthNotEnabled
				}
				return invoker(ctx, method, req, reply, cc, opts...)
			}),
		},
	})
	if err != nil {
		return nil, fmt.Errorf("store: etcd client: %w", err)
	}
	ready.Store(true)
	return c, nil
}
