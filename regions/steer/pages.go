package steer

import "slices"

// pages is a long table of which a changed copy shares all pages but those
// that hold a change: a verdict must not cost a copy of every other.
type pages[T any] [][]T

const pageSize = 512

// paged makes pages of a table, which it takes over.
func paged[T any](table []T) pages[T] { return slices.Collect(slices.Chunk(table, pageSize)) }

func (p pages[T]) at(i int32) T { return p[i/pageSize][i%pageSize] }

// with returns a copy that has other entries at some places, which ascend.
func (p pages[T]) with(at []int32, entries []T) pages[T] {
	n := slices.Clone(p)
	own := int32(-1)
	for k, i := range at {
		page := i / pageSize
		if page != own {
			n[page], own = slices.Clone(n[page]), page
		}
		n[page][i%pageSize] = entries[k]
	}
	return n
}
