// What the codec files share: how a message is written.
#ifndef DINO_IMAGE_CODECS_INTERNAL_H
#define DINO_IMAGE_CODECS_INTERNAL_H

#include "image_codecs.h"
#include <stdio.h>
#include <string.h>

static inline ic_status ic_fail(char *message, ic_status status, const char *text) {
  snprintf(message, IC_MESSAGE_SIZE, "%s", text);
  return status;
}

#endif
