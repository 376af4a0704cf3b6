// PNG to RGB and back through libpng. Values are those of Pillow's convert('RGB'): transparency is dropped, 16-bit colour keeps its
// high byte, 16-bit grey is clipped at 255 (Pillow's I;16 rule), palette entries that do not exist are black. No gamma, no profile.

#include "internal.h"
#include <png.h>
#include <setjmp.h>
#include <stdlib.h>

typedef struct {
  const uint8_t *data;
  size_t size, position;
  char *message;
} reader;

static void on_error(png_structp png, png_const_charp text) {
  reader *r = png_get_error_ptr(png);
  snprintf(r->message, IC_MESSAGE_SIZE, "%.180s", text);
  longjmp(png_jmpbuf(png), 1);
}

static void on_warning(png_structp png, png_const_charp text) {
  (void)png;
  (void)text;
}

static void read_bytes(png_structp png, png_bytep out, size_t count) {
  reader *r = png_get_io_ptr(png);
  if (count > r->size - r->position) png_error(png, "the file is truncated");
  memcpy(out, r->data + r->position, count);
  r->position += count;
}

static png_structp new_reader(reader *r) {
  png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, r, on_error, on_warning);
  if (!png) return NULL;
  png_set_read_fn(png, r, read_bytes);
  png_set_user_limits(png, 0x7FFFFFFF, 0x7FFFFFFF);  // the pixel limit is the caller's, and comes before any row is allocated
  png_set_chunk_cache_max(png, 64);
  png_set_chunk_malloc_max(png, 8 << 20);
#ifdef PNG_HANDLE_AS_UNKNOWN_SUPPORTED
  // Text and profiles can be compressed bombs and change no pixel: not even inflated.
  static const png_byte ignored[] = "iCCP\0zTXt\0iTXt\0tEXt\0sPLT\0hIST\0pCAL\0eXIf";
  png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, ignored, 8);
#endif
  return png;
}

// Deflate shrinks at most 1032 to 1, so a short file cannot hold a large picture.
static int is_impossible(png_structp png, png_infop info, size_t size) {
  uint64_t raw = (uint64_t)png_get_rowbytes(png, info) * png_get_image_height(png, info);
  return png_get_interlace_type(png, info) == PNG_INTERLACE_NONE && raw / 1032 > size;
}

static uint64_t working_bytes(png_structp png, png_infop info) {
  uint64_t row = (uint64_t)png_get_image_width(png, info) * 8;
  return png_get_interlace_type(png, info) == PNG_INTERLACE_NONE ? row * 4 : row * (4 + (uint64_t)png_get_image_height(png, info));
}

ic_status ic_png_read_info(const uint8_t *data, size_t size, ic_info *out, char *message) {
  reader r = {data, size, 0, message};
  message[0] = 0;
  png_structp png = new_reader(&r);
  if (!png) return ic_fail(message, IC_NO_MEMORY, "out of memory");
  png_infop info = png_create_info_struct(png);
  if (!info) {
    png_destroy_read_struct(&png, NULL, NULL);
    return ic_fail(message, IC_NO_MEMORY, "out of memory");
  }
  if (setjmp(png_jmpbuf(png))) {
    png_destroy_read_struct(&png, &info, NULL);
    return IC_CORRUPT;
  }
  png_read_info(png, info);
  ic_status status = IC_OK;
  if (is_impossible(png, info, size)) status = ic_fail(message, IC_CORRUPT, "the file is far too short for the size its header gives");
  out->width = png_get_image_width(png, info);
  out->height = png_get_image_height(png, info);
  out->orientation = 1;
  out->working_bytes = working_bytes(png, info);
  out->is_wide_grey = png_get_color_type(png, info) == PNG_COLOR_TYPE_GRAY && png_get_bit_depth(png, info) == 16;
  png_destroy_read_struct(&png, &info, NULL);
  return status;
}

typedef enum { ROW_RGB, ROW_GREY, ROW_GREY_ALPHA, ROW_RGBA, ROW_PALETTE, ROW_GREY16 } row_kind;

