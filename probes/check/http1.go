package check

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// scratch is the memory of an HTTP exchange, used again by later ones.
type scratch struct {
	out  []byte
	head headReader
	in   *bufio.Reader
	body []byte
}

var scratches = sync.Pool{New: func() any { return &scratch{in: bufio.NewReaderSize(nil, 4<<10)} }}

// room is where a body of n bytes goes.
func (s *scratch) room(n int) []byte {
	if len(s.body) < n {
		s.body = make([]byte, n)
	}
	return s.body[:n]
}

// release gives the memory back. Nothing may point into it then.
func (s *scratch) release() {
	s.head = headReader{}
	s.in.Reset(nil)
	scratches.Put(s)
}

// hop1 speaks HTTP/1.1 (RFC 9112) on a connection.
func (c *httpCheck) hop1(a *attempt, r *request, conn net.Conn) (redirect, bool) {
	s := scratches.Get().(*scratch)
	defer s.release()
	sent := time.Now()
	s.out = c.write(s.out[:0], r)
	if _, err := conn.Write(s.out); err != nil {
		// A server may have answered and closed without reading on; what it says
		// counts more than that it hung up.
		if a.ctx.Err() != nil {
			return c.noResponse(a, err)
		}
	}
	s.head = headReader{Reader: conn}
	s.in.Reset(&s.head)
	resp, err := readResponse(s, r.method) //nolint:bodyclose // it ends with the connection; closing it would read the rest
	if err != nil {
		return c.noResponse(a, err)
	}
	a.out.Phases.FirstByte += time.Since(sent)
	return c.judge(a, resp, s)
}

// write writes a request.
func (c *httpCheck) write(b []byte, r *request) []byte {
	b = append(append(append(b, r.method...), ' '), r.path...)
	b = append(append(b, " HTTP/1.1\r\nHost: "...), r.authority...)
	b = append(append(b, "\r\nUser-Agent: "...), c.agent...)
	b = append(b, "\r\nConnection: close\r\n"...)
	if !r.foreign {
		b = append(b, c.fields...)
	}
	if r.method == http.MethodPost || r.method == http.MethodPut {
		b = append(strconv.AppendInt(append(b, "Content-Length: "...), int64(len(r.body)), 10), "\r\n"...)
	}
	b = append(b, "\r\n"...)
	return append(b, r.body...)
}

// readResponse reads the header of the response, after those that only inform
// (RFC 9110 section 15.2).
func readResponse(s *scratch, method string) (*http.Response, error) {
	asked := http.Request{Method: method}
	for range maxInformations {
		resp, err := http.ReadResponse(s.in, &asked)
		if err != nil {
			return nil, err
		}
		if resp.StatusCode < 100 {
			return nil, errHeader
		}
		if resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols {
			return resp, nil
		}
		s.head.done = false
	}
	return nil, errHeader
}

var errHeader = errors.New("no header of a response")

// maxLines bounds the lines of a header: each becomes a map entry, which is many
// times the size of a short line.
const maxLines = 512

// headReader reads what an HTTP/1 server sends and ends a header that is too
// large before it is parsed.
type headReader struct {
	io.Reader
	done        bool // the header has ended
	size, lines int
	line        int  // the length of the line so far
	cr          bool // which begins with a carriage return
}

// Read implements io.Reader.
func (h *headReader) Read(p []byte) (int, error) {
	n, err := h.Reader.Read(p)
	if !h.done {
		if over := h.count(p[:n]); over {
			return 0, errHeader
		}
	}
	return n, err
}

// count notes the lines of a header, to its empty line, and tells whether they
// are too many.
func (h *headReader) count(text []byte) (over bool) {
	h.size += len(text)
	for len(text) > 0 && !h.done {
		line, rest, ended := bytes.Cut(text, []byte{'\n'})
		if h.line == 0 && len(line) > 0 {
			h.cr = line[0] == '\r'
		}
		h.line += len(line)
		text = rest
		if ended {
			// An empty line ends the header, as net/textproto reads it too.
			h.done = h.lines > 0 && (h.line == 0 || h.line == 1 && h.cr)
			h.lines++
			h.line = 0
		}
	}
	return h.lines > maxLines || !h.done && h.size > maxHeader
}
