// The first page of a TIFF to RGB through libtiff: strips and tiles, one plane or several, 1 to 16 bits and 32-bit grey, grey, RGB,
// palette, CMYK and YCbCr, with the values that Pillow gives. Lab, old-style JPEG and 12-bit files are refused.

#include "internal.h"
#include <stdlib.h>
#include <tiffio.h>

typedef struct {
  const uint8_t *data;
  toff_t size, position;
  char *message;
} memory_file;

static tmsize_t file_read(thandle_t handle, void *out, tmsize_t count) {
  memory_file *f = handle;
  if (count <= 0 || f->position >= f->size) return 0;
  toff_t n = (toff_t)count < f->size - f->position ? (toff_t)count : f->size - f->position;
  memcpy(out, f->data + f->position, n);
  f->position += n;
  return (tmsize_t)n;
}
static tmsize_t file_write(thandle_t handle, void *bytes, tmsize_t count) {
  (void)handle, (void)bytes, (void)count;
  return 0;
}
static toff_t file_seek(thandle_t handle, toff_t offset, int whence) {
  memory_file *f = handle;
  if (whence == SEEK_CUR) offset += f->position;
  if (whence == SEEK_END) offset += f->size;
  f->position = offset;
  return offset;
}
static int file_close(thandle_t handle) {
  (void)handle;
  return 0;
}
static toff_t file_size(thandle_t handle) { return ((memory_file *)handle)->size; }

// Keeps the first message; later ones are consequences.
static int on_error(TIFF *tiff, void *user, const char *module, const char *format, va_list arguments) {
  (void)tiff, (void)module;
  char *message = ((memory_file *)user)->message;
  if (message[0] == 0) vsnprintf(message, IC_MESSAGE_SIZE, format, arguments);
  return 1;
}
static int on_warning(TIFF *tiff, void *user, const char *module, const char *format, va_list arguments) {
  (void)tiff, (void)user, (void)module, (void)format, (void)arguments;
  return 1;
}

static TIFF *open_tiff(memory_file *file, uint64_t memory_limit) {
  TIFFOpenOptions *options = TIFFOpenOptionsAlloc();
  if (!options) return NULL;
  TIFFOpenOptionsSetErrorHandlerExtR(options, on_error, file);
  TIFFOpenOptionsSetWarningHandlerExtR(options, on_warning, file);
  TIFFOpenOptionsSetMaxSingleMemAlloc(options, (tmsize_t)(memory_limit < INT64_MAX ? memory_limit : INT64_MAX));
  TIFF *tiff = TIFFClientOpenExt("image", "rm", file, file_read, file_write, file_seek, file_close, file_size, NULL, NULL, options);
  TIFFOpenOptionsFree(options);
  return tiff;
}

// What of the tags decides how pixels are read.
typedef struct {
  uint32_t width, height;
  uint32_t block_width, block_height;  // of a tile, or a strip
  uint16_t bits, samples, photometric, format, planar, compression, orientation, extra;
  int tiled, by_libtiff;  // by_libtiff: YCbCr through libtiff's own RGBA conversion
  uint64_t block_bytes;
} layout;

