/* Which kernel tables this CPU and this operating system support, best first. The list is all there is to dispatch: the caller goes down it.
   CPUID says what the CPU has; XCR0 says whether the system saves the wide registers. */
#include "dino_kernels.h"

extern const dk_table dk_table__portable;
enum { MOST = 7 };

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

extern const dk_table dk_table__amx;
extern const dk_table dk_table__avx512_bf16;
extern const dk_table dk_table__avx512_vnni;
extern const dk_table dk_table__avx512;
extern const dk_table dk_table__avx_vnni;
extern const dk_table dk_table__avx2;

enum { FMA = 1, F16C = 2, AVX2 = 4, AVX512 = 8, VNNI512 = 16, BF16 = 32, AVXVNNI = 64, AMX = 128 };

/* Linux saves the tile registers of processes that asked for them, once, for all of their threads. */
static int tiles_granted(void) {
#if defined(__linux__)
  enum { ARCH_REQ_XCOMP_PERM = 0x1023, XTILEDATA = 18 };
  return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA) == 0;
#else
  return 0;
#endif
}

static unsigned features(void) {
  unsigned a, b, c, d, found = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return 0;
  const unsigned osxsave = c >> 27 & 1, avx = c >> 28 & 1, fma = c >> 12 & 1, f16c = c >> 29 & 1;
  if (!osxsave || !avx) return 0;
  unsigned low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  if ((low & 0x6) != 0x6) return 0; /* xmm and ymm state */
  const unsigned wide = (low & 0xE6) == 0xE6; /* and opmask, zmm */
  if (fma) found |= FMA;
  if (f16c) found |= F16C;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return found;
  if (b >> 5 & 1) found |= AVX2;
  if (wide && (b >> 16 & 1) && (b >> 17 & 1) && (b >> 30 & 1) && (b >> 31 & 1)) {
    found |= AVX512;
    if (c >> 11 & 1) found |= VNNI512;
  }
  const unsigned tiles = (low >> 17 & 3) == 3 && (d >> 22 & 1) && (d >> 24 & 1) && (d >> 25 & 1); /* their state; bf16, tiles, int8 */
  if (__get_cpuid_count(7, 1, &a, &b, &c, &d)) {
    if ((found & AVX512) && (a >> 5 & 1)) found |= BF16;
    if (a >> 4 & 1) found |= AVXVNNI;
  }
  if (tiles && (found & VNNI512) && (found & BF16)) found |= AMX;
  return found;
}

/* Intel's cores have the bfloat16 products of AVX-512 at half the rate of f32's multiply-adds (AMD's at twice): there widened weights are faster. */
static int dots_are_slow(void) {
  unsigned a, b, c, d;
  return __get_cpuid(0, &a, &b, &c, &d) && b == 0x756E6547 && d == 0x49656E69 && c == 0x6C65746E; /* "GenuineIntel" */
}

const char *dk_cpu_features(void) {
  static const char *const names[] = {"avx2 fma", "avx2 fma avx-vnni", "avx2 fma avx512", "avx2 fma avx512 avx512-vnni",
                                      "avx2 fma avx512 avx512-vnni avx512-bf16", "baseline x86-64", "avx2 fma avx512 avx512-vnni avx512-bf16 amx"};
  const unsigned f = features();
  if (f & AVX512) return names[f & AMX ? 6 : f & BF16 ? 4 : f & VNNI512 ? 3 : 2];
  if ((f & AVX2) && (f & FMA)) return names[f & AVXVNNI ? 1 : 0];
  return names[5];
}

static ptrdiff_t list(const dk_table *out[MOST]) {
  const unsigned f = features();
  ptrdiff_t n = 0;
  const unsigned base = AVX2 | FMA | F16C;
  if ((f & (base | AMX)) == (base | AMX) && tiles_granted()) out[n++] = &dk_table__amx;
  const int bf16 = (f & (base | AVX512 | VNNI512 | BF16)) == (base | AVX512 | VNNI512 | BF16), last = bf16 && dots_are_slow();
  if (bf16 && !last) out[n++] = &dk_table__avx512_bf16;
  if ((f & (base | AVX512 | VNNI512)) == (base | AVX512 | VNNI512)) out[n++] = &dk_table__avx512_vnni;
  if (last) out[n++] = &dk_table__avx512_bf16;
  if ((f & (base | AVX512)) == (base | AVX512)) out[n++] = &dk_table__avx512;
  if ((f & (base | AVXVNNI)) == (base | AVXVNNI)) out[n++] = &dk_table__avx_vnni;
  if ((f & base) == base) out[n++] = &dk_table__avx2;
  out[n++] = &dk_table__portable;
  return n;
}

#elif defined(__aarch64__)

#include <sys/auxv.h>

extern const dk_table dk_table__neon_bf16;
extern const dk_table dk_table__neon_dotprod;
extern const dk_table dk_table__neon;

static int has_dotprod(void) { return getauxval(AT_HWCAP) >> 20 & 1; } /* HWCAP_ASIMDDP */

static int has_bf16(void) { return has_dotprod() && getauxval(AT_HWCAP2) >> 14 & 1; } /* HWCAP2_BF16 */

const char *dk_cpu_features(void) { return has_bf16() ? "neon dotprod bf16" : has_dotprod() ? "neon dotprod" : "neon"; }

static ptrdiff_t list(const dk_table *out[MOST]) {
  ptrdiff_t n = 0;
  if (has_bf16()) out[n++] = &dk_table__neon_bf16;
  if (has_dotprod()) out[n++] = &dk_table__neon_dotprod;
  out[n++] = &dk_table__neon; /* part of the architecture */
  out[n++] = &dk_table__portable;
  return n;
}

#else

const char *dk_cpu_features(void) { return "baseline"; }

static ptrdiff_t list(const dk_table *out[MOST]) {
  out[0] = &dk_table__portable;
  return 1;
}

#endif

ptrdiff_t dk_table_count(void) {
  const dk_table *tables[MOST];
  return list(tables);
}

const dk_table *dk_table_at(ptrdiff_t index) {
  const dk_table *tables[MOST];
  return index >= 0 && index < list(tables) ? tables[index] : 0;
}
