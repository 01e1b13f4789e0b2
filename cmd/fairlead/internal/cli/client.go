package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/config"
	"github.com/fairlead-dns/fairlead/regions/identity"
)

// maxResponse bounds an answer: an apply answers with each resource that it
// changes twice, before and after.
const maxResponse = 512 << 20

// client calls the public services of the controllers.
type client struct {
	pb.CatalogServiceClient
	pb.RegionServiceClient
	pb.OverrideServiceClient
	pb.InsightServiceClient
	conns *controllers
}

// connect prepares connections to the controllers; it does not wait for them.
func (a *app) connect() (*client, error) {
	s, err := a.settings()
	if err != nil {
		return nil, err
	}
	if len(s.controllers) == 0 {
		return nil, usagef("--controller: names none")
	}
	sec, err := a.secure(s)
	if err != nil {
		return nil, err
	}
	c, err := dial(flagController, s.controllers, sec, nil)
	if err == nil {
		c.conns.patience = a.patience
	}
	return c, err
}

// The flags that say whom to call.
const (
	flagController  = "--controller"
	flagNameserver  = "--nameserver"
	flagNameservers = "--nameservers"
)

// dial prepares connections to the addresses that a flag names, of whom is expected
// there; nil: anybody of the role.
func dial(flag string, addrs []string, sec security, expect func(identity.Identity) error) (*client, error) {
	c := &controllers{flag: flag, security: sec}
	var errs []error
	for _, addr := range addrs {
		addr = strings.TrimSpace(addr)
		if err := sec.allow(flag, addr); err != nil {
			errs = append(errs, err)
			continue
		}
		conn, err := sec.dial(flag, addr, expect)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		c.all = append(c.all, callee{addr, conn})
	}
	if err := errors.Join(errs...); err != nil {
		c.close()
		return nil, usageError{err}
	}
	return &client{
		CatalogServiceClient: pb.NewCatalogServiceClient(c), RegionServiceClient: pb.NewRegionServiceClient(c),
		OverrideServiceClient: pb.NewOverrideServiceClient(c), InsightServiceClient: pb.NewInsightServiceClient(c),
		conns: c,
	}, nil
}

func (c *client) close() { c.conns.close() }

// with calls the controllers, within --timeout and how long they are asked to
// wait.
func (a *app) with(ctx context.Context, wait time.Duration, do func(context.Context, *client) error) error {
	c, err := a.connect()
	if err != nil {
		return err
	}
	defer c.close()
	ctx, cancel := context.WithTimeout(ctx, a.timeout+wait)
	defer cancel()
	err = do(ctx, c)
	if err == nil {
		a.keepNameservers(ctx, c, false)
	}
	return err
}

// newRequestID names one change: sent again, to another controller even, it
// changes nothing.
func newRequestID() string { return "cli-" + rand.Text() }

// callee is one of those that a call can go to.
type callee struct {
	addr string
	conn *grpc.ClientConn
}

// controllers is a connection to the first controller that answers. A call
// that one could not take goes to the next: every change carries a request id,
// so one that had been made after all is not made twice.
type controllers struct {
	flag     string // that named them
	security security
	all      []callee
	next     int // index of the one that answered last
	// patience waits before a call that was over a limit is made again; nil, or
	// an error from it: it is not.
	patience func(ctx context.Context, addr string, wait time.Duration) error
}

func (c *controllers) close() {
	for _, t := range c.all {
		_ = t.conn.Close()
	}
}

// Invoke implements grpc.ClientConnInterface. A call that was over a limit,
// and so was not made, is made again when the controller says that it may be, as
// long as there is time.
func (c *controllers) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	for {
		err := c.invoke(ctx, method, args, reply, opts...)
		over, wait := overLimit(err)
		if !over || c.patience == nil {
			return err
		}
		if c.patience(ctx, c.all[c.next].addr, wait) != nil {
			return err
		}
	}
}

// invoke makes a call once, at the first controller that can take it.
func (c *controllers) invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	_, write := args.(interface{ GetRequestId() string })
	var failed []attempt
	for i := range c.all {
		at := (c.next + i) % len(c.all)
		t := c.all[at]
		var p peer.Peer
		err := t.conn.Invoke(ctx, method, args, reply, append(opts, grpc.Peer(&p), grpc.MaxCallRecvMsgSize(maxResponse))...)
		if err == nil {
			c.next = at
			return nil
		}
		st := status.Convert(err)
		switch st.Code() {
		case codes.Unavailable:
			failed = append(failed, attempt{addr: t.addr, reached: p.Addr != nil, message: st.Message()})
		default:
			c.next = at
			return &callError{addr: t.addr, st: st, note: noteFor(st.Code(), write)}
		}
	}
	return c.unavailable(failed, write)
}

// answerer is the controller that answered last.
func (c *controllers) answerer() string { return c.all[c.next].addr }