static ic_status read_layout(TIFF *tiff, uint64_t memory_limit, layout *l, char *message) {
  memset(l, 0, sizeof *l);
  if (!TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &l->width) || !TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &l->height) || l->width == 0 ||
      l->height == 0 || l->width > INT32_MAX || l->height > INT32_MAX)
    return ic_fail(message, IC_CORRUPT, "the size is missing or zero");
  TIFFGetFieldDefaulted(tiff, TIFFTAG_BITSPERSAMPLE, &l->bits);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLESPERPIXEL, &l->samples);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLEFORMAT, &l->format);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_PLANARCONFIG, &l->planar);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_COMPRESSION, &l->compression);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_ORIENTATION, &l->orientation);
  if (!TIFFGetField(tiff, TIFFTAG_PHOTOMETRIC, &l->photometric)) l->photometric = PHOTOMETRIC_MINISWHITE;
  uint16_t extras = 0, *kinds = NULL;
  if (TIFFGetField(tiff, TIFFTAG_EXTRASAMPLES, &extras, &kinds) && extras > 0) l->extra = kinds[0];
  if (l->orientation < 1 || l->orientation > 8) l->orientation = 1;
  if (l->compression == COMPRESSION_OJPEG) return ic_fail(message, IC_UNSUPPORTED, "old-style JPEG compression is not read");

  int grey = l->photometric == PHOTOMETRIC_MINISWHITE || l->photometric == PHOTOMETRIC_MINISBLACK;
  int integer = l->format == SAMPLEFORMAT_UINT || l->format == SAMPLEFORMAT_VOID;
  int wide_grey = grey && l->samples == 1 && (l->bits == 32 || (l->bits == 16 && l->format == SAMPLEFORMAT_INT));
  int small_ok = (l->bits == 1 || l->bits == 2 || l->bits == 4) && l->samples == 1 && (grey || l->photometric == PHOTOMETRIC_PALETTE);
  int needed = l->photometric == PHOTOMETRIC_RGB || l->photometric == PHOTOMETRIC_YCBCR ? 3
      : l->photometric == PHOTOMETRIC_SEPARATED ? 4 : 1;
  if (l->photometric != PHOTOMETRIC_RGB && l->photometric != PHOTOMETRIC_PALETTE && l->photometric != PHOTOMETRIC_SEPARATED &&
      l->photometric != PHOTOMETRIC_YCBCR && !grey)
    return ic_fail(message, IC_UNSUPPORTED, "the colour space is not grey, RGB, palette, CMYK or YCbCr");
  if (l->samples < needed || l->samples > 6) return ic_fail(message, IC_UNSUPPORTED, "the number of channels does not fit the colour space");
  if (!wide_grey && !(integer && (l->bits == 8 || (l->bits == 16 && l->photometric != PHOTOMETRIC_PALETTE) || small_ok)) &&
      !(grey && l->bits == 8))
    return ic_fail(message, IC_UNSUPPORTED, "samples of this width or kind are not read");
  if (l->photometric == PHOTOMETRIC_YCBCR) {
    if (l->bits != 8) return ic_fail(message, IC_UNSUPPORTED, "YCbCr samples are not 8 bits wide");
    if (l->compression == COMPRESSION_JPEG && l->planar == PLANARCONFIG_CONTIG)
      TIFFSetField(tiff, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
    else
      l->by_libtiff = 1;
  }

  l->tiled = TIFFIsTiled(tiff);
  if (l->tiled) {
    TIFFGetField(tiff, TIFFTAG_TILEWIDTH, &l->block_width);
    TIFFGetField(tiff, TIFFTAG_TILELENGTH, &l->block_height);
    l->block_bytes = TIFFTileSize64(tiff);
  } else {
    l->block_width = l->width;
    TIFFGetFieldDefaulted(tiff, TIFFTAG_ROWSPERSTRIP, &l->block_height);
    if (l->block_height > l->height) l->block_height = l->height;
    l->block_bytes = TIFFStripSize64(tiff);
  }
  if (l->block_width == 0 || l->block_height == 0 || l->block_bytes == 0)
    return ic_fail(message, IC_CORRUPT, "strips or tiles have no size");
  uint64_t planes = l->planar == PLANARCONFIG_SEPARATE ? l->samples : 1;
  if (l->by_libtiff) planes += 4;
  if (l->block_bytes > memory_limit / (planes + 1)) return ic_fail(message, IC_TOO_LARGE, "a strip or tile is larger than the memory limit");
  return IC_OK;
}

// Of the directories behind the first only a few are looked at: a pyramid has some, a document's second is a page.
static uint32_t has_more_pages(TIFF *tiff) {
  for (int i = 0; i < 16 && TIFFReadDirectory(tiff); i++) {
    uint32_t kind = 0;
    TIFFGetFieldDefaulted(tiff, TIFFTAG_SUBFILETYPE, &kind);
    if (!(kind & (FILETYPE_REDUCEDIMAGE | FILETYPE_MASK))) return 1;
  }
  return 0;
}

