package check

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// The benchmarks check a server of another process, so that the CPU time of this
// one is that of the checks, with what the kernel does for them.
const benchServer = "FAIRLEAD_BENCH_SERVER"

// benchAddresses is how many addresses the server listens on: so many
// connections a second need more than one address has ports.
const benchAddresses = 32

// serveBenchmark answers HTTP until its parent goes.
func serveBenchmark() {
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })}
	port := 0
	for i := range benchAddresses {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.%d:%d", i+1, port))
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		port = l.Addr().(*net.TCPAddr).Port
		go server.Serve(l)
	}
	fmt.Println(port)
	io.Copy(io.Discard, os.Stdin)
}

func startBenchServer(b *testing.B) uint32 {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), benchServer+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { in.Close(); cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	var port uint32
	if _, scan := fmt.Sscan(strings.TrimSpace(line), &port); err != nil || scan != nil {
		b.Fatalf("the server says %q: %v", line, err)
	}
	return port
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func benchmark(b *testing.B, spec func(port uint32) *pb.HealthCheckSpec) {
	c, err := New(spec(startBenchServer(b)), loopback)
	if err != nil {
		b.Fatal(err)
	}
	var n atomic.Uint32
	b.ReportAllocs()
	b.SetParallelism(32)
	before := cpuTime()
	b.ResetTimer()
	b.RunParallel(func(p *testing.PB) {
		target := fmt.Sprintf("127.0.0.%d", n.Add(1)%benchAddresses+1)
		for p.Next() {
			if out := c.Probe(b.Context(), target); out.Result != Passed {
				b.Fatalf("%s: %s", out.Result, out.Reason)
			}
		}
	})
	b.StopTimer()
	b.ReportMetric(float64((cpuTime()-before).Microseconds())/float64(b.N), "cpu-µs/op")
}

func BenchmarkHTTP(b *testing.B) {
	benchmark(b, func(port uint32) *pb.HealthCheckSpec {
		return httpSpec(2*time.Second, &pb.HttpProbe{Port: port, Path: "/healthz", Host: "www.example.test"})
	})
}

func BenchmarkHTTPBody(b *testing.B) {
	benchmark(b, func(port uint32) *pb.HealthCheckSpec {
		return httpSpec(2*time.Second, &pb.HttpProbe{Port: port, Path: "/healthz", BodyContains: "ok", BodyMatches: `^ok\s*$`})
	})
}

func BenchmarkTCP(b *testing.B) {
	benchmark(b, func(port uint32) *pb.HealthCheckSpec { return tcpSpec(2*time.Second, port) })
}
