// C face of libjpeg-turbo, libpng, libwebp and libtiff, and the inner loops of resampling. Each decoder works from bytes in
// memory to 8-bit RGB in memory that the caller allocated, in two calls: read_info (header only) and decode. Nothing here opens
// files, prints, or holds state between calls; errors come back as a status and one sentence.
#ifndef DINO_IMAGE_CODECS_H
#define DINO_IMAGE_CODECS_H

#include <stddef.h>
#include <stdint.h>

#define IC_MESSAGE_SIZE 200

typedef enum {
  IC_OK = 0,
  IC_CORRUPT = 1,      // the bytes are damaged, truncated or contradict themselves
  IC_UNSUPPORTED = 2,  // well-formed, but of a kind that is not decoded here
  IC_TOO_LARGE = 3,    // decoding needs more working memory than the limit
  IC_NO_MEMORY = 4,    // an allocation failed
} ic_status;

typedef struct {
  uint32_t width, height;  // of the stored raster, before any orientation
  uint32_t orientation;    // TIFF tag 274 where the format itself has it (TIFF); otherwise 1
  uint64_t working_bytes;  // memory that decoding needs beside the output
  uint32_t is_wide_grey;   // 1 for grey of 16 bits and more, whose values above 255 are cut off
  uint32_t has_more_pages; // 1 for TIFF with further pages, which are not read; smaller forms of the first and masks are none
} ic_info;

// message: IC_MESSAGE_SIZE bytes, NUL-terminated on return, empty on success.
ic_status ic_jpeg_read_info(const uint8_t *data, size_t size, ic_info *info, char *message);
ic_status ic_png_read_info(const uint8_t *data, size_t size, ic_info *info, char *message);
ic_status ic_webp_read_info(const uint8_t *data, size_t size, ic_info *info, char *message);
ic_status ic_tiff_read_info(const uint8_t *data, size_t size, uint64_t memory_limit, ic_info *info, char *message);

// What grey of 16 bits and more has besides 0, before values above 255 are cut off: *levels is the sum of these, 0 for other pictures.
#define IC_LEVELS_LOW 1      // 1 to 255
#define IC_LEVELS_BETWEEN 2  // above 255, but not white
#define IC_LEVELS_WHITE 4    // 65535
static inline int ic_level(int64_t v) { return v <= 0 ? 0 : v <= 255 ? IC_LEVELS_LOW : v == 65535 ? IC_LEVELS_WHITE : IC_LEVELS_BETWEEN; }

// rgb: width * height * 3 bytes, of the size that read_info gave. On failure its contents are undefined.
ic_status ic_jpeg_decode(const uint8_t *data, size_t size, uint8_t *rgb, uint32_t width, uint32_t height, char *message);
// *alpha_varies becomes 1 where pixels differ in an alpha channel, which rgb has not, and 0 otherwise. *levels: see above.
ic_status ic_png_decode(const uint8_t *data, size_t size, uint8_t *rgb, uint32_t width, uint32_t height, int *alpha_varies, int *levels, char *message);
ic_status ic_webp_decode(const uint8_t *data, size_t size, uint8_t *rgb, uint32_t width, uint32_t height, char *message);
ic_status ic_tiff_decode(const uint8_t *data, size_t size, uint64_t memory_limit, uint8_t *rgb, uint32_t width, uint32_t height,
                         int *levels, char *message);

// The EXIF block of a WebP file: offset and length inside data, or zero length where there is none.
void ic_webp_exif(const uint8_t *data, size_t size, size_t *offset, size_t *length);

// 8-bit PNG of 1 (grey), 3 (RGB) or 4 (RGBA) channels, or, with bilevel, 1 bit per pixel (0 black, other white) from one channel. With colours > 0
// (at most 256, three bytes each in palette) one channel of 8-bit indices of that palette.
// *out is malloc'ed, to be freed with ic_free. level: zlib's 1...9.
ic_status ic_png_encode(const uint8_t *pixels, uint32_t width, uint32_t height, int channels, int bilevel, const uint8_t *palette, int colours,
                        int level, uint8_t **out, size_t *out_size, char *message);
void ic_free(void *p);

// ---- resampling (resample.c) ----

// Coefficients of one axis in the form the loops read: for each output sample a run of `taps` (a multiple of 4) 15-bit low parts
// and signed high parts of the 22-bit fixed-point weights, zero beyond the filter's own length, and the first source sample.
typedef struct {
  int32_t count;         // output samples
  int32_t taps;          // padded taps for each, a multiple of 4
  const int32_t *first;  // [count] first source sample
  const int32_t *used;   // [count] taps that are not padding
  const int32_t *whole;  // [count * taps] fixed-point weights
  const int16_t *low;    // [count * taps] whole & 0x7FFF
  const int16_t *high;   // [count * taps] whole >> 15
} ic_filter;

// 1 where the AVX2 loops can run here.
int ic_has_avx2(void);

// Horizontal pass: rows of interleaved 8-bit pixels to rows of filter->count pixels. src_size bounds every read. scratch:
// at least the bytes that padded taps reach past a row's start: (max first + taps) * channels + 16. use_avx2 chooses the loop, never the result.
void ic_resample_rows(const uint8_t *src, size_t src_size, size_t src_stride, int rows, int channels, uint8_t *dst, size_t dst_stride,
                      const ic_filter *filter, uint8_t *scratch, int use_avx2);

// Vertical pass: each output row is a weighted sum of the source rows first ..< first + used; row_bytes bytes of each row count.
void ic_resample_columns(const uint8_t *src, size_t src_stride, size_t row_bytes, uint8_t *dst, size_t dst_stride,
                         const ic_filter *filter, int use_avx2);

// Interleaved RGB rows to three planes of floats by a table of 256 for each channel: plane c gets table[256*c + value].
void ic_normalize_rgb(const uint8_t *src, size_t src_stride, int width, int height, const float *table, float *planes,
                      size_t plane_stride, size_t row_stride);

#endif