ic_status ic_tiff_read_info(const uint8_t *data, size_t size, uint64_t memory_limit, ic_info *info, char *message) {
  memory_file file = {data, size, 0, message};
  message[0] = 0;
  TIFF *tiff = open_tiff(&file, memory_limit);
  if (!tiff) return message[0] ? IC_CORRUPT : ic_fail(message, IC_CORRUPT, "the directory is damaged");
  layout l;
  char text[IC_MESSAGE_SIZE] = "";
  ic_status status = read_layout(tiff, memory_limit, &l, text);
  if (status != IC_OK) ic_fail(message, status, text);
  info->width = l.width;
  info->height = l.height;
  info->orientation = l.orientation;
  info->is_wide_grey = l.bits >= 16 && l.samples == 1;
  info->working_bytes = l.by_libtiff ? (uint64_t)l.width * l.height * 4 + l.block_bytes * 5
                                     : l.block_bytes * (l.planar == PLANARCONFIG_SEPARATE ? l.samples : 1);
  if (status == IC_OK) info->has_more_pages = has_more_pages(tiff);
  TIFFClose(tiff);
  if (status == IC_OK) message[0] = 0;
  return status;
}

static inline uint8_t clip(int64_t v) { return v < 0 ? 0 : v > 255 ? 255 : (uint8_t)v; }

// Sample `s` of pixel `x` of a row as a whole number in the file's own range (native byte order; libtiff has swapped).
static inline int32_t sample(const layout *l, const uint8_t *row, uint32_t x, uint32_t s, uint32_t samples) {
  size_t i = (size_t)x * samples + s;
  switch (l->bits) {
    case 1: return (row[i / 8] >> (7 - i % 8)) & 1;
    case 2: return (row[i / 4] >> (6 - 2 * (i % 4))) & 3;
    case 4: return (row[i / 2] >> (4 - 4 * (i % 2))) & 15;
    case 8: return row[i];
    case 16: {
      uint16_t v;
      memcpy(&v, row + 2 * i, 2);
      return l->format == SAMPLEFORMAT_INT ? (int16_t)v : v;
    }
    default: {
      int32_t v;
      memcpy(&v, row + 4 * i, 4);
      return v;
    }
  }
}

// Of the one sample of a pixel, 16 bits or more; fractions are dropped, and what is beyond all limits stays so.
static int64_t wide_value(const layout *l, const uint8_t *row, uint32_t x) {
  int32_t v = sample(l, row, x, 0, 1);
  if (l->bits != 32 || l->format != SAMPLEFORMAT_IEEEFP) return v;
  float f;
  memcpy(&f, &v, 4);
  return f > 0 ? (f >= 1e9f ? 1000000000 : (int64_t)f) : 0;
}

static uint8_t grey_value(const layout *l, const uint8_t *row, uint32_t x, uint32_t samples) {
  if (l->bits >= 16 && samples == 1) return clip(wide_value(l, row, x));  // Pillow clips, and does not invert, 16-bit grey
  int32_t v = sample(l, row, x, 0, samples);
  if (l->bits >= 16) return (uint8_t)(v >> 8);
  static const uint8_t scale[9] = {0, 255, 85, 0, 17, 0, 0, 0, 1};
  uint8_t byte = (uint8_t)(v * scale[l->bits]);
  return l->photometric == PHOTOMETRIC_MINISWHITE ? (uint8_t)~byte : byte;
}

