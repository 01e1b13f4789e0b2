package catalog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/fairlead-dns/fairlead/controller/store"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/config"
)

// CollectEvery is how often a controller collects. One that finds that another
// began within half of that leaves it at that.
const CollectEvery = time.Hour

// CollectorOptions is what a collector needs.
type CollectorOptions struct {
	Catalog *Catalog
	// Name of the controller.
	Name string
	// Retention says what is kept; the zero one is store.DefaultRetention.
	Retention store.Retention
	// Every is by default CollectEvery.
	Every      time.Duration
	Log        *slog.Logger
	Registerer prometheus.Registerer // optional
}

// Collector removes what no generation that is kept refers to. Any number of
// controllers may run one (store.Collect).
type Collector struct {
	opts    CollectorOptions
	started time.Time
	metrics collectorMetrics
}

// NewCollector returns a collector; Run does its work.
func NewCollector(o CollectorOptions) *Collector {
	if o.Every == 0 {
		o.Every = CollectEvery
	}
	if o.Retention == (store.Retention{}) {
		o.Retention = store.DefaultRetention()
	}
	c := &Collector{opts: o, started: time.Now()}
	c.metrics.register(o.Registerer)
	return c
}

// Run collects until ctx ends. The first time comes soon, for those that are
// restarted often.
func (c *Collector) Run(ctx context.Context) error {
	wait := c.opts.Every/60 + rand.N(c.opts.Every/4+1)
	for {
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil
		case <-t.C:
		}
		c.run(ctx)
		wait = c.opts.Every*3/4 + rand.N(c.opts.Every/2+1)
	}
}

// run collects, and tells what came of it.
func (c *Collector) run(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, c.opts.Every)
	defer cancel()
	got, err := c.Collect(ctx)
	c.metrics.ran(got, err)
	if total, used, serr := c.opts.Catalog.store.Size(ctx); serr == nil {
		c.metrics.sized(total, used)
	}
	log := c.opts.Log
	switch {
	case errors.Is(err, store.ErrCollecting) || errors.Is(ctx.Err(), context.Canceled):
		log.Debug("collection left to another", "err", err)
	case errors.Is(err, store.ErrUnavailable):
		log.Warn("old objects stay for now: etcd does not answer", "err", err)
	case err != nil:
		log.Error("old objects stay: nothing is removed while something is wrong", "err", err)
	case got.RemovedObjects+got.RemovedEvents > 0:
		log.Info("old objects removed", "objects", got.RemovedObjects, "events", got.RemovedEvents,
			"kept_objects", got.Objects, "generations", got.Generations, "oldest", got.Floor.String())
	}
	if got.Missing > 0 {
		log.Error("objects of generations that are kept are missing: restore a backup, or roll back to what is whole", "objects", got.Missing)
	}
}

// Collect collects once. What is older than something is so by the clock on the
// wall and by the monotonic one that continues the time at the start: a clock
// that jumps ahead removes nothing (invariant 17).
func (c *Collector) Collect(ctx context.Context) (store.Collected, error) {
	now := time.Now()
	steady := c.started.Add(now.Sub(c.started)).Round(0)
	if wall := now.Round(0); wall.Before(steady) {
		steady = wall
	}
	return c.opts.Catalog.store.Collect(ctx, store.CollectOptions{
		Retention: c.opts.Retention, Controller: c.opts.Name, Now: steady,
		References: references,
		Trust: func(h store.Head) error {
			_, err := c.opts.Catalog.check(h)
			return err
		},
		NotWithin: c.opts.Every / 2,
	})
}

// references lists what a manifest refers to.
func references(manifest []byte) ([]store.Reference, error) {
	m := &pb.Manifest{}
	if err := proto.Unmarshal(manifest, m); err != nil {
		return nil, fmt.Errorf("not a manifest: %w", err)
	}
	if err := config.CheckManifest(m); err != nil {
		return nil, err
	}
	var refs []store.Reference
	for _, e := range m.GetEntries() {
		rest := e.GetSize()
		for _, p := range e.GetParts() {
			size := min(rest, config.MaxObjectSize) // every part but the last is full
			refs = append(refs, store.Reference{Digest: store.Digest(p), Size: size})
			rest -= size
		}
	}
	return refs, nil
}

type collectorMetrics struct {
	generations, objects, bytes, young, missing, last, total, used prometheus.Gauge
	removedObjects, removedEvents, failures                        prometheus.Counter
}

func (m *collectorMetrics) register(r prometheus.Registerer) {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "fairlead_controller_" + name, Help: help})
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "fairlead_controller_" + name, Help: help})
	}
	m.generations = gauge("collection_kept_generations", "Generations that are kept, as of the last collection.")
	m.objects = gauge("collection_kept_objects", "Objects that kept generations refer to, as of the last collection.")
	m.bytes = gauge("collection_kept_bytes", "Size of the configuration objects that kept generations refer to, as of the last collection.")
	m.young = gauge("collection_young_objects", "Objects that no generation refers to and that are too young to be removed, as of the last collection.")
	m.missing = gauge("collection_missing_objects", "Objects that kept generations refer to and that are not in the store, as of the last collection.")
	m.last = gauge("collection_last_success_timestamp_seconds", "When this controller last collected.")
	m.total = gauge("store_database_bytes", "Size of etcd's largest database file.")
	m.used = gauge("store_database_used_bytes", "What of it is in use; the rest is there to be defragmented.")
	m.removedObjects = counter("collection_removed_objects_total", "Objects removed by this controller.")
	m.removedEvents = counter("collection_removed_events_total", "Audit events removed by this controller.")
	m.failures = counter("collection_failures_total", "Collections that ended with an error.")
	if r != nil {
		r.MustRegister(m.generations, m.objects, m.bytes, m.young, m.missing, m.last, m.total, m.used,
			m.removedObjects, m.removedEvents, m.failures)
	}
}

func (m *collectorMetrics) ran(got store.Collected, err error) {
	m.removedObjects.Add(float64(got.RemovedObjects))
	m.removedEvents.Add(float64(got.RemovedEvents))
	switch {
	case err != nil:
		if !errors.Is(err, store.ErrCollecting) {
			m.failures.Inc()
		}
	case !got.Skipped:
		m.generations.Set(float64(got.Generations))
		m.objects.Set(float64(got.Objects))
		m.bytes.Set(float64(got.Bytes))
		m.young.Set(float64(got.Young))
		m.missing.Set(float64(got.Missing))
		m.last.SetToCurrentTime()
	}
}

func (m *collectorMetrics) sized(total, used int64) {
	m.total.Set(float64(total))
	m.used.Set(float64(used))
}
