package probes

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// The benchmarks run a whole agent, on one core, against a server in a process of
// its own, so that what is measured is the agent's. Each target is an address of
// its own in 127.0.0.0/8. They measure for benchFor, whatever -benchtime says:
//
//	go test -run '^$' -bench Agent ./probes
const (
	benchWarm = 4 * time.Second
	benchFor  = 8 * time.Second
	// benchServer, in the environment, makes this test binary the server.
	benchServer = "FAIRLEAD_BENCH_SERVER"
)

func BenchmarkAgentTCP(b *testing.B) {
	benchmarkAgent(b, "tcp", func(port uint32) *pb.HealthCheckSpec {
		return &pb.HealthCheckSpec{Probe: &pb.HealthCheckSpec_Tcp{Tcp: &pb.TcpProbe{Port: port}}}
	})
}

func BenchmarkAgentHTTP(b *testing.B) {
	benchmarkAgent(b, "http", func(port uint32) *pb.HealthCheckSpec {
		return &pb.HealthCheckSpec{Probe: &pb.HealthCheckSpec_Http{Http: &pb.HttpProbe{Port: port, Path: "/healthz"}}}
	})
}

func benchmarkAgent(b *testing.B, protocol string, spec func(port uint32) *pb.HealthCheckSpec) {
	for _, targets := range []int{1000, 5000, 10_000} {
		b.Run(fmt.Sprintf("%d-targets-1s", targets), func(b *testing.B) {
			server := startServer(b, protocol)
			s := spec(server.port)
			s.Interval, s.Timeout, s.Rise, s.Fall = durationpb.New(time.Second), durationpb.New(time.Second), 2, 3
			a := &pb.Assignments{Generation: &pb.Generation{Epoch: 1, Revision: 1}}
			for _, address := range addresses(targets) {
				a.Assignments = append(a.Assignments, &pb.Assignment{Target: protocol + "@" + address, Address: address, Check: s})
			}
			measure(b, a)
		})
	}
}

// measure runs an agent on one core.
func measure(b *testing.B, assignments *pb.Assignments) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	empty := heapInUse()
	targets := float64(len(assignments.Assignments))
	c := &counting{assign: assignments}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := grpc.NewServer()
	pb.RegisterAgentServiceServer(server, c)
	go server.Serve(l)
	defer server.Stop()
	registry := prometheus.NewRegistry()
	agent, err := New(Options{
		Name: "probe-1", Region: "eu", Controllers: []string{l.Addr().String()}, Credentials: insecure.NewCredentials(),
		AllowTargets: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Registerer: registry, MaxRate: 100_000,
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- agent.Run(ctx) }()
	defer func() { cancel(); <-ran }()
	time.Sleep(benchWarm)

	before, cpu, start := gather(b, registry), cpuTime(), time.Now()
	for range b.N {
		time.Sleep(benchFor)
	}
	after, used, took := gather(b, registry), cpuTime()-cpu, time.Since(start)
	diff := func(name string) float64 { return after[name] - before[name] }
	checks := diff("checks_total passed") + diff("checks_total failed") + diff("checks_total abstained")
	history := after["history_bytes "]
	full := heapInUse()

	b.ReportMetric(0, "ns/op")
	b.ReportMetric(checks/took.Seconds(), "checks/s")
	b.ReportMetric(used.Seconds()/checks*1e6, "cpu-µs/check")
	b.ReportMetric(100*used.Seconds()/took.Seconds(), "cpu-%")
	b.ReportMetric(quantile(before, after, 0.99)*1000, "ms-late-p99")
	b.ReportMetric(100*diff("checks_skipped_total ")/(targets*took.Seconds()), "skipped-%")
	b.ReportMetric(100*(checks-diff("checks_total passed"))/checks, "not-passed-%")
	b.ReportMetric((full-empty-history)/targets, "heap-B/target")
	b.ReportMetric(history/targets, "history-B/target")
	b.ReportMetric(100*float64(c.healthy.Load())/targets, "healthy-%")
}

