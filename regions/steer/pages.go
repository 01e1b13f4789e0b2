package steer

import "slices"

// pages is a long table of which a changed copy shares all pages but those
// that hold a change: a verdict must not cost a copy of every other.
type pages[T any] [][]T

const pageSize = 512

// paged makes pages of a table, which it takes over.
func paged[T any](table []T) pages[T] { return slices.Collect(slices.Chunk(table, pageSize)) }

func (p pages[T]) at(i int32) T { return p[i/pageSize][i%pageSize] }

// ptr returns where an entry is, to be read only.
func (p pages[T]) ptr(i int32) *T { return &p[i/pageSize][i%pageSize] }

// with returns a copy that differs in what changed holds.
func (p pages[T]) with(changed map[int32]T) pages[T] {
	n := slices.Clone(p)
	own := make(map[int32]bool, min(len(changed), len(p)))
	for i, x := range changed {
		if page := i / pageSize; !own[page] {
			n[page], own[page] = slices.Clone(n[page]), true
		}
		n[i/pageSize][i%pageSize] = x
	}
	return n
}
