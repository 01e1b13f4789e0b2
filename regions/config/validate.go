package config

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// The limits of a configuration. They lie below those of Join, so that what
// validates can be loaded.
const (
	MaxRegions      = 256
	MaxAgents       = 256
	MaxNameservers  = 1000
	MaxHealthChecks = 10_000
	MaxPolicies     = 64
	MaxZones        = 10_000
	MaxServices     = 1_000_000
	MaxEndpoints    = 256       // of a service
	MaxRecordsSize  = 8 << 20   // bytes, of a zone's static records
	MaxResourceSize = 1 << 20   // bytes, of a resource without such records
	MaxTotalSize    = 1 << 30   // bytes, of all resources
	MaxWeight       = 1<<20 - 1 // of an endpoint

	maxSafety            = 64 // one of another name than default is wrong by itself
	maxAvailabilityZones = 64
	maxRules             = 1000 // of a policy
	maxMatchers          = 1000 // of a rule, of each sort
	maxNameservers       = 32   // of a zone's NS RRset
	maxFallback          = 32
	maxReferences        = 8 // of an agent
	maxStatuses          = 100
	maxLabels            = 64
	maxLabelText         = 256
	maxPath              = 2048
)

// limits are in the order of kinds.
var limits = []int{MaxRegions, MaxAgents, MaxNameservers, MaxHealthChecks, MaxPolicies, maxSafety, MaxZones, MaxServices}

// Options of Validate.
type Options struct {
	// Base is the set that was valid before. The fields of a resource that is
	// the same one (the same pointer) there are not checked again, so that
	// what a newer version wrote does not stop this one; its references are,
	// unless what they may lead to is the same as well.
	Base *Set
	// Records checks the static records of a zone together with the services
	// in it. It is called for the zones that differ from Base. nil: none.
	Records func(zone *pb.Zone, services []*pb.Service) []FieldError
}

// Validate checks every resource of a set, the references among them and the
// limits. The error is an Errors with all that is wrong.
func Validate(set *Set, o Options) error {
	v := &validator{set: set, base: o.Base, suggested: map[string]string{}}
	v.limits()
	all := o.Base == nil || targetsDiffer(o.Base, set)
	for k := range kinds {
		walk(o.Base.kind(k), set.kind(k), func(before, after named) {
			if after.r == nil {
				return
			}
			changed := before.r != after.r
			if changed {
				v.errs = append(v.errs, ValidateResource(after.r)...)
			}
			if changed || all {
				v.references(after.r)
			}
		})
	}
	v.loops()
	v.records(o)
	return v.errs.err()
}

type validator struct {
	set, base *Set
	errs      Errors
	suggested map[string]string // by what is missing: which was meant
}

func (v *validator) limits() {
	size := 0
	for i, kind := range kinds {
		if n := v.set.Count(kind.name); n > limits[i] {
			v.errs = append(v.errs, FieldError{Kind: kind.name, Message: fmt.Sprintf("there are %d; at most %d may be", n, limits[i])})
		}
	}
	for k, kind := range kinds {
		most := MaxResourceSize
		if kind.name == KindZone {
			most += MaxRecordsSize
		}
		for _, n := range v.set.kind(k) {
			if size += n.size; n.size > most {
				v.errs = append(v.errs, FieldError{Kind: kind.name, Name: n.name, Message: fmt.Sprintf("has %d bytes; a resource may have %d", n.size, most)})
			}
		}
	}
	if size > MaxTotalSize {
		v.errs = append(v.errs, FieldError{Message: fmt.Sprintf("the resources have %d bytes together; at most %d may be", size, MaxTotalSize)})
	}
}

