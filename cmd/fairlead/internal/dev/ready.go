package dev

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/fairlead-dns/fairlead/cmd/internal/ops"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// configure loads the user's resources, or the sample into a store that has
// nothing yet, and returns the agents to run.
func (d *stack) configure(ctx context.Context) ([][2]string, error) {
	conn, err := ops.Dial(d.controller.GRPC, nil)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	catalog := pb.NewCatalogServiceClient(conn)
	if len(d.o.Files) > 0 {
		if err := d.o.Apply(ctx, d.controller.GRPC, d.o.Files, nil); err != nil {
			return nil, err
		}
	} else if err := d.loadSample(ctx, catalog); err != nil {
		return nil, err
	}
	var agents [][2]string
	err = poll(ctx, "the configuration to be published", func() (bool, error) {
		agents = nil
		list, err := catalog.ListResources(ctx, &pb.ListResourcesRequest{Kind: "Agent"})
		if status.Code(err) == codes.FailedPrecondition || status.Code(err) == codes.Unavailable {
			return false, nil
		}
		for _, r := range list.GetResources() {
			agents = append(agents, [2]string{r.GetAgent().GetMetadata().GetName(), r.GetAgent().GetSpec().GetRegion()})
		}
		return err == nil, err
	})
	return agents, err
}

// loadSample applies the sample unless something is configured already.
func (d *stack) loadSample(ctx context.Context, catalog pb.CatalogServiceClient) error {
	dry, err := catalog.Apply(ctx, &pb.ApplyRequest{DryRun: true})
	if err != nil {
		return err
	}
	if dry.GetGeneration().GetRevision() != 0 {
		return nil
	}
	return d.o.Apply(ctx, d.controller.GRPC, nil, d.sample())
}

// await returns when the nameserver answers by verdicts on every target.
func (d *stack) await(ctx context.Context) error {
	conn, err := ops.Dial(d.controller.GRPC, nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	insight := pb.NewInsightServiceClient(conn)
	return poll(ctx, "the first verdicts", func() (bool, error) {
		st, err := insight.GetStatus(ctx, &pb.GetStatusRequest{})
		if err != nil {
			return false, err
		}
		for _, ns := range st.GetNameservers() {
			if ns.GetNameserver() == "ns-1" {
				return ns.GetFollowing() && ns.GetGeneration().GetRevision() == st.GetGeneration().GetRevision() && st.GetHealthReady(), nil
			}
		}
		return false, nil
	})
}

func poll(ctx context.Context, what string, ready func() (bool, error)) error {
	limit := time.Now().Add(readyLimit)
	for {
		ok, err := ready()
		if ok || (err != nil && ctx.Err() == nil) {
			return err
		}
		if time.Now().After(limit) {
			return fmt.Errorf("waited %v for %s", readyLimit, what)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// report prints what runs where and what to try.
func (d *stack) report(took time.Duration) {
	w := d.o.Out
	dns := d.nameserver.DNS[0]
	host, port, _ := net.SplitHostPort(dns)
	fmt.Fprintf(w, "Fairlead is ready after %.1f s. Ctrl-C ends it.\n\n", took.Seconds())
	fmt.Fprintf(w, "  DNS          %s (UDP and TCP)\n", strings.Join(d.nameserver.DNS, ", "))
	fmt.Fprintf(w, "  API          %s (gRPC)\n", d.controller.GRPC)
	fmt.Fprintf(w, "  controller   http://%s/metrics, /healthz, /readyz\n", d.controller.HTTP)
	fmt.Fprintf(w, "  nameserver   http://%s/metrics, /healthz, /readyz\n", d.nameserver.HTTP)
	if d.o.Data == "" {
		fmt.Fprintf(w, "  data         %s, removed at the end (--data DIR keeps it)\n", d.data)
	} else {
		fmt.Fprintf(w, "  data         %s\n", d.data)
	}
	for _, e := range d.endpoints {
		fmt.Fprintf(w, "  %-12s http://%s/\n", e.region, e.addr())
	}
	controller := ""
	if d.controller.GRPC != "127.0.0.1:7443" {
		controller = " --controller " + d.controller.GRPC
	}
	if len(d.endpoints) == 0 {
		fmt.Fprintf(w, "\nSee what is configured and how it is:\n\n  fairlead get all%s\n  fairlead status%s\n", controller, controller)
		return
	}
	dig := fmt.Sprintf("dig @%s -p %s +short", host, port)
	fmt.Fprintf(w, `
Three things to try (in another terminal; `+"`go run ./cmd/fairlead`"+` is fairlead):

1. Ask as clients on three continents:

  %[1]s +subnet=8.8.8.0/24 www.example.test      # America
  %[1]s +subnet=193.0.6.0/24 www.example.test    # Europe
  %[1]s +subnet=133.11.0.0/16 www.example.test   # Asia

2. Drain a region, ask again, and see why:

  fairlead region drain eu-west --reason "try it" --wait 5s%[2]s
  fairlead explain www.example.test --client 193.0.6.0/24%[2]s
  fairlead region undrain eu-west --reason "tried it"%[2]s

3. Make an endpoint fail, watch the answer change within 4 s, mend it, and see what
   other thresholds would have done:

  curl -X POST http://%[3]s/fail
  fairlead status%[2]s
  curl -X POST http://%[3]s/recover
  fairlead health replay --service www.example.test --fall 4%[2]s
`, dig, controller, d.endpoints[0].addr())
}
