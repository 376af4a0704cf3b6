/* What the kernel benchmarks share: a clock, memory in huge pages, and the order of numbers. */
#define _GNU_SOURCE
#include "dino_kernels.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void *huge(size_t bytes) {
  const size_t page = 2 << 20, all = (bytes + page - 1) / page * page;
  char *p = aligned_alloc(page, all);
  madvise(p, all, MADV_HUGEPAGE);
  memset(p, 0, all);
  return p;
}

static float *floats(size_t n) {
  float *p = huge(n * 4);
  for (size_t i = 0; i < n; i++) p[i] = (float)rand() / (float)RAND_MAX - 0.5f;
  return p;
}

static int compare(const void *a, const void *b) { return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b); }
