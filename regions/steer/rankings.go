package steer

import (
	"fmt"

	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/geo"
)

// Rankings holds one table per steering policy of a base. Immutable.
type Rankings struct {
	Tables []*geo.Table // by policy index
	keys   []string
}

// CompileRankings makes the tables of a base's policies over geo data. A table
// of prev (which may be nil) is taken over when nothing that it is made of has
// changed, so that most changes of configuration cost nothing here.
func CompileRankings(base *regions.Base, db *geo.Database, prev *Rankings) (*Rankings, error) {
	known := map[string]*geo.Table{}
	if prev != nil {
		for i, k := range prev.keys {
			known[k] = prev.Tables[i]
		}
	}
	r := &Rankings{Tables: make([]*geo.Table, len(base.Policies)), keys: make([]string, len(base.Policies))}
	for i := range base.Policies {
		spec := geoSpec(base, &base.Policies[i])
		key := fmt.Sprintf("%s %+v", db.Digest(), spec)
		t, ok := known[key]
		if !ok {
			var err error
			if t, err = geo.Compile(db, spec); err != nil {
				return nil, fmt.Errorf("steering policy %q: %w", base.Policies[i].Name, err)
			}
			known[key] = t
		}
		r.Tables[i], r.keys[i] = t, key
	}
	return r, nil
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
