/* C face of libpng, libjpeg-turbo, libwebp, libtiff. */