// counting is a controller that keeps nothing: what it would take is not the
// agent's.
type counting struct {
	pb.UnimplementedAgentServiceServer
	assign  *pb.Assignments
	healthy atomic.Int64
}

func (c *counting) Report(s grpc.BidiStreamingServer[pb.ReportRequest, pb.ReportResponse]) error {
	if err := s.Send(&pb.ReportResponse{Message: &pb.ReportResponse_Assignments{Assignments: c.assign}}); err != nil {
		return err
	}
	for {
		m, err := s.Recv()
		if err != nil {
			return err
		}
		for _, o := range m.GetOpinions().GetOpinions() {
			if o.GetStatus() == pb.HealthStatus_HEALTH_STATUS_HEALTHY {
				c.healthy.Add(1)
			}
		}
	}
}

// heapInUse is the memory that is in use, after two collections.
func heapInUse() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc + m.StackInuse)
}

func cpuTime() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		panic(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// gather returns the agent's metrics, by name and label; those of how late checks
// begin by their upper bound.
func gather(b *testing.B, registry *prometheus.Registry) map[string]float64 {
	families, err := registry.Gather()
	if err != nil {
		b.Fatal(err)
	}
	values := map[string]float64{}
	for _, f := range families {
		name := strings.TrimPrefix(f.GetName(), "fairlead_probe_")
		for _, m := range f.GetMetric() {
			label := ""
			for _, l := range m.GetLabel() {
				label = l.GetValue()
			}
			values[name+" "+label] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
			if name == "check_start_delay_seconds" {
				for _, bucket := range m.GetHistogram().GetBucket() {
					values[fmt.Sprint("late ", bucket.GetUpperBound())] = float64(bucket.GetCumulativeCount())
				}
				values[fmt.Sprint("late ", math.Inf(1))] = float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return values
}

// quantile is the upper bound of the bucket in which a quantile of the lateness
// lies.
func quantile(before, after map[string]float64, q float64) float64 {
	bound := math.Inf(1)
	all := after[fmt.Sprint("late ", bound)] - before[fmt.Sprint("late ", bound)]
	for name := range after {
		var upper float64
		if n, _ := fmt.Sscanf(name, "late %g", &upper); n == 1 && after[name]-before[name] >= q*all {
			bound = min(bound, upper)
		}
	}
	return bound
}

// addresses are so many of 127.0.0.0/8.
func addresses(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = netip.AddrFrom4([4]byte{127, byte(1 + i>>16), byte(i >> 8), byte(i)}).String()
	}
	return all
}

// target is the server process.
type target struct {
	port uint32
	in   io.WriteCloser
	out  *bufio.Reader
}

// startServer starts the server.
func startServer(b *testing.B, protocol string) *target {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), benchServer+"="+protocol)
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
	t := &target{in: in, out: bufio.NewReader(out)}
	if _, err := fmt.Fscanln(t.out, &t.port); err != nil {
		b.Fatal(err)
	}
	return t
}

// served is how many connections the server has had.
func (t *target) served(b *testing.B) (n int) {
	if _, err := fmt.Fprintln(t.in); err != nil {
		b.Fatal(err)
	}
	if _, err := fmt.Fscanln(t.out, &n); err != nil {
		b.Fatal(err)
	}
	return n
}

// serve is the server: it accepts, and answers HTTP if it is to, at as little cost
// as can be, until its input ends. For each line of it, it prints how many
// connections there were.
func serve(protocol string) {
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(l.Addr().(*net.TCPAddr).Port)
	var served atomic.Int64
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				continue
			}
			served.Add(1)
			if protocol == "tcp" {
				conn.Close()
			} else {
				go answerHTTP(conn)
			}
		}
	}()
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		fmt.Println(served.Load())
	}
}

func answerHTTP(conn net.Conn) {
	defer conn.Close()
	var room [4096]byte
	for n := 0; n < len(room); {
		k, err := conn.Read(room[n:])
		if err != nil {
			return
		}
		if n += k; strings.HasSuffix(string(room[:n]), "\r\n\r\n") {
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
			return
		}
	}
}
