package probes

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The same work as BenchmarkAgent, done by others, where they are installed (on
// Debian: prometheus-blackbox-exporter, gdnsd) or named in the environment. Each
// has one core where it could use more.
//
//	FAIRLEAD_BENCH_BLACKBOX=/path/to/blackbox_exporter FAIRLEAD_BENCH_GDNSD=/path/to/gdnsd \
//	  go test -run '^$' -bench Peer ./probes

// find finds a peer's program.
func find(b *testing.B, variable string, names ...string) string {
	for _, name := range append([]string{os.Getenv(variable)}, names...) {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	b.Skipf("no %s: install it, or name it in %s", names[0], variable)
	return ""
}

// launch starts a peer and returns its process id.
func launch(b *testing.B, environment []string, program string, args ...string) int {
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), environment...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if b.Failed() {
			b.Log(out.String())
		}
	})
	return cmd.Process.Pid
}

// cpuOf is what a process has used (proc_pid_stat(5)).
func cpuOf(b *testing.B, pid int) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	var ticks int
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(f)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / 100 // USER_HZ
}

// blackbox_exporter probes when it is asked to, over HTTP.
func BenchmarkPeerBlackboxExporter(b *testing.B) {
	program := find(b, "FAIRLEAD_BENCH_BLACKBOX", "prometheus-blackbox-exporter", "blackbox_exporter")
	for _, protocol := range []string{"tcp", "http"} {
		b.Run(protocol, func(b *testing.B) {
			server := startServer(b, protocol)
			config := filepath.Join(b.TempDir(), "blackbox.yml")
			modules := "modules:\n  tcp: {prober: tcp, timeout: 1s}\n  http: {prober: http, timeout: 1s, http: {preferred_ip_protocol: ip4}}\n"
			if err := os.WriteFile(config, []byte(modules), 0o600); err != nil {
				b.Fatal(err)
			}
			listen := freePort(b)
			pid := launch(b, []string{"GOMAXPROCS=1"}, program, "--config.file="+config, "--web.listen-address="+listen, "--log.level=error")
			client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}, Timeout: 5 * time.Second}
			defer client.CloseIdleConnections()
			probe := func(address string) error {
				target := net.JoinHostPort(address, fmt.Sprint(server.port))
				if protocol == "http" {
					target = "http://" + target + "/healthz"
				}
				resp, err := client.Get("http://" + listen + "/probe?module=" + protocol + "&target=" + url.QueryEscape(target))
				if err != nil {
					return err
				}
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)
				if err == nil && !bytes.Contains(body, []byte("probe_success 1")) {
					err = fmt.Errorf("no success: %s", body)
				}
				return err
			}
			all := addresses(10_000)
			for n := 0; probe(all[0]) != nil; n++ {
				if time.Sleep(100 * time.Millisecond); n == 100 {
					b.Fatal(probe(all[0]))
				}
			}
			ctx, cancel := context.WithTimeout(b.Context(), benchFor)
			defer cancel()
			before, begun := cpuOf(b, pid), time.Now()
			var probes, failed atomic.Int64
			var drivers sync.WaitGroup
			for range 8 {
				drivers.Go(func() {
					for ctx.Err() == nil {
						if err := probe(all[probes.Add(1)%int64(len(all))]); err != nil {
							failed.Add(1)
						}
					}
				})
			}
			drivers.Wait()
			reportPeer(b, float64(probes.Load()), cpuOf(b, pid)-before, time.Since(begun))
			b.ReportMetric(100*float64(failed.Load())/float64(probes.Load()), "not-passed-%")
		})
	}
}

func reportPeer(b *testing.B, checks float64, cpu, took time.Duration) {
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(checks/took.Seconds(), "checks/s")
	b.ReportMetric(cpu.Seconds()/checks*1e6, "cpu-µs/check")
	b.ReportMetric(100*cpu.Seconds()/took.Seconds(), "cpu-%")
}

// gdnsd checks by itself, every two seconds at most often with a timeout of one.
func BenchmarkPeerGdnsd(b *testing.B) {
	program := find(b, "FAIRLEAD_BENCH_GDNSD", "gdnsd", "/usr/sbin/gdnsd")
	for _, protocol := range []string{"tcp", "http"} {
		b.Run(protocol, func(b *testing.B) {
			server := startServer(b, protocol)
			plugin := "tcp_connect"
			if protocol == "http" {
				plugin = "http_status, url_path = /healthz"
			}
			dir := b.TempDir()
			var addrs strings.Builder
			for i, address := range addresses(10_000) {
				if i%50 == 0 {
					fmt.Fprintf(&addrs, "%sr%d => { service_types = bench", map[bool]string{true: " }\n", false: ""}[i > 0], i/50)
				}
				fmt.Fprintf(&addrs, ", a%d = %s", i%50, address)
			}
			config := fmt.Sprintf(`options => { listen = %s, run_dir = %s/run, state_dir = %s/state }
service_types => { bench => { plugin = %s, port = %d, interval = 2, timeout = 1 } }
plugins => { multifo => { %s } } }
`, freePort(b), dir, dir, plugin, server.port, addrs.String())
			if err := os.MkdirAll(filepath.Join(dir, "zones"), 0o700); err != nil {
				b.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "config"), []byte(config), 0o600); err != nil {
				b.Fatal(err)
			}
			pid := launch(b, nil, program, "-c", dir, "start")
			time.Sleep(benchWarm)
			before, served, begun := cpuOf(b, pid), server.served(b), time.Now()
			time.Sleep(benchFor)
			checks := server.served(b) - served
			if checks == 0 {
				b.Fatal("it has checked nothing")
			}
			reportPeer(b, float64(checks), cpuOf(b, pid)-before, time.Since(begun))
		})
	}
}

// freePort is an address on which nobody listens just now.
func freePort(b *testing.B) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