static void expand_row(row_kind kind, const uint8_t *in, uint8_t *rgb, uint32_t width, const uint8_t *palette) {
  for (uint32_t x = 0; x < width; x++, rgb += 3) {
    switch (kind) {
      case ROW_RGB: memcpy(rgb, in + 3 * (size_t)x, 3); break;
      case ROW_RGBA: memcpy(rgb, in + 4 * (size_t)x, 3); break;
      case ROW_PALETTE: memcpy(rgb, palette + 3 * (size_t)in[x], 3); break;
      case ROW_GREY: memset(rgb, in[x], 3); break;
      case ROW_GREY_ALPHA: memset(rgb, in[2 * (size_t)x], 3); break;
      case ROW_GREY16: memset(rgb, in[2 * (size_t)x] ? 255 : in[2 * (size_t)x + 1], 3); break;
    }
  }
}

// Whether a pixel of a row has another alpha than the picture's first, which is the first that is seen (-1 before).
static int alpha_differs(row_kind kind, const uint8_t *in, uint32_t width, int *first) {
  size_t step = kind == ROW_RGBA ? 4 : kind == ROW_GREY_ALPHA ? 2 : 0;
  if (!step) return 0;
  if (*first < 0) *first = in[step - 1];
  for (size_t x = 0; x < width; x++)
    if (in[step * x + step - 1] != *first) return 1;
  return 0;
}

// Sets the transformations and says what rows will look like.
static row_kind choose_rows(png_structp png, png_infop info, uint8_t *palette) {
  int type = png_get_color_type(png, info), depth = png_get_bit_depth(png, info);
  if (depth < 8) type == PNG_COLOR_TYPE_GRAY ? png_set_expand_gray_1_2_4_to_8(png) : png_set_packing(png);
  if (type == PNG_COLOR_TYPE_GRAY && depth == 16) return ROW_GREY16;
  if (depth == 16) png_set_strip_16(png);
  switch (type) {
    case PNG_COLOR_TYPE_RGB: return ROW_RGB;
    case PNG_COLOR_TYPE_RGB_ALPHA: return ROW_RGBA;
    case PNG_COLOR_TYPE_GRAY_ALPHA: return ROW_GREY_ALPHA;
    case PNG_COLOR_TYPE_GRAY: return ROW_GREY;
    default: break;
  }
  png_colorp entries = NULL;
  int count = 0;
  png_get_PLTE(png, info, &entries, &count);
  for (int i = 0; i < count && i < 256; i++) {
    palette[3 * i] = entries[i].red;
    palette[3 * i + 1] = entries[i].green;
    palette[3 * i + 2] = entries[i].blue;
  }
  return ROW_PALETTE;
}

ic_status ic_png_decode(const uint8_t *data, size_t size, uint8_t *rgb, uint32_t width, uint32_t height, int *alpha_varies, int *levels, char *message) {
  reader r = {data, size, 0, message};
  message[0] = 0;
  *alpha_varies = 0;
  *levels = 0;
  png_structp png = new_reader(&r);
  if (!png) return ic_fail(message, IC_NO_MEMORY, "out of memory");
  png_infop info = png_create_info_struct(png);
  if (!info) {
    png_destroy_read_struct(&png, NULL, NULL);
    return ic_fail(message, IC_NO_MEMORY, "out of memory");
  }
  uint8_t palette[768] = {0};
  uint8_t *volatile rows = NULL;  // read after a jump
  if (setjmp(png_jmpbuf(png))) {
    free(rows);
    png_destroy_read_struct(&png, &info, NULL);
    return IC_CORRUPT;
  }
  png_read_info(png, info);
  if (png_get_image_width(png, info) != width || png_get_image_height(png, info) != height) png_error(png, "the header gives two sizes");
  row_kind kind = choose_rows(png, info, palette);
  int passes = png_set_interlace_handling(png);
  png_read_update_info(png, info);
  size_t stride = png_get_rowbytes(png, info);
  if (kind == ROW_RGB) {
    for (int pass = 0; pass < passes; pass++)
      for (uint32_t y = 0; y < height; y++) png_read_row(png, rgb + (size_t)y * width * 3, NULL);
  } else {
    // Interlaced rows are completed over seven passes, so all of them are kept.
    rows = malloc(passes > 1 ? stride * height : stride);
    if (!rows) {
      png_destroy_read_struct(&png, &info, NULL);
      return ic_fail(message, IC_NO_MEMORY, "out of memory");
    }
    int first_alpha = -1;
    for (int pass = 0; pass < passes; pass++)
      for (uint32_t y = 0; y < height; y++) {
        uint8_t *row = rows + (passes > 1 ? stride * y : 0);
        png_read_row(png, row, NULL);
        if (pass < passes - 1) continue;
        expand_row(kind, row, rgb + (size_t)y * width * 3, width, palette);
        if (kind == ROW_GREY16)
          for (uint32_t x = 0; x < width; x++) *levels |= ic_level(row[2 * (size_t)x] << 8 | row[2 * (size_t)x + 1]);
        if (!*alpha_varies) *alpha_varies = alpha_differs(kind, row, width, &first_alpha);
      }
  }
  free(rows);
  png_destroy_read_struct(&png, &info, NULL);
  return IC_OK;
}

