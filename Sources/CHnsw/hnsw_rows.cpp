// See hnsw_rows.h.

// hnswlib's own vector code reads one word behind its lists to prefetch; distances are ours anyway.
#define NO_MANUAL_VECTORIZATION
#include "hnsw_rows.h"
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Weverything"
#include <hnswlib/hnswlib.h>
#pragma clang diagnostic pop
#include <algorithm>
#include <cstring>
#include <new>
#include <vector>

#if defined(__x86_64__) && defined(__GLIBC__)
#define FOR_EACH_CPU __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define FOR_EACH_CPU
#endif

namespace {

// What the graph holds for each point: a row's number, or, for a question, where its floats are.
typedef uint64_t Cell;
constexpr Cell question = Cell(1) << 63;

constexpr size_t lanes = 32;

// Σ a · b in floats, whatever the elements are. Inlined into a function for each pair of types, which is what is compiled for each CPU.
template <class A, class B>
inline __attribute__((always_inline)) float dot(const A *a, const B *b, size_t n) {
  float sums[lanes] = {};
  size_t i = 0;
  for (; i + lanes <= n; i += lanes)
    for (size_t k = 0; k < lanes; k++) sums[k] += float(a[i + k]) * float(b[i + k]);
  float total = 0;
  for (; i < n; i++) total += float(a[i]) * float(b[i]);
  for (size_t k = 0; k < lanes; k++) total += sums[k];
  return total;
}
FOR_EACH_CPU float dot_f32(const float *a, const float *b, size_t n) { return dot(a, b, n); }
FOR_EACH_CPU float dot_f16_f32(const _Float16 *a, const float *b, size_t n) { return dot(a, b, n); }
FOR_EACH_CPU float dot_f16(const _Float16 *a, const _Float16 *b, size_t n) { return dot(a, b, n); }
FOR_EACH_CPU float dot_i8_f32(const int8_t *a, const float *b, size_t n) { return dot(a, b, n); }

// Rows are at most 2^20 wide and their products at most 127 · 128, so 64 bits hold any sum and 32 bits that of a piece.
FOR_EACH_CPU float dot_i8(const int8_t *a, const int8_t *b, size_t n) {
  int64_t total = 0;
  for (size_t start = 0; start < n; start += 65536) {
    const size_t end = std::min(n, start + 65536);
    int32_t piece = 0;
    for (size_t i = start; i < end; i++) piece += int32_t(a[i]) * int32_t(b[i]);
    total += piece;
  }
  return float(total);
}

struct Rows {
  struct Part {
    hnsw_part part;
    size_t first;
  };
  std::vector<Part> parts;
  size_t width, count = 0;
  hnsw_element element;

  const Part &part(size_t row) const {
    // Banks have few parts; the last that starts at or before the row.
    return *(std::upper_bound(parts.begin(), parts.end(), row, [](size_t r, const Part &p) { return r < p.first; }) - 1);
  }

  static float scale(const Part &part, size_t row) { return part.part.scales ? part.part.scales[row] : 1; }

  float product(Cell a, Cell b) const {
    if (a & question) std::swap(a, b);
    const Part &pa = part(a);
    const size_t ia = a - pa.first;
    if (b & question) {
      const float *q = reinterpret_cast<const float *>(b & ~question);
      switch (element) {
        case HNSW_F32: return dot_f32(static_cast<const float *>(pa.part.rows) + ia * width, q, width);
        case HNSW_F16: return dot_f16_f32(static_cast<const _Float16 *>(pa.part.rows) + ia * width, q, width) * scale(pa, ia);
        case HNSW_I8: return dot_i8_f32(static_cast<const int8_t *>(pa.part.rows) + ia * width, q, width) * scale(pa, ia);
      }
    }
    const Part &pb = part(b);
    const size_t ib = b - pb.first;
    switch (element) {
      case HNSW_F32: return dot_f32(static_cast<const float *>(pa.part.rows) + ia * width, static_cast<const float *>(pb.part.rows) + ib * width, width);
      case HNSW_F16: return dot_f16(static_cast<const _Float16 *>(pa.part.rows) + ia * width, static_cast<const _Float16 *>(pb.part.rows) + ib * width, width) * scale(pa, ia) * scale(pb, ib);
      case HNSW_I8: return dot_i8(static_cast<const int8_t *>(pa.part.rows) + ia * width, static_cast<const int8_t *>(pb.part.rows) + ib * width, width) * scale(pa, ia) * scale(pb, ib);
    }
    return 0;
  }
};

float distance(const void *a, const void *b, const void *rows) {
  Cell x, y;
  std::memcpy(&x, a, sizeof x);
  std::memcpy(&y, b, sizeof y);
  return 1 - static_cast<const Rows *>(rows)->product(x, y);
}

struct Space : hnswlib::SpaceInterface<float> {
  Rows *rows;
  size_t get_data_size() override { return sizeof(Cell); }
  hnswlib::DISTFUNC<float> get_dist_func() override { return distance; }
  void *get_dist_func_param() override { return rows; }
};

}  // namespace

