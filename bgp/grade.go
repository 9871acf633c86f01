package bgp

import "math"

// grade is all of an accepted path that ranks it, and nothing else: few differ, so
// they are kept once each. It is comparable.
type grade struct {
	// tier comes before everything but last; lower is better.
	tier int16
	// preference is the local preference; higher is better.
	preference uint32
	// length of the AS path; shorter is better, unless ASPathIgnore.
	length uint16
	// origin is 0 for IGP, 1 for EGP, 2 for incomplete; lower is better.
	origin uint8
	// med is 0 where the path has none (RFC 4271 section 9.1.2.2 c: the lowest possible
	// value); lower is better among paths of one neighbour.
	med uint32
	// neighbour is the AS that the path was received from.
	neighbour uint32
	// last: behind everything else of whatever tier (drained by us, or graceful
	// shutdown received, RFC 8326).
	last bool
	// draining: graceful shutdown was received.
	draining bool
}

// gradeTable keeps each grade once, with the number of paths that have it. Its
// pointers are few, however many paths there are.
type gradeTable struct {
	ids  map[grade]uint32
	list []gradeRef
	free []uint32
}

type gradeRef struct {
	grade grade
	// paths counts the paths with this grade; a grade with none is forgotten.
	paths uint32
}

// id returns the number of g. It is good until the last path with it is gone, and
// where no path has it yet, until the next call. hint is a number that was g's at some
// time, if there is one: paths come in runs that share their attributes.
func (t *gradeTable) id(g *grade, hint uint32) uint32 {
	if int(hint) < len(t.list) && t.list[hint].paths > 0 && t.list[hint].grade == *g {
		return hint
	}
	if id, ok := t.ids[*g]; ok {
		return id
	}
	if t.ids == nil {
		t.ids = make(map[grade]uint32)
	}
	id := uint32(len(t.list)) //nolint:gosec // A table of 4 billion grades does not fit.
	if n := len(t.free); n > 0 {
		id, t.free = t.free[n-1], t.free[:n-1]
		t.list[id] = gradeRef{grade: *g}
	} else {
		t.list = append(t.list, gradeRef{grade: *g})
	}
	t.ids[*g] = id
	return id
}

// at returns the grade with this number.
func (t *gradeTable) at(id uint32) *grade { return &t.list[id].grade }

// hold counts one more path with the grade.
func (t *gradeTable) hold(id uint32) { t.list[id].paths++ }

// release counts one path less, and forgets the grade with the last one.
func (t *gradeTable) release(id uint32) {
	ref := &t.list[id]
	ref.paths--
	if ref.paths > 0 {
		return
	}
	delete(t.ids, ref.grade)
	if len(t.ids) == 0 {
		// Maps and slices do not shrink by themselves.
		*t = gradeTable{}
		return
	}
	t.free = append(t.free, id)
}

// usable reports whether b is a bandwidth: positive and finite.
func usable(b float32) bool {
	return b > 0 && !math.IsInf(float64(b), 0)
}
