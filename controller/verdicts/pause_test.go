package verdicts

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// courtEnv makes the test binary be a court: a process with a judge, that is "idle"
// otherwise or "busy" on all processors.
const courtEnv = "FAIRLEAD_TEST_COURT"

func TestMain(m *testing.M) {
	if os.Getenv(courtEnv) != "" {
		if err := runCourt(); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// runCourt serves a judge, and prints its address and every change of its
// readiness, until standard input ends.
func runCourt() error {
	j, err := New(Options{})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go j.Run(ctx)
	j.SetPlan(planOf(1, []Agent{{Name: "a1", Region: "a"}}, "t"))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	pb.RegisterAgentServiceServer(server, j)
	go server.Serve(l)
	fmt.Println(l.Addr())
	if os.Getenv(courtEnv) == "busy" {
		for range runtime.GOMAXPROCS(0) {
			go func() {
				for ctx.Err() == nil {
				}
			}()
		}
	}
	go func() {
		for was := false; ; time.Sleep(time.Millisecond) {
			if is := j.State().Ready; is != was {
				fmt.Println("ready", is)
				was = is
			}
		}
	}()
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// A real process that is stopped and continued: it must not be ready for one
// moment on what it knew, nor on what was waiting in its socket, however busy it
// was before and after.
func TestPausedProcess(t *testing.T) {
	for _, how := range []string{"idle", "busy"} {
		t.Run(how, func(t *testing.T) { testPausedProcess(t, how) })
	}
}

func testPausedProcess(t *testing.T, how string) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), courtEnv+"="+how)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cmd.Process.Signal(syscall.SIGCONT)
		stdin.Close()
		cmd.Wait()
	}()
	lines := bufio.NewScanner(stdout)
	next := func() string {
		if !lines.Scan() {
			t.Fatal("the court has ended")
		}
		return lines.Text()
	}
	conn, err := grpc.NewClient(next(), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	report := func() grpc.BidiStreamingClient[pb.ReportRequest, pb.ReportResponse] {
		stream, err := pb.NewAgentServiceClient(conn).Report(t.Context(), grpc.WaitForReady(true))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range []*pb.ReportRequest{
			{Message: &pb.ReportRequest_Hello{Hello: &pb.AgentHello{Agent: "a1", Region: "a"}}}, opinions("full t=H"),
		} {
			if err := stream.Send(m); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := stream.Recv(); err != nil { // assignments
			t.Fatal(err)
		}
		return stream
	}
	stream := report()
	if got := next(); got != "ready true" {
		t.Fatalf("the court says %q", got)
	}
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	time.Sleep(PauseLimit + 500*time.Millisecond)
	_ = stream.Send(opinions("full t=U")) // waits in its socket
	cmd.Process.Signal(syscall.SIGCONT)
	_, err = stream.Recv()
	if s := status.Convert(err); !strings.Contains(s.Message(), "stood still") {
		t.Errorf("the stream ended with %v", err)
	}
	if got := next(); got != "ready false" {
		t.Errorf("the court says %q", got)
	}
	report()
	if got := next(); got != "ready true" {
		t.Errorf("the court says %q", got)
	}
}
