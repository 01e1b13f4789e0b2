package e2e

import (
	"bytes"
	"encoding/json"
	"sync"
	"time"
)

// output keeps what a program prints, and the lines of its log that are JSON.
type output struct {
	mu      sync.Mutex
	buf     bytes.Buffer
	parsed  int // bytes of buf that are in records
	records []record
}

// record is a line of a log.
type record struct {
	at   time.Time
	msg  string
	attr map[string]any
}

// text is an attribute that is a string; empty when it is none.
func (r record) text(key string) string {
	s, _ := r.attr[key].(string)
	return s
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n, err := o.buf.Write(p)
	for {
		rest := o.buf.Bytes()[o.parsed:]
		end := bytes.IndexByte(rest, '\n')
		if end < 0 {
			return n, err
		}
		o.parsed += end + 1
		attr := map[string]any{}
		if json.Unmarshal(rest[:end], &attr) != nil {
			continue
		}
		r := record{attr: attr}
		r.msg = r.text("msg")
		if r.at, _ = time.Parse(time.RFC3339Nano, r.text("time")); !r.at.IsZero() {
			o.records = append(o.records, r)
		}
	}
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// all returns the records so far. They are not to be changed.
func (o *output) all() []record {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.records
}