// ---- encoding ----

typedef struct {
  uint8_t *data;
  size_t size, capacity;
  char *message;
} writer;

static void on_write_error(png_structp png, png_const_charp text) {
  writer *w = png_get_error_ptr(png);
  snprintf(w->message, IC_MESSAGE_SIZE, "%.180s", text);
  longjmp(png_jmpbuf(png), 1);
}

static void write_bytes(png_structp png, png_bytep bytes, size_t count) {
  writer *w = png_get_io_ptr(png);
  if (count > w->capacity - w->size) {
    size_t capacity = w->capacity * 2 + count + 4096;
    uint8_t *grown = realloc(w->data, capacity);
    if (!grown) png_error(png, "out of memory");
    w->data = grown;
    w->capacity = capacity;
  }
  memcpy(w->data + w->size, bytes, count);
  w->size += count;
}

static void flush_nothing(png_structp png) { (void)png; }

ic_status ic_png_encode(const uint8_t *pixels, uint32_t width, uint32_t height, int channels, int bilevel, const uint8_t *palette, int colours,
                        int level, uint8_t **out, size_t *out_size, char *message) {
  writer w = {NULL, 0, 0, message};
  message[0] = 0;
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &w, on_write_error, on_warning);
  png_infop info = png ? png_create_info_struct(png) : NULL;
  if (!info) {
    png_destroy_write_struct(&png, NULL);
    return ic_fail(message, IC_NO_MEMORY, "out of memory");
  }
  uint8_t *volatile packed = NULL;
  if (setjmp(png_jmpbuf(png))) {
    free(packed);
    free(w.data);
    png_destroy_write_struct(&png, &info);
    return IC_NO_MEMORY;
  }
  png_set_write_fn(png, &w, write_bytes, flush_nothing);
  png_set_user_limits(png, 0x7FFFFFFF, 0x7FFFFFFF);
  png_set_compression_level(png, level);
  int type = colours > 0 ? PNG_COLOR_TYPE_PALETTE : channels == 1 ? PNG_COLOR_TYPE_GRAY : channels == 3 ? PNG_COLOR_TYPE_RGB : PNG_COLOR_TYPE_RGB_ALPHA;
  png_set_IHDR(png, info, width, height, bilevel ? 1 : 8, type, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_color entries[256];
  for (int i = 0; i < colours && i < 256; i++) entries[i] = (png_color){palette[3 * i], palette[3 * i + 1], palette[3 * i + 2]};
  if (colours > 0) png_set_PLTE(png, info, entries, colours);
  png_write_info(png, info);
  if (bilevel) packed = malloc((size_t)width / 8 + 1);
  if (bilevel && !packed) png_error(png, "out of memory");
  for (uint32_t y = 0; y < height; y++) {
    const uint8_t *row = pixels + (size_t)y * width * (size_t)channels;
    if (bilevel) {
      memset(packed, 0, (size_t)width / 8 + 1);
      for (uint32_t x = 0; x < width; x++)
        if (row[x]) packed[x / 8] |= (uint8_t)(0x80 >> (x % 8));
      row = packed;
    }
    png_write_row(png, row);
  }
  png_write_end(png, info);
  free(packed);
  png_destroy_write_struct(&png, &info);
  *out = w.data;
  *out_size = w.size;
  return IC_OK;
}

void ic_free(void *p) { free(p); }
