package e2e

import (
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"time"
)

// serviceAddr names the variable that makes the test binary an HTTP service on
// an address instead: each service is a process of its own, to be killed and
// stopped as the programs are.
const serviceAddr = "FAIRLEAD_E2E_SERVICE"

// runService serves until the process ends. /e2e/fail makes it fail and
// /e2e/recover well again.
func runService(addr string) error {
	var failing atomic.Bool
	mux := http.NewServeMux()
	mux.HandleFunc("POST /e2e/fail", func(http.ResponseWriter, *http.Request) { failing.Store(true) })
	mux.HandleFunc("POST /e2e/recover", func(http.ResponseWriter, *http.Request) { failing.Store(false) })
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		if failing.Load() {
			http.Error(w, "failing", http.StatusServiceUnavailable)
		}
	})
	srv := &http.Server{Addr: addr, Handler: mux, ReadHeaderTimeout: time.Second}
	return srv.ListenAndServe()
}

// startService runs a service in a region until the test ends.
func startService(t *testing.T, w *world, region int, addr string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := w.in(region, self)
	cmd.Env = []string{serviceAddr + "=" + addr}
	return launch(t, "service", cmd)
}

// fails makes the service of a region fail, or be well again, and returns when
// that was.
func (c *cluster) fails(region int, fail bool) time.Time {
	c.t.Helper()
	now := time.Now()
	if err := c.tryFail(region, fail); err != nil {
		c.t.Fatal(err)
	}
	return now
}

func (c *cluster) tryFail(region int, fail bool) error {
	what := "recover"
	if fail {
		what = "fail"
	}
	client := http.Client{Timeout: 5 * time.Second}
	resp, err := client.Post("http://"+c.at(region, servicePort)+"/e2e/"+what, "", nil)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}
