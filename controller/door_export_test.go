package controller

import "google.golang.org/grpc/keepalive"

// SetConnections makes connections of servers that are made from then on live as
// the parameters say; what it returns undoes it.
func SetConnections(p keepalive.ServerParameters) (undo func()) {
	before := connections
	connections = p
	return func() { connections = before }
}
