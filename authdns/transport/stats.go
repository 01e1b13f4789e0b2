package transport

// Stats counts since the start.
type Stats struct {
	// UDPReceived and UDPSent count messages; what is not sent was dropped by
	// the handler or failed.
	UDPReceived, UDPSent uint64
	// UDPErrors counts failed reads and writes, and messages that are cut off
	// or come from port 0.
	UDPErrors uint64

	// TCPAccepted counts connections; TCPRefused those closed at once because
	// the client, or the server, had too many.
	TCPAccepted, TCPRefused uint64
	// TCPEvicted counts connections closed to make room for others.
	TCPEvicted uint64
	// TCPTimeouts counts connections closed because the peer was idle, or too
	// slow to send a query or to accept a response.
	TCPTimeouts uint64
	// TCPReceived and TCPSent count messages.
	TCPReceived, TCPSent uint64
	// TCPOpen is the number of connections now.
	TCPOpen int

	// Panics of the handler.
	Panics uint64
}

// Stats returns the counters.
func (s *Server) Stats() Stats {
	st := Stats{
		TCPAccepted: s.tcp.accepted.Load(),
		TCPRefused:  s.tcp.refused.Load(),
		TCPEvicted:  s.tcp.evicted.Load(),
		TCPTimeouts: s.tcp.timeouts.Load(),
		TCPReceived: s.tcp.received.Load(),
		TCPSent:     s.tcp.sent.Load(),
		TCPOpen:     s.tcp.open(),
		Panics:      s.panics.Load(),
	}
	for _, u := range s.udp {
		st.UDPReceived += u.received.Load()
		st.UDPSent += u.sent.Load()
		st.UDPErrors += u.errors.Load()
	}
	return st
}
