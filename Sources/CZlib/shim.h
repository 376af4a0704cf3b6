// zlib, for Swift: inflating entries of zip archives, and their checksums.
#include <zlib.h>
