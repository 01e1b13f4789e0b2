package config

import (
	"fmt"
	"strings"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// loops reports services whose names lead back to themselves: a resolver that
// follows the CNAMEs never gets an address (RFC 1034 section 3.6.2). That a
// service is its own target ValidateResource says.
func (v *validator) loops() {
	next := map[string][]string{} // services of names → those they lead to
	for _, n := range v.set.kind(kindIndex(KindService)) {
		for _, target := range targetNames(n.r.GetService().GetSpec()) {
			if target != n.name && v.set.Get(Key{KindService, target}) != nil {
				next[n.name] = append(next[n.name], target)
			}
		}
	}
	const done = -1
	place := map[string]int{} // on the path, from 1; or done
	// A stack of its own: a chain may be as long as there are services.
	type step struct {
		name string
		rest []string
	}
	for _, start := range v.set.kind(kindIndex(KindService)) {
		if len(next[start.name]) == 0 || place[start.name] != 0 {
			continue
		}
		path := []step{{start.name, next[start.name]}}
		place[start.name] = 1
		for len(path) > 0 {
			top := &path[len(path)-1]
			if len(top.rest) == 0 {
				place[top.name] = done
				path = path[:len(path)-1]
				continue
			}
			target := top.rest[0]
			top.rest = top.rest[1:]
			switch at := place[target]; at {
			case done:
			case 0:
				path = append(path, step{target, next[target]})
				place[target] = len(path)
			default:
				loop := path[at-1:]
				var names []string
				for _, s := range loop[:min(3, len(loop))] {
					names = append(names, s.name)
				}
				if len(loop) > 4 {
					names = append(names, "…")
				}
				if len(loop) > 3 {
					names = append(names, loop[len(loop)-1].name)
				}
				v.errs = append(v.errs, FieldError{
					Kind: KindService, Name: target, Path: "spec.endpoints",
					Message: fmt.Sprintf("the names lead back to the service: %s → %s", strings.Join(names, " → "), target),
				})
			}
		}
	}
}

// targetNames are the names that a service may answer with.
func targetNames(s *pb.ServiceSpec) []string {
	var names []string
	for _, e := range s.GetEndpoints() {
		if e.GetCname() != "" {
			names = append(names, e.GetCname())
		}
	}
	if len(names) > 0 {
		names = append(names, s.GetFallback()...)
	}
	return names
}
