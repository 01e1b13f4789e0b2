package steer

import (
	"fmt"
	"reflect"

	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/geo"
)

// Rankings holds one table per steering policy of a base. Immutable.
type Rankings struct {
	Tables []*geo.Table // by policy index
	// data is the digest of the geo data, specs what the tables are made from.
	data  string
	specs []geo.Spec
}

// CompileRankings makes the tables of a base's policies over geo data; without
// any (nil), only rules with prefixes tell clients apart. A table of prev
// (which may be nil) is taken over when nothing that it is made of has changed,
// so that most changes of configuration cost nothing here.
func CompileRankings(base *regions.Base, db *geo.Database, prev *Rankings) (*Rankings, error) {
	r := &Rankings{Tables: make([]*geo.Table, len(base.Policies)), specs: make([]geo.Spec, len(base.Policies))}
	if db != nil {
		r.data = db.Digest()
	}
	for i := range base.Policies {
		spec := geoSpec(base, &base.Policies[i])
		t := r.find(i, &spec)
		if t == nil && prev != nil && prev.data == r.data {
			t = prev.find(len(prev.specs), &spec)
		}
		if t == nil {
			var err error
			if t, err = geo.Compile(db, spec); err != nil {
				return nil, fmt.Errorf("steering policy %q: %w", base.Policies[i].Name, err)
			}
		}
		r.Tables[i], r.specs[i] = t, spec
	}
	return r, nil
}

// find returns the table of an equal spec among the first n, or nil.
func (r *Rankings) find(n int, spec *geo.Spec) *geo.Table {
	for i := range n {
		if reflect.DeepEqual(&r.specs[i], spec) {
			return r.Tables[i]
		}
	}
	return nil
}

func geoSpec(base *regions.Base, p *regions.Policy) geo.Spec {
	spec := geo.Spec{
		Nearest:    !p.ActivePassive,
		Sites:      make([]geo.Site, len(base.Regions)),
		Candidates: p.Candidates,
		Default:    p.Default,
	}
	for i, r := range base.Regions {
		spec.Sites[i] = geo.Site{Latitude: r.Latitude, Longitude: r.Longitude}
		if i < len(p.Bias) {
			spec.Sites[i].Bias = p.Bias[i]
		}
	}
	for _, rule := range p.Rules {
		spec.Rules = append(spec.Rules, geo.Rule{
			Name: rule.Name, Prefixes: rule.Prefixes, Countries: rule.Countries,
			Continents: rule.Continents, Subdivisions: rule.Subdivisions, Regions: rule.Regions,
		})
	}
	return spec
}
