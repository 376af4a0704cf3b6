// JPEG to RGB through libjpeg-turbo, as Pillow drives it: slow integer DCT, fancy upsampling, a source that runs dry instead of
// inventing an end. What differs from Pillow: a warning that pixels were made up (a bad Huffman code, a segment that ends early)
// is an error here. Twelve-bit and two-channel files are refused, as Pillow does.

#include "internal.h"
#include <jpeglib.h>
#include <jerror.h>
#include <setjmp.h>

// A progressive file may repeat scans over the whole image without end; real encoders write about ten.
enum { MAX_SCANS = 500 };

typedef struct {
  struct jpeg_error_mgr base;
  jmp_buf escape;
  char *message;
} error_manager;

typedef struct {
  struct jpeg_progress_mgr base;
} progress_manager;

static void on_error(j_common_ptr cinfo) {
  error_manager *e = (error_manager *)cinfo->err;
  char text[JMSG_LENGTH_MAX];
  (*cinfo->err->format_message)(cinfo, text);
  snprintf(e->message, IC_MESSAGE_SIZE, "%.180s", text);
  longjmp(e->escape, 1);
}

static void on_message(j_common_ptr cinfo, int level) {
  if (level >= 0) return;
  switch (cinfo->err->msg_code) {
    case JWRN_HIT_MARKER:
    case JWRN_HUFF_BAD_CODE:
    case JWRN_ARITH_BAD_CODE:
    case JWRN_MUST_RESYNC:
    case JWRN_JPEG_EOF:
      on_error(cinfo);
      break;
    default:  // stray bytes between segments, odd version numbers: every pixel is still what the file says
      cinfo->err->num_warnings++;
  }
}

static void silent(j_common_ptr cinfo) { (void)cinfo; }

static void count_scans(j_common_ptr cinfo) {
  if (!cinfo->is_decompressor || ((j_decompress_ptr)cinfo)->input_scan_number <= MAX_SCANS) return;
  error_manager *e = (error_manager *)cinfo->err;
  snprintf(e->message, IC_MESSAGE_SIZE, "more than %d scans", MAX_SCANS);
  longjmp(e->escape, 1);
}

static void source_nothing(j_decompress_ptr cinfo) { (void)cinfo; }
static boolean source_dry(j_decompress_ptr cinfo) {
  (void)cinfo;
  return FALSE;
}
static void source_skip(j_decompress_ptr cinfo, long count) {
  if (count <= 0) return;
  size_t n = (size_t)count < cinfo->src->bytes_in_buffer ? (size_t)count : cinfo->src->bytes_in_buffer;
  cinfo->src->next_input_byte += n;
  cinfo->src->bytes_in_buffer -= n;
}

static void set_up(struct jpeg_decompress_struct *cinfo, progress_manager *progress, struct jpeg_source_mgr *source,
                   const uint8_t *data, size_t size) {
  jpeg_create_decompress(cinfo);
  progress->base.progress_monitor = count_scans;
  cinfo->progress = &progress->base;
  source->init_source = source_nothing;
  source->fill_input_buffer = source_dry;
  source->skip_input_data = source_skip;
  source->resync_to_restart = jpeg_resync_to_restart;
  source->term_source = source_nothing;
  source->next_input_byte = data;
  source->bytes_in_buffer = size;
  cinfo->src = source;
}

// Pillow takes the number of channels as the kind of picture and libjpeg's guess of the stored colour space.
static ic_status check_header(struct jpeg_decompress_struct *cinfo, char *message) {
  if (cinfo->data_precision != 8) return ic_fail(message, IC_UNSUPPORTED, "samples are not 8 bits wide");
  switch (cinfo->num_components) {
    case 1: cinfo->out_color_space = JCS_GRAYSCALE; break;
    case 3: cinfo->out_color_space = JCS_RGB; break;
    case 4: cinfo->out_color_space = JCS_CMYK; break;
    default: return ic_fail(message, IC_UNSUPPORTED, "the number of channels is not 1, 3 or 4");
  }
  return IC_OK;
}

