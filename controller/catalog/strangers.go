package catalog

import (
	"cmp"
	"slices"

	"github.com/fairlead-dns/fairlead/regions"
)

// Stranger is a connected nameserver that serves another installation.
type Stranger struct {
	Nameserver   string
	Generation   regions.Generation
	Installation string
}

// Strangers lists the connected nameservers that serve another installation
// than this one, by name, and says which this one is. They take nothing from
// this controller. When there is no other nameserver, alone says so: then it is
// the controller that is at the wrong etcd, rather.
func (c *Catalog) Strangers() (list []Stranger, installation string, alone bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	installation = c.last.installation()
	if installation == "" {
		return nil, "", false // nothing is known here; check sees to that
	}
	for name, w := range c.witnesses {
		if w.installation != "" && w.installation != installation {
			list = append(list, Stranger{name, w.generation, w.installation})
		}
	}
	slices.SortFunc(list, func(a, b Stranger) int { return cmp.Compare(a.Nameserver, b.Nameserver) })
	return list, installation, len(list) > 0 && len(list) == len(c.witnesses)
}

func (v *Version) installation() string {
	if v == nil {
		return ""
	}
	return v.Head.GetInstallation()
}