// NewStream implements grpc.ClientConnInterface.
func (c *controllers) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return c.all[c.next].conn.NewStream(ctx, desc, method, opts...)
}

// attempt is a controller that could not take a call.
type attempt struct {
	addr    string
	reached bool // it was connected to
	message string
}

// unavailable makes one sentence of all attempts.
func (c *controllers) unavailable(failed []attempt, write bool) error {
	var said, silent []string
	broke, advice := false, ""
	for _, f := range failed {
		why, kind := dialReason(f.message, c.flag, c.security)
		if before, after, ok := strings.Cut(why, "; "+instead); ok {
			why, advice = before, instead+after // told once
		}
		switch {
		case f.reached && kind == answered, kind == insecure:
			// What several say is said once.
			if i := slices.IndexFunc(said, func(s string) bool { return strings.HasSuffix(s, ": "+why) }); i >= 0 {
				said[i] = strings.TrimSuffix(said[i], ": "+why) + ", " + f.addr + ": " + why
				continue
			}
			said = append(said, f.addr+": "+why)
		case f.reached:
			silent = append(silent, f.addr+" (the connection broke: "+why+")")
			broke = true
		default:
			silent = append(silent, f.addr+" ("+why+")")
		}
	}
	msg := strings.Join(said, "; ")
	if len(silent) > 0 {
		if msg != "" {
			msg += "; "
		}
		verb := " does not answer"
		if len(silent) > 1 {
			verb = " do not answer"
		}
		msg += strings.Join(silent, " and ") + verb
	}
	switch {
	case broke && write:
		msg += maybeMade
	case len(said) == 0:
		msg += ": is " + "a " + roles[c.flag].String() + " running there? " +
			c.flag + " names another"
	}
	return &callError{st: status.New(codes.Unavailable, msg), advice: advice}
}

// failure is what an UNAVAILABLE is about.
type failure uint8

const (
	answered failure = iota // the words are the server's own
	silence                 // no connection, or it broke
	insecure                // TLS, or its lack
)

var (
	// dialling are the words around a reason not to be connected.
	dialling = regexp.MustCompile(`^transport: Error while dialing: (?:dial tcp(?: [^ ]*)?: )?(?:connect: )?`)
	// socketError is what gRPC says of a connection that ends before it began.
	socketError = regexp.MustCompile(`^(read|write) tcp `)
)

// dialReason takes what matters out of gRPC's words on a connection.
func dialReason(message, flag string, sec security) (why string, kind failure) {
	if quoted, ok := strings.CutPrefix(message, "connection error: desc = "); ok {
		if text, err := strconv.Unquote(quoted); err == nil {
			quoted = text
		}
		message = quoted
	} else if !socketError.MatchString(message) {
		for _, s := range []string{"error reading from server", "transport is closing", "keepalive ping"} {
			if strings.Contains(message, s) {
				return message, silence
			}
		}
		return message, answered
	}
	outer := dialling.FindString(message)
	why = strings.TrimPrefix(message, outer)
	if strings.Contains(why, "deadline exceeded") || strings.Contains(why, "i/o timeout") {
		return "no connection in time", silence
	}
	if outer == "" {
		if wrong := sec.handshake(flag, why); wrong != "" {
			return wrong, insecure
		}
	}
	return why, silence
}

// maxReads bounds how often a list is begun again because the configuration
// changed meanwhile.
const maxReads = 5

// list returns resources of one generation, however many pages they take.
func (c *client) list(ctx context.Context, kind, name string) (*pb.ListResourcesResponse, error) {
	for range maxReads {
		all, moved, err := c.pages(ctx, kind, name)
		if err != nil || !moved {
			return all, err
		}
	}
	return nil, fmt.Errorf("the configuration changed %d times while it was read: try again", maxReads)
}

func (c *client) pages(ctx context.Context, kind, name string) (all *pb.ListResourcesResponse, moved bool, err error) {
	all = &pb.ListResourcesResponse{}
	token := ""
	for {
		page, err := c.ListResources(ctx, &pb.ListResourcesRequest{Kind: kind, Name: name, PageToken: token})
		if err != nil {
			return nil, false, err
		}
		if token == "" {
			all.Generation = page.GetGeneration()
		} else if generation(page.GetGeneration()) != generation(all.GetGeneration()) {
			return nil, true, nil
		}
		all.Resources = append(all.Resources, page.GetResources()...)
		if token = page.GetNextPageToken(); token == "" {
			return all, false, nil
		}
	}
}

// one returns a single resource.
func (c *client) one(ctx context.Context, kind, name string) (*pb.Resource, error) {
	list, err := c.ListResources(ctx, &pb.ListResourcesRequest{Kind: kind, Name: name})
	if err != nil {
		return nil, err
	}
	if len(list.GetResources()) != 1 {
		return nil, fmt.Errorf("the controller returned %d resources for %s/%s: want one", len(list.GetResources()), config.Plural(kind), name)
	}
	return list.GetResources()[0], nil
}