ic_status ic_jpeg_read_info(const uint8_t *data, size_t size, ic_info *info, char *message) {
  struct jpeg_decompress_struct cinfo;
  error_manager error;
  progress_manager progress;
  struct jpeg_source_mgr source;
  message[0] = 0;
  memset(&cinfo, 0, sizeof cinfo);
  cinfo.err = jpeg_std_error(&error.base);
  error.base.error_exit = on_error;
  error.base.emit_message = on_message;
  error.base.output_message = silent;
  error.message = message;
  if (setjmp(error.escape)) {
    jpeg_destroy_decompress(&cinfo);
    return IC_CORRUPT;
  }
  set_up(&cinfo, &progress, &source, data, size);
  ic_status status = IC_OK;
  int header = jpeg_read_header(&cinfo, FALSE);
  if (header == JPEG_SUSPENDED) {
    status = ic_fail(message, IC_CORRUPT, "the file ends inside its header");
  } else if (header != JPEG_HEADER_OK) {
    status = ic_fail(message, IC_CORRUPT, "there are tables but no picture");
  } else {
    status = check_header(&cinfo, message);
  }
  if (status == IC_OK) {
    info->width = cinfo.image_width;
    info->height = cinfo.image_height;
    info->orientation = 1;
    // Several scans mean that all coefficients (two bytes each) are kept; a single scan needs a few rows.
    uint64_t padded = ((uint64_t)cinfo.image_width + 32) * ((uint64_t)cinfo.image_height + 32);
    info->working_bytes = jpeg_has_multiple_scans(&cinfo) ? padded * 2 * (uint64_t)cinfo.num_components
                                                          : (uint64_t)cinfo.image_width * 64 * (uint64_t)cinfo.num_components;
  }
  jpeg_destroy_decompress(&cinfo);
  return status;
}

static void grey_to_rgb(const uint8_t *grey, uint8_t *rgb, uint32_t width) {
  for (uint32_t x = 0; x < width; x++) {
    rgb[3 * x] = grey[x];
    rgb[3 * x + 1] = grey[x];
    rgb[3 * x + 2] = grey[x];
  }
}

static inline uint8_t under_black(int ink, int nk) {
  int t = ink * nk + 128;
  return (uint8_t)(nk - (((t >> 8) + t) >> 8));
}

// Adobe's convention, which Pillow assumes always: stored values are inverted, so 255 means no ink.
static void inverted_cmyk_to_rgb(const uint8_t *cmyk, uint8_t *rgb, uint32_t width) {
  for (uint32_t x = 0; x < width; x++) {
    int nk = cmyk[4 * x + 3];
    for (int c = 0; c < 3; c++) rgb[3 * x + c] = under_black(255 - cmyk[4 * x + c], nk);
  }
}

ic_status ic_jpeg_decode(const uint8_t *data, size_t size, uint8_t *rgb, uint32_t width, uint32_t height, char *message) {
  struct jpeg_decompress_struct cinfo;
  error_manager error;
  progress_manager progress;
  struct jpeg_source_mgr source;
  message[0] = 0;
  memset(&cinfo, 0, sizeof cinfo);
  cinfo.err = jpeg_std_error(&error.base);
  error.base.error_exit = on_error;
  error.base.emit_message = on_message;
  error.base.output_message = silent;
  error.message = message;
  if (setjmp(error.escape)) {
    jpeg_destroy_decompress(&cinfo);
    return IC_CORRUPT;
  }
  set_up(&cinfo, &progress, &source, data, size);
  ic_status status = IC_OK;
  if (jpeg_read_header(&cinfo, FALSE) != JPEG_HEADER_OK) {
    status = ic_fail(message, IC_CORRUPT, "the file ends inside its header");
  } else {
    status = check_header(&cinfo, message);
  }
  if (status == IC_OK && (cinfo.image_width != width || cinfo.image_height != height)) {
    status = ic_fail(message, IC_CORRUPT, "the header gives two sizes");
  }
  if (status == IC_OK && !jpeg_start_decompress(&cinfo)) status = ic_fail(message, IC_CORRUPT, "the file is truncated");
  if (status == IC_OK) {
    int components = cinfo.output_components;
    // libjpeg's pool: freed with the decompressor, also when an error jumps.
    JSAMPARRAY row = components == 3 ? NULL
        : (*cinfo.mem->alloc_sarray)((j_common_ptr)&cinfo, JPOOL_IMAGE, width * (JDIMENSION)components, 1);
    while (status == IC_OK && cinfo.output_scanline < height) {
      uint8_t *out = rgb + (size_t)cinfo.output_scanline * width * 3;
      if (components == 3) {
        JSAMPROW rows[8];
        uint32_t n = height - cinfo.output_scanline < 8 ? height - cinfo.output_scanline : 8;
        for (uint32_t i = 0; i < n; i++) rows[i] = out + (size_t)i * width * 3;
        if (jpeg_read_scanlines(&cinfo, rows, n) == 0) status = ic_fail(message, IC_CORRUPT, "the file is truncated");
      } else if (jpeg_read_scanlines(&cinfo, row, 1) != 1) {
        status = ic_fail(message, IC_CORRUPT, "the file is truncated");
      } else if (components == 1) {
        grey_to_rgb(row[0], out, width);
      } else {
        inverted_cmyk_to_rgb(row[0], out, width);
      }
    }
  }
  jpeg_destroy_decompress(&cinfo);
  return status;
}
