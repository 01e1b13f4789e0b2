package tlsfiles

import (
	"testing"
	"time"

	"github.com/fairlead-dns/fairlead/regions/identity"
)

// Who asks is told of the certificate and of the CA behind it, each with how it
// stands in time.
func TestInUse(t *testing.T) {
	now := time.Now()
	ca := newCA(t, "fairlead", now)
	o := place(t, issue(t, ca, "controller/c1", 90*day, now), caPEM(t, ca))
	o.Use = "etcd"
	f := open(t, o)
	for after, want := range map[time.Duration]identity.State{0: identity.Fresh, 80 * day: identity.Warn, 91 * day: identity.Expired, -day: identity.Early} {
		all := f.InUse(now.Add(after))
		if len(all) != 2 || all[0].What != "certificate" || all[1].What != "ca" || all[0].Use != "etcd" || all[0].Subject != "CN=c1" {
			t.Fatalf("%+v", all)
		}
		if all[0].State != want || !all[0].Until.Equal(f.Certificate().NotAfter) {
			t.Errorf("after %v: %+v, want %v", after, all[0], want)
		}
		if !all[1].Until.After(all[0].Until) {
			t.Errorf("the CA: %+v", all[1])
		}
	}
}
