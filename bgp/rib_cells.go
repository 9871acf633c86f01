package bgp

import "unsafe"

// Entries and cells are kept in chunks of this many, so that growing copies nothing
// and frees nothing.
const (
	chunkBits = 10
	chunkSize = 1 << chunkBits
)

// cells are the cells of one column, by entry.
type cells struct {
	chunks []*cellChunk
	// used counts the cells in each chunk that are not empty. Chunks without any go.
	used []uint16
}

type cellChunk [chunkSize]cell

// at returns the cell of entry i, or nil if its chunk does not exist.
func (c *cells) at(i uint32) *cell {
	k := int(i >> chunkBits)
	if k >= len(c.chunks) || c.chunks[k] == nil {
		return nil
	}
	return &c.chunks[k][i%chunkSize]
}

// make makes the chunk of entry i and returns i's cell.
func (c *cells) make(i uint32) *cell {
	k := int(i >> chunkBits)
	for len(c.chunks) <= k {
		c.chunks, c.used = append(c.chunks, nil), append(c.used, 0)
	}
	c.chunks[k] = new(cellChunk)
	return &c.chunks[k][i%chunkSize]
}

// filled says that the cell of i was empty and is not any more.
func (c *cells) filled(i uint32) { c.used[i>>chunkBits]++ }

// emptied says that the cell of i is empty now.
func (c *cells) emptied(i uint32) {
	k := i >> chunkBits
	c.used[k]--
	if c.used[k] == 0 {
		c.chunks[k] = nil
	}
}

// each calls f for each cell that is not empty. f may empty it.
func (c *cells) each(f func(i uint32, at *cell)) {
	for k, chunk := range c.chunks {
		if chunk == nil {
			continue
		}
		for j := range chunk {
			if chunk[j] != 0 {
				f(uint32(k<<chunkBits|j), &chunk[j]) //nolint:gosec // Entries are counted in 32 bits.
			}
		}
	}
}

// size returns the memory of c in octets.
func (c *cells) size() int {
	n := cap(c.chunks)*int(unsafe.Sizeof((*cellChunk)(nil))) + cap(c.used)*2
	for _, chunk := range c.chunks {
		if chunk != nil {
			n += int(unsafe.Sizeof(*chunk))
		}
	}
	return n
}