// rows[k]: row of plane k, or rows[0] alone where pixels are interleaved.
static void convert_row(const layout *l, const uint8_t *const *rows, uint8_t *rgb, uint32_t width, const uint8_t *palette) {
  int separate = l->planar == PLANARCONFIG_SEPARATE;
  uint32_t samples = separate ? 1 : l->samples;
  int shift = l->bits == 16 ? 8 : 0;
#define BYTE(s) (uint8_t)(sample(l, separate ? rows[s] : rows[0], x, separate ? 0 : (s), samples) >> shift)
  for (uint32_t x = 0; x < width; x++, rgb += 3) {
    switch (l->photometric) {
      case PHOTOMETRIC_PALETTE: memcpy(rgb, palette + 3 * (size_t)sample(l, rows[0], x, 0, samples), 3); break;
      case PHOTOMETRIC_SEPARATED: {
        int nk = 255 - BYTE(3);
        for (uint32_t c = 0; c < 3; c++) {
          int t = BYTE(c) * nk + 128;
          rgb[c] = (uint8_t)(nk - (((t >> 8) + t) >> 8));
        }
        break;
      }
      case PHOTOMETRIC_RGB:
      case PHOTOMETRIC_YCBCR:
        for (uint32_t c = 0; c < 3; c++) rgb[c] = BYTE(c);
        if (l->extra == EXTRASAMPLE_ASSOCALPHA && l->samples >= 4) {
          int a = BYTE(3);
          for (uint32_t c = 0; c < 3; c++) rgb[c] = a == 0 ? 0 : clip(rgb[c] * 255 / a);
        }
        break;
      default: memset(rgb, grey_value(l, rows[0], x, samples), 3);
    }
  }
#undef BYTE
}

static ic_status read_palette(TIFF *tiff, const layout *l, uint8_t *palette, char *message) {
  uint16_t *map[3] = {NULL, NULL, NULL};
  if (!TIFFGetField(tiff, TIFFTAG_COLORMAP, &map[0], &map[1], &map[2])) return ic_fail(message, IC_CORRUPT, "the palette is missing");
  for (int i = 0; i < 1 << l->bits; i++)
    for (int c = 0; c < 3; c++) palette[3 * i + c] = (uint8_t)(map[c][i] >> 8);
  return IC_OK;
}

static ic_status read_blocks(TIFF *tiff, const layout *l, uint8_t *rgb, const uint8_t *palette, int *levels, char *message) {
  uint32_t planes = l->planar == PLANARCONFIG_SEPARATE ? l->samples : 1;
  uint8_t *buffer = calloc(planes, l->block_bytes);
  if (!buffer) return ic_fail(message, IC_NO_MEMORY, "out of memory");
  uint64_t stride = l->tiled ? TIFFTileRowSize64(tiff) : TIFFScanlineSize64(tiff);
  ic_status status = IC_OK;
  uint64_t row_bits = (uint64_t)l->block_width * l->bits * (planes > 1 ? 1 : l->samples);
  if (stride < (row_bits + 7) / 8 || stride > l->block_bytes / l->block_height)
    status = ic_fail(message, IC_CORRUPT, "strips or tiles contradict the number of channels");
  for (uint32_t y = 0; status == IC_OK && y < l->height; y += l->block_height) {
    uint32_t rows = l->height - y < l->block_height ? l->height - y : l->block_height;
    for (uint32_t x = 0; status == IC_OK && x < l->width; x += l->block_width) {
      uint32_t columns = l->width - x < l->block_width ? l->width - x : l->block_width;
      for (uint32_t p = 0; p < planes; p++) {
        uint8_t *block = buffer + l->block_bytes * p;
        // Tiles always come whole; of the last strip only its rows are needed.
        uint64_t wanted = l->tiled ? l->block_bytes : stride * rows;
        if (p == 0 && (x > 0 || y > 0)) memset(buffer, 0, l->block_bytes * planes);  // a decoder that stops early leaves what was there
        tmsize_t got = wanted > l->block_bytes ? -1
            : l->tiled ? TIFFReadEncodedTile(tiff, TIFFComputeTile(tiff, x, y, 0, (uint16_t)p), block, (tmsize_t)wanted)
                       : TIFFReadEncodedStrip(tiff, TIFFComputeStrip(tiff, y, (uint16_t)p), block, (tmsize_t)wanted);
        // A fax decoder says what it had to make up, and that all is there.
        if (got < 0 || (uint64_t)got < wanted || message[0]) {
          status = message[0] ? IC_CORRUPT : ic_fail(message, IC_CORRUPT, "the file is truncated");
          break;
        }
      }
      for (uint32_t r = 0; status == IC_OK && r < rows; r++) {
        const uint8_t *lines[6];
        for (uint32_t p = 0; p < planes; p++) lines[p] = buffer + l->block_bytes * p + stride * r;
        if (l->bits >= 16 && l->samples == 1)
          for (uint32_t c = 0; c < columns; c++) *levels |= ic_level(wide_value(l, lines[0], c));
        convert_row(l, lines, rgb + ((size_t)(y + r) * l->width + x) * 3, columns, palette);
      }
      if (l->block_width > l->width - x) break;  // the next x would pass the end of the integer
    }
    if (l->block_height > l->height - y) break;
  }
  free(buffer);
  return status;
}

