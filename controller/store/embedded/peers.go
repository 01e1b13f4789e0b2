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

// peerServer serves a member's peers. etcd's own would do, but closing it takes
// a second and leaves connections behind for five more.
type peerServer struct {
	listener net.Listener
	http     *http.Server
	done     chan struct{}
}

func listenPeers(addr string) (*peerServer, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &peerServer{
		listener: l,
		http:     &http.Server{ErrorLog: log.New(io.Discard, "", 0)},
	}, nil
}

func (p *peerServer) serve(s *etcdserver.EtcdServer) {
	p.http.Handler = etcdhttp.NewPeerHandler(zap.NewNop(), s)
	p.done = make(chan struct{})
	go func() {
		defer close(p.done)
		p.http.Serve(p.listener) // ends with close
	}()
}

func (p *peerServer) close() {
	p.http.Close()
	p.listener.Close()
	if p.done != nil {
		<-p.done
	}
}
