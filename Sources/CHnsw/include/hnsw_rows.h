// Debian's hnswlib (hierarchical navigable small worlds, Malkov and Yashunin) over rows that stay where they are: the graph holds row numbers, distances are 1 minus the dot
// product of the rows themselves. It reads and writes no files: links are handed out and taken back one list at a time. No exception leaves it.
#pragma once
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// What rows are made of.
enum hnsw_element { HNSW_F32 = 0, HNSW_F16 = 1, HNSW_I8 = 2 };

/// A run of rows, one after the other; `scales` (one a row) for HNSW_I8 only. The memory must outlive the graph.
typedef struct hnsw_part {
  const void *rows;
  const float *scales;
  size_t count;
} hnsw_part;

typedef struct hnsw_graph hnsw_graph;

/// A graph over all rows of the parts (below 2^31), numbered through, with no row in it yet. NULL where there is not enough memory.
hnsw_graph *hnsw_make(const hnsw_part *parts, size_t part_count, size_t width, enum hnsw_element element, size_t links, size_t breadth);
void hnsw_free(hnsw_graph *graph);

/// Puts one row in. Any number of threads, each with rows of its own, none twice. 0 where it was done.
int hnsw_add(hnsw_graph *graph, size_t row);

/// Once every row is in: each row's highest level, its links on a level (at most 2 · links on level 0, links above; row numbers), and the row that searches begin at.
int hnsw_level(const hnsw_graph *graph, size_t row);
size_t hnsw_links_of(const hnsw_graph *graph, size_t row, int level, uint32_t *out);
size_t hnsw_entry(const hnsw_graph *graph);

/// Puts rows in as they were: all of them in order, first the level of each, then its links on each level, then the entry. The caller has checked that counts fit, that links are rows
/// of that level at least, and that the entry has the highest level. 0 where it was done.
int hnsw_restore(hnsw_graph *graph, size_t row, int level);
void hnsw_restore_links(hnsw_graph *graph, size_t row, int level, const uint32_t *links, size_t count);
void hnsw_restore_entry(hnsw_graph *graph, size_t row);

/// The row is no answer any more; searches still pass through it.
void hnsw_remove(hnsw_graph *graph, size_t row);

/// At most `count` rows near to the query (f32), best first, looking at `breadth` candidates. How many were found; -1 where there was not enough memory.
long hnsw_search(const hnsw_graph *graph, const float *query, size_t count, size_t breadth, uint32_t *rows, float *scores);

#ifdef __cplusplus
}
#endif