static ic_status read_through_libtiff(TIFF *tiff, const layout *l, uint8_t *rgb, char *message) {
  TIFFRGBAImage image;
  char text[1024] = "";
  if (!TIFFRGBAImageOK(tiff, text) || !TIFFRGBAImageBegin(&image, tiff, 1, text)) return ic_fail(message, IC_UNSUPPORTED, text);
  image.orientation = ORIENTATION_TOPLEFT;
  image.req_orientation = ORIENTATION_TOPLEFT;
  size_t count = (size_t)l->width * l->height;
  uint32_t *raster = malloc(count * 4);
  ic_status status = IC_OK;
  if (!raster) {
    status = ic_fail(message, IC_NO_MEMORY, "out of memory");
  } else if (!TIFFRGBAImageGet(&image, raster, l->width, l->height)) {
    status = message[0] ? IC_CORRUPT : ic_fail(message, IC_CORRUPT, "the pixels cannot be read");
  } else {
    for (size_t i = 0; i < count; i++) {
      rgb[3 * i] = (uint8_t)TIFFGetR(raster[i]);
      rgb[3 * i + 1] = (uint8_t)TIFFGetG(raster[i]);
      rgb[3 * i + 2] = (uint8_t)TIFFGetB(raster[i]);
    }
  }
  free(raster);
  TIFFRGBAImageEnd(&image);
  return status;
}

ic_status ic_tiff_decode(const uint8_t *data, size_t size, uint64_t memory_limit, uint8_t *rgb, uint32_t width, uint32_t height,
                         int *levels, char *message) {
  *levels = 0;
  memory_file file = {data, size, 0, message};
  message[0] = 0;
  TIFF *tiff = open_tiff(&file, memory_limit);
  if (!tiff) return message[0] ? IC_CORRUPT : ic_fail(message, IC_CORRUPT, "the directory is damaged");
  layout l;
  char text[IC_MESSAGE_SIZE] = "";
  ic_status status = read_layout(tiff, memory_limit, &l, text);
  if (status == IC_OK && (l.width != width || l.height != height)) status = ic_fail(text, IC_CORRUPT, "the header gives two sizes");
  uint8_t palette[768] = {0};
  if (status == IC_OK && l.photometric == PHOTOMETRIC_PALETTE) status = read_palette(tiff, &l, palette, text);
  if (status != IC_OK) {
    ic_fail(message, status, text);
  } else {
    message[0] = 0;  // complaints about tags that do not matter
    // libtiff reads a strip that is not there from the file's first bytes.
    uint32_t blocks = l.tiled ? TIFFNumberOfTiles(tiff) : TIFFNumberOfStrips(tiff);
    for (uint32_t i = 0; status == IC_OK && i < blocks; i++)
      if (TIFFGetStrileOffset(tiff, i) == 0 || TIFFGetStrileByteCount(tiff, i) == 0) status = ic_fail(message, IC_CORRUPT, "strips or tiles are missing");
    if (status == IC_OK) status = l.by_libtiff ? read_through_libtiff(tiff, &l, rgb, message) : read_blocks(tiff, &l, rgb, palette, levels, message);
  }
  TIFFClose(tiff);
  return status;
}
