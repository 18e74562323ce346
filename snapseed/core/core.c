/* All of the core as one unit, so that the compiler sees through its functions. */
#include "values.c"
#include "hash.c"
#include "decode.c"
#include "mask.c"
#include "thrift.c"

/* Which sources this library was made of. */
EXPORT const char *snapseed_source(void) { return SNAPSEED_SOURCE; }