struct hnsw_graph {
  Rows rows;
  Space space;
  hnswlib::HierarchicalNSW<float> *graph = nullptr;
  size_t links;
  // Where each row is in hnswlib's order: threads put rows in as they come.
  std::vector<uint32_t> places;
  ~hnsw_graph() { delete graph; }
};

hnsw_graph *hnsw_make(const hnsw_part *parts, size_t part_count, size_t width, enum hnsw_element element, size_t links, size_t breadth) {
  hnsw_graph *g = nullptr;
  try {
    g = new hnsw_graph;
    g->rows.width = width;
    g->rows.element = element;
    for (size_t i = 0; i < part_count; i++) {
      if (parts[i].count == 0) continue;
      g->rows.parts.push_back({parts[i], g->rows.count});
      g->rows.count += parts[i].count;
    }
    g->space.rows = &g->rows;
    g->links = links;
    g->places.resize(g->rows.count);
    g->graph = new hnswlib::HierarchicalNSW<float>(&g->space, g->rows.count, links, breadth);
    return g;
  } catch (...) {
    delete g;
    return nullptr;
  }
}

void hnsw_free(hnsw_graph *g) { delete g; }

int hnsw_add(hnsw_graph *g, size_t row) {
  try {
    const Cell cell = row;
    g->places[row] = g->graph->addPoint(&cell, row, -1);
    return 0;
  } catch (...) {
    return 1;
  }
}

int hnsw_level(const hnsw_graph *g, size_t row) { return g->graph->element_levels_[g->places[row]]; }

size_t hnsw_links_of(const hnsw_graph *g, size_t row, int level, uint32_t *out) {
  const hnswlib::linklistsizeint *list = g->graph->get_linklist_at_level(g->places[row], level);
  unsigned short count;
  std::memcpy(&count, list, sizeof count);
  for (size_t i = 0; i < count; i++) out[i] = uint32_t(g->graph->getExternalLabel(list[1 + i]));
  return count;
}

size_t hnsw_entry(const hnsw_graph *g) { return g->graph->getExternalLabel(g->graph->enterpoint_node_); }

int hnsw_restore(hnsw_graph *g, size_t row, int level) {
  auto &h = *g->graph;
  char *element = h.data_level0_memory_ + row * h.size_data_per_element_;
  std::memset(element, 0, h.size_data_per_element_);
  const Cell cell = row;
  std::memcpy(element + h.offsetData_, &cell, sizeof cell);
  h.setExternalLabel(hnswlib::tableint(row), row);
  if (level > 0) {
    h.linkLists_[row] = static_cast<char *>(std::calloc(1, h.size_links_per_element_ * size_t(level) + 1));
    if (!h.linkLists_[row]) return 1;
  }
  h.element_levels_[row] = level;
  h.cur_element_count = row + 1;
  g->places[row] = uint32_t(row);
  return 0;
}

void hnsw_restore_links(hnsw_graph *g, size_t row, int level, const uint32_t *links, size_t count) {
  hnswlib::linklistsizeint *list = g->graph->get_linklist_at_level(hnswlib::tableint(row), level);
  const unsigned short stored = static_cast<unsigned short>(count);
  std::memcpy(list, &stored, sizeof stored);
  std::memcpy(list + 1, links, count * sizeof *links);
}

void hnsw_restore_entry(hnsw_graph *g, size_t row) {
  g->graph->enterpoint_node_ = hnswlib::tableint(row);
  g->graph->maxlevel_ = g->graph->element_levels_[row];
}

void hnsw_remove(hnsw_graph *g, size_t row) {
  const hnswlib::tableint place = g->places[row];
  if (!g->graph->isMarkedDeleted(place)) g->graph->markDeletedInternal(place);
}

long hnsw_search(const hnsw_graph *g, const float *query, size_t count, size_t breadth, uint32_t *rows, float *scores) {
  try {
    const Cell cell = question | reinterpret_cast<uintptr_t>(query);
    // What `searchKnn` looks at is the larger of its own breadth and what is asked for: the rest is left out here, so that searches at once do not share a setting.
    auto found = g->graph->searchKnn(&cell, std::max(count, breadth));
    while (found.size() > count) found.pop();
    const long n = long(found.size());
    for (long i = n - 1; i >= 0; i--) {
      rows[i] = uint32_t(found.top().second);
      scores[i] = 1 - found.top().first;
      found.pop();
    }
    return n;
  } catch (...) {
    return -1;
  }
}
