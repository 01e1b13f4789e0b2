package embedded

import (
	"io"
	"log"
	"net"
	"net/http"

	"go.etcd.io/etcd/server/v3/etcdserver"
	"go.etcd.io/etcd/server/v3/etcdserver/api/etcdhttp"
	"go.uber.org/zap"
)

// peerServer serves a member's peers. etcd's own would do, but closing it
// takes a second and leaves connections behind for five more; and since it
// listens before it can answer, members that start together wait for each
// other's answers for another second or two.
type peerServer struct {
	http *http.Server
	done chan struct{}
}

func servePeers(addr string, s *etcdserver.EtcdServer) (*peerServer, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	p := &peerServer{
		http: &http.Server{
			Handler:  etcdhttp.NewPeerHandler(zap.NewNop(), s),
			ErrorLog: log.New(io.Discard, "", 0),
		},
		done: make(chan struct{}),
	}
	go func() {
		defer close(p.done)
		_ = p.http.Serve(l) // ends with close, and closes l
	}()
	return p, nil
}

// close ends all connections at once.
func (p *peerServer) close() {
	p.http.Close()
	<-p.done
}
