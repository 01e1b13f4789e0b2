package planner

import "fmt"

// Alarms lists what is held back, each with what mends it; an operator has to
// act on every one.
func (p *Planner) Alarms() []string {
	var alarms []string
	if r := p.Refusal(); r != "" {
		alarms = append(alarms, "the head is not published: "+r)
	}
	strangers, installation, _ := p.opts.Catalog.Strangers()
	for _, s := range strangers {
		alarms = append(alarms, fmt.Sprintf("nameserver %q serves generation %v of installation %q, and this is %q: it takes nothing from here; point it at its own controllers, or empty its snapshot directory if it shall belong here",
			s.Nameserver, s.Generation, s.Installation, installation))
	}
	return alarms
}

// WrongStore says that every nameserver that is connected serves another
// installation than the store holds, or is empty.
func (p *Planner) WrongStore() string {
	strangers, installation, alone := p.opts.Catalog.Strangers()
	if !alone {
		return ""
	}
	return fmt.Sprintf("the store holds installation %q, and every nameserver that is connected serves another, as %q, which serves %q: point the controller at its own etcd (--etcd), or restore a backup",
		installation, strangers[0].Nameserver, strangers[0].Installation)
}