// ValidateResource makes the checks of one resource, in canonical form
// (Default), that need no other.
func ValidateResource(r *pb.Resource) Errors {
	c := &checker{key: KeyOf(r)}
	if Kind(r) != "" && !hasSpec(r) {
		c.add("spec", "required")
		return c.errs
	}
	switch k := r.GetKind().(type) {
	case *pb.Resource_Region:
		c.add("metadata.name", checkLabel(c.key.Name))
		c.region(k.Region.GetSpec())
	case *pb.Resource_Agent:
		c.add("metadata.name", checkLabel(c.key.Name))
		c.agent(k.Agent.GetSpec())
	case *pb.Resource_Nameserver:
		c.add("metadata.name", checkLabel(c.key.Name))
		c.required("spec.region", k.Nameserver.GetSpec().GetRegion(), aRegion)
		c.add("spec.dns", checkHostPort(k.Nameserver.GetSpec().GetDns(), "192.0.2.53:53"))
		c.add("spec.grpc", checkHostPort(k.Nameserver.GetSpec().GetGrpc(), "192.0.2.53:7444"))
	case *pb.Resource_HealthCheck:
		c.add("metadata.name", checkLabel(c.key.Name))
		c.healthCheck(k.HealthCheck.GetSpec())
	case *pb.Resource_SteeringPolicy:
		c.add("metadata.name", checkLabel(c.key.Name))
		c.policy(k.SteeringPolicy.GetSpec())
	case *pb.Resource_SafetyPolicy:
		c.safety(k.SafetyPolicy.GetSpec())
	case *pb.Resource_Zone:
		c.add("metadata.name", checkDomain(c.key.Name))
		c.zone(k.Zone.GetSpec())
	case *pb.Resource_Service:
		c.add("metadata.name", checkOwner(c.key.Name))
		c.service(c.key.Name, k.Service.GetSpec())
	default:
		return nil
	}
	c.labels(Metadata(r).GetLabels())
	return c.errs
}

const aRegion = "the name of a Region"

// checker collects the errors of one resource.
type checker struct {
	key  Key
	errs Errors
}

// add reports message about a path; "" is no error.
func (c *checker) add(path, message string) {
	if message != "" {
		c.errs = append(c.errs, FieldError{Kind: c.key.Kind, Name: c.key.Name, Path: path, Message: message})
	}
}

func (c *checker) addf(path, format string, args ...any) {
	c.add(path, fmt.Sprintf(format, args...))
}

// required reports a name that is missing; what it should name.
func (c *checker) required(path, value, what string) {
	if value == "" {
		c.add(path, "required: "+what)
	}
}

func (c *checker) between(path string, n, low, high uint32) {
	if n < low || n > high {
		c.addf(path, "%d is out of range: want %d to %d", n, low, high)
	}
}

// atMost reports a list that is too long, and tells whether it is not.
func (c *checker) atMost(path string, n, most int) bool {
	if n > most {
		c.addf(path, "has %d; at most %d may be", n, most)
	}
	return n <= most
}

// unique reports what occurs twice in a list.
func (c *checker) unique(path string, list []string) {
	seen := make(map[string]int, len(list))
	for i, s := range list {
		if first, ok := seen[s]; ok {
			c.addf(fmt.Sprintf("%s[%d]", path, i), "%q is given twice; the first is %s[%d]", s, path, first)
			continue
		}
		seen[s] = i
	}
}

// enum reports a value that this version does not know.
func (c *checker) enum(path string, e protoEnum) {
	ed := e.Descriptor()
	if n := e.Number(); n != 0 && ed.Values().ByNumber(n) == nil {
		c.addf(path, "unknown value %d: want one of %s", n, strings.Join(enumWords(ed), ", "))
	}
}

// duration checks the range of d and returns it; ok is false if it is wrong.
func (c *checker) duration(path string, d *durationpb.Duration, low, high time.Duration) (time.Duration, bool) {
	if d == nil {
		c.add(path, "required")
		return 0, false
	}
	value := d.AsDuration()
	if err := d.CheckValid(); err != nil || value < low || value > high {
		c.addf(path, "%s is out of range: want %s to %s", formatDuration(value), formatDuration(low), formatDuration(high))
		return value, false
	}
	return value, true
}

// ttl is duration in whole seconds.
func (c *checker) ttl(path string, d *durationpb.Duration, low, high time.Duration) {
	if value, ok := c.duration(path, d, low, high); ok && value%time.Second != 0 {
		c.addf(path, "%s is not in whole seconds, as a TTL is", formatDuration(value))
	}
}

func (c *checker) labels(labels map[string]string) {
	c.atMost("metadata.labels", len(labels), maxLabels)
	keys := make([]string, 0, len(labels))
	for k := range labels {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		path := fmt.Sprintf("metadata.labels[%q]", k)
		switch {
		case k == "":
			c.add(path, "a label needs a name")
		case len(k) > maxLabelText || len(labels[k]) > maxLabelText:
			c.addf(path, "is too long: want at most %d bytes each for name and value", maxLabelText)
		case strings.ContainsFunc(k+labels[k], isControl):
			c.add(path, "holds a control character")
		}
	}
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }
