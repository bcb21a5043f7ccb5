/* version: which version of the library is loaded.  Owns smft_version_*. */
#include "base/status.h"

SMFT_API const char *smft_version_string(void) { return SMFT_VERSION_STRING; }

SMFT_API uint32_t smft_version_number(void) {
  return SMFT_VERSION_MAJOR * 10000u + SMFT_VERSION_MINOR * 100u + SMFT_VERSION_PATCH;
}
