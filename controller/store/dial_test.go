package store_test

import (
	"crypto/tls"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-dns/fairlead/controller/store"
)

func TestDialValidates(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		o    store.DialOptions
		want string // empty: valid
	}{
		"none":               {store.DialOptions{}, "no etcd endpoints"},
		"empty":              {store.DialOptions{Endpoints: []string{"a:1", ""}}, `endpoint "" has no host`},
		"no host":            {store.DialOptions{Endpoints: []string{"http://"}}, "has no host"},
		"https without TLS":  {store.DialOptions{Endpoints: []string{"https://a:1"}}, "needs TLS"},
		"http with TLS":      {store.DialOptions{Endpoints: []string{"http://a:1"}, TLS: &tls.Config{}}, "would not use the TLS"},
		"scheme":             {store.DialOptions{Endpoints: []string{"ftp://a:1"}}, `"ftp://a:1": want https://`},
		"password alone":     {store.DialOptions{Endpoints: []string{"a:1"}, Password: "x"}, "go together"},
		"plain":              {store.DialOptions{Endpoints: []string{"a:1", "http://b:1", "unix:///s"}}, ""},
		"TLS":                {store.DialOptions{Endpoints: []string{"a:1", "https://b:1"}, TLS: &tls.Config{}}, ""},
		"password, no etcd":  {store.DialOptions{Endpoints: []string{"127.0.0.1:1"}, Username: "u", Password: "p"}, ""},
		"two things at once": {store.DialOptions{Endpoints: []string{""}, Username: "u"}, "go together"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := store.Dial(tc.o)
			if c != nil {
				defer c.Close()
			}
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("error is %v, want %q", err, tc.want)
			}
		})
	}
}

func TestOptionsValidate(t *testing.T) {
	t.Parallel()
	c := dial(t, store.DialOptions{Endpoints: []string{"127.0.0.1:1"}})
	for _, tc := range []struct {
		o    store.Options
		want string
	}{
		{store.Options{}, "no client"},
		{store.Options{Client: c, Prefix: "x"}, `prefix "x"`},
		{store.Options{Client: c, Prefix: "/a b/"}, `prefix "/a b/"`},
		{store.Options{Client: c, RequestTimeout: -1}, "request timeout"},
		{store.Options{Client: c, ReadInterval: -1}, "read interval"},
	} {
		if _, err := store.New(tc.o); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("error is %v, want %q in it", err, tc.want)
		}
	}
	if _, err := store.New(store.Options{Client: c, Prefix: "/f/", Log: slog.Default()}); err != nil {
		t.Error(err)
	}
}

// Without any etcd, a client and a store can be made, and calls fail in time.
func TestNoEtcd(t *testing.T) {
	t.Parallel()
	c := dial(t, store.DialOptions{Endpoints: []string{"127.0.0.1:1"}, Username: "u", Password: "p"})
	s := open(t, store.Options{Client: c, RequestTimeout: 100 * time.Millisecond})
	_, err := s.Head(t.Context())
	wantErr(t, err, store.ErrUnavailable)
	_, _, err = s.Put(t.Context(), [][]byte{nil})
	wantErr(t, err, store.ErrUnavailable)
	_, err = s.Get(t.Context(), []store.Digest{store.Sum(nil)})
	wantErr(t, err, store.ErrUnavailable)
	m := store.Sum(nil)
	_, err = s.Swap(t.Context(), swap(0, m[:], "r"))
	wantErr(t, err, store.ErrUnavailable)
}

// etcd's own authentication.
func TestPassword(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	root := dial(t, store.DialOptions{Endpoints: server.Endpoints()})
	ctx := t.Context()
	_, err := root.UserAdd(ctx, "root", "root")
	check(t, err)
	_, err = root.UserGrantRole(ctx, "root", "root")
	check(t, err)
	_, err = root.UserAdd(ctx, "stranger", "s")
	check(t, err)
	_, err = root.AuthEnable(ctx)
	check(t, err)
	as := func(user, password string) *store.Store {
		c := dial(t, store.DialOptions{Endpoints: server.Endpoints(), Username: user, Password: password})
		return open(t, store.Options{Client: c, RequestTimeout: 5 * time.Second})
	}

	s := as("root", "root")
	m := manifest(t, s, "m")
	w := watch(t, s)
	rev := mustSwap(t, s, swap(0, m, "r"))
	w.waitRevision(rev)

	for name, s := range map[string]*store.Store{
		"nobody":         open(t, store.Options{Client: dial(t, store.DialOptions{Endpoints: server.Endpoints()})}),
		"wrong password": as("root", "guess"),
		"stranger":       as("stranger", "s"),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.Head(t.Context())
			wantErr(t, err, store.ErrDenied)
			_, err = s.Swap(t.Context(), swap(rev, m, "r2"))
			wantErr(t, err, store.ErrDenied)
		})
	}
}
