// WebP to RGB through libwebp: the picture, or the first frame of an animation on a black canvas, alpha dropped (Pillow's
// convert('RGB')). Later frames, profiles and background colours are not read.

#include "internal.h"
#include <webp/decode.h>
#include <webp/demux.h>

static WebPDemuxer *open_demuxer(const uint8_t *data, size_t size) {
  WebPData bytes = {data, size};
  return WebPDemux(&bytes);
}

ic_status ic_webp_read_info(const uint8_t *data, size_t size, ic_info *info, char *message) {
  message[0] = 0;
  WebPDemuxer *demuxer = open_demuxer(data, size);
  if (!demuxer) return ic_fail(message, IC_CORRUPT, "the file is truncated or is not a valid WebP container");
  info->width = WebPDemuxGetI(demuxer, WEBP_FF_CANVAS_WIDTH);
  info->height = WebPDemuxGetI(demuxer, WEBP_FF_CANVAS_HEIGHT);
  info->orientation = 1;
  info->working_bytes = (uint64_t)info->width * info->height * 6;  // lossless keeps its pixels and a cache
  WebPDemuxDelete(demuxer);
  return IC_OK;
}

static ic_status decode_frame(const WebPIterator *frame, uint8_t *rgb, uint32_t width, uint32_t height, char *message) {
  WebPDecoderConfig config;
  if (!WebPInitDecoderConfig(&config)) return ic_fail(message, IC_UNSUPPORTED, "this libwebp has another interface");
  if (WebPGetFeatures(frame->fragment.bytes, frame->fragment.size, &config.input) != VP8_STATUS_OK)
    return ic_fail(message, IC_CORRUPT, "the frame's header is damaged");
  int64_t right = (int64_t)frame->x_offset + config.input.width, bottom = (int64_t)frame->y_offset + config.input.height;
  if (frame->x_offset < 0 || frame->y_offset < 0 || right > width || bottom > height)
    return ic_fail(message, IC_CORRUPT, "the frame does not fit the canvas");
  if ((uint32_t)config.input.width != width || (uint32_t)config.input.height != height) memset(rgb, 0, (size_t)width * height * 3);
  size_t offset = ((size_t)frame->y_offset * width + (size_t)frame->x_offset) * 3;
  config.output.colorspace = MODE_RGB;
  config.output.is_external_memory = 1;
  config.output.u.RGBA.rgba = rgb + offset;
  config.output.u.RGBA.stride = (int)(width * 3);
  config.output.u.RGBA.size = (size_t)width * height * 3 - offset;
  VP8StatusCode code = WebPDecode(frame->fragment.bytes, frame->fragment.size, &config);
  WebPFreeDecBuffer(&config.output);
  switch (code) {
    case VP8_STATUS_OK: return IC_OK;
    case VP8_STATUS_OUT_OF_MEMORY: return ic_fail(message, IC_NO_MEMORY, "out of memory");
    case VP8_STATUS_NOT_ENOUGH_DATA:
    case VP8_STATUS_SUSPENDED: return ic_fail(message, IC_CORRUPT, "the file is truncated");
    default: return ic_fail(message, IC_CORRUPT, "the compressed data is damaged");
  }
}

ic_status ic_webp_decode(const uint8_t *data, size_t size, uint8_t *rgb, uint32_t width, uint32_t height, char *message) {
  message[0] = 0;
  WebPDemuxer *demuxer = open_demuxer(data, size);
  if (!demuxer) return ic_fail(message, IC_CORRUPT, "the file is truncated or is not a valid WebP container");
  ic_status status;
  WebPIterator frame;
  memset(&frame, 0, sizeof frame);
  if (WebPDemuxGetI(demuxer, WEBP_FF_CANVAS_WIDTH) != width || WebPDemuxGetI(demuxer, WEBP_FF_CANVAS_HEIGHT) != height) {
    status = ic_fail(message, IC_CORRUPT, "the header gives two sizes");
  } else if (!WebPDemuxGetFrame(demuxer, 1, &frame)) {
    status = ic_fail(message, IC_CORRUPT, "there is no frame in it");
  } else {
    status = decode_frame(&frame, rgb, width, height, message);
    WebPDemuxReleaseIterator(&frame);
  }
  WebPDemuxDelete(demuxer);
  return status;
}

void ic_webp_exif(const uint8_t *data, size_t size, size_t *offset, size_t *length) {
  *offset = 0;
  *length = 0;
  WebPDemuxer *demuxer = open_demuxer(data, size);
  if (!demuxer) return;
  WebPChunkIterator chunk;
  memset(&chunk, 0, sizeof chunk);
  if (WebPDemuxGetChunk(demuxer, "EXIF", 1, &chunk)) {
    *offset = (size_t)(chunk.chunk.bytes - data);
    *length = chunk.chunk.size;
    WebPDemuxReleaseChunkIterator(&chunk);
  }
  WebPDemuxDelete(demuxer);
}
