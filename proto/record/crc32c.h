/* crc32c.h: the two checksums of the record formats.
 *
 * CRC-32C (Castagnoli) covers magic-2 batches and producer snapshots; CRC-32 (IEEE) covers the
 * messages of magic 0 and 1. Both are the usual reflected forms with initial and final inversion,
 * as java.util.zip computes them: of the text "123456789" they are 0xe3069283 and 0xcbf43926.
 *
 * Threads: any; no state. ISA-L picks its fastest code for the processor at run time. */
#pragma once

#include <stdint.h>

#include "base/bytes.h"

/* CRC-32C of all of `in`. Any size. */
uint32_t crc32c(struct bytes in);

/* The CRC-32C of A followed by `next`, from the CRC-32C of A. The CRC of nothing is 0:
 * crc32c(AB) == crc32c_extend(crc32c_extend(0, A), B). */
uint32_t crc32c_extend(uint32_t crc, struct bytes next);

/* CRC-32 (IEEE) of all of `in`. (ISA-L owns the name crc32_ieee, for the unreflected form.) */
uint32_t crc32_zlib(struct bytes in);
