package embedded

import (
	"errors"
	"fmt"
	"net"
	"sync"
)

// hold says which way nothing passes a door.
type hold int

const (
	holdNothing hold = iota
	holdAnswers
	holdAll
)

// door is where clients of a member come in that can be frozen: what reaches
// it is held, and goes on its way when it opens, as with a process that gets
// SIGSTOP and SIGCONT. New connections are made meanwhile, and nothing comes.
type door struct {
	listener net.Listener
	member   string // where it listens

	mu     sync.Mutex
	turned sync.Cond // when held or closed change
	held   hold
	conns  map[net.Conn]bool
	closed bool
	wg     sync.WaitGroup
}

func openDoor(member string) (*door, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("embedded etcd: %w", err)
	}
	d := &door{listener: l, member: member, conns: map[net.Conn]bool{}}
	d.turned.L = &d.mu
	d.wg.Go(d.serve)
	return d, nil
}

func (d *door) serve() {
	for {
		client, err := d.listener.Accept()
		if err != nil {
			return // closed
		}
		d.wg.Go(func() { d.join(client) })
	}
}

// join joins a client with the member until either leaves.
func (d *door) join(client net.Conn) {
	if !d.keep(client) {
		return
	}
	defer d.drop(client)
	if !d.pass(holdAll) {
		return
	}
	member, err := net.Dial("tcp", d.member)
	if err != nil || !d.keep(member) {
		return
	}
	defer d.drop(member)
	d.wg.Go(func() {
		defer client.Close()
		d.carry(client, member, holdAnswers)
	})
	d.carry(member, client, holdAll)
}

// carry copies, and stands still while as much as held is held.
func (d *door) carry(to, from net.Conn, held hold) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if !d.pass(held) {
				return
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// pass waits until less than held is held, or returns false at the end.
func (d *door) pass(held hold) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.held >= held && !d.closed {
		d.turned.Wait()
	}
	return !d.closed
}

func (d *door) hold(h hold) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.held = h
	d.turned.Broadcast()
}

func (d *door) keep(c net.Conn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		c.Close()
		return false
	}
	d.conns[c] = true
	return true
}

func (d *door) drop(c net.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.conns, c)
	c.Close()
}

func (d *door) close() error {
	d.mu.Lock()
	d.closed = true
	d.turned.Broadcast()
	for c := range d.conns {
		c.Close()
	}
	d.mu.Unlock()
	err := d.listener.Close()
	d.wg.Wait()
	return err
}

// Freeze stops a member of a Freezable cluster without its knowing: what its
// clients and its peers send waits, and connections stay.
func (c *Cluster) Freeze(member int) {
	c.doors[member].hold(holdAll)
	c.Isolate(member)
}

// Mute holds what a member of a Freezable cluster sends to its clients, and
// nothing else: it does what they ask for, and they do not learn of it.
func (c *Cluster) Mute(member int) { c.doors[member].hold(holdAnswers) }

// Thaw undoes Freeze and Mute: what was held goes on its way.
func (c *Cluster) Thaw(member int) {
	c.Heal(member)
	c.doors[member].hold(holdNothing)
}

func (c *Cluster) closeDoors() error {
	var errs []error
	for _, d := range c.doors {
		errs = append(errs, d.close())
	}
	c.doors = nil
	return errors.Join(errs...)
}
