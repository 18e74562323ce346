/* PostgreSQL's 64-bit hash of rows, and sums over vectors.
 *
 * Source: hash_bytes_extended (Bob Jenkins' lookup3) in src/common/hashfn.c; hash_record_extended in rowtypes.c.
 */
#include <stdlib.h>

#include "core.h"

typedef struct {
    uint32_t a, b, c;
} state;

enum { BLOCK = 12, SLAB = 1024, SMALL = 1024 };

#define ROTATED(x, k) ((x) << (k) | (x) >> (32 - (k)))

static inline void mix(state *s) {
    uint32_t a = s->a, b = s->b, c = s->c;
    a -= c; a ^= ROTATED(c, 4);  c += b;
    b -= a; b ^= ROTATED(a, 6);  a += c;
    c -= b; c ^= ROTATED(b, 8);  b += a;
    a -= c; a ^= ROTATED(c, 16); c += b;
    b -= a; b ^= ROTATED(a, 19); a += c;
    c -= b; c ^= ROTATED(b, 4);  b += a;
    s->a = a; s->b = b; s->c = c;
}

static inline uint64_t finish(uint32_t a, uint32_t b, uint32_t c) {
    c ^= b; c -= ROTATED(b, 14);
    a ^= c; a -= ROTATED(c, 11);
    b ^= a; b -= ROTATED(a, 25);
    c ^= b; c -= ROTATED(b, 16);
    a ^= c; a -= ROTATED(c, 4);
    b ^= a; b -= ROTATED(a, 14);
    c ^= b; c -= ROTATED(b, 24);
    return (uint64_t)b << 32 | c;
}

static inline state start(int64_t bytes, uint64_t seed) {
    uint32_t first = 0x9e3779b9u + (uint32_t)bytes + 3923095u;
    state s = {first, first, first};
    if (seed) {
        s.a += (uint32_t)(seed >> 32);
        s.b += (uint32_t)seed;
        mix(&s);
    }
    return s;
}

static inline void add_block(state *s, const uint8_t *at) {
    uint32_t words[3];
    memcpy(words, at, BLOCK);
    s->a += words[0];
    s->b += words[1];
    s->c += words[2];
    mix(s);
}

static inline uint32_t word(const uint8_t *at) {
    uint32_t v;
    memcpy(&v, at, 4);
    return v;
}

/* The last block, of fewer than 12 bytes, in words that overlap. The lowest byte of c belongs to the length. */
static inline uint64_t end_with(state s, const uint8_t *at, int64_t bytes) {
    if (bytes >= 8) {
        s.a += word(at);
        s.b += word(at + 4);
        s.c += (uint32_t)((uint64_t)word(at + bytes - 4) >> 8 * (12 - bytes)) << 8;
    } else if (bytes >= 4) {
        s.a += word(at);
        s.b += (uint32_t)((uint64_t)word(at + bytes - 4) >> 8 * (8 - bytes));
    } else if (bytes > 0) {
        s.a += at[0] | (uint32_t)at[bytes / 2] << 8 * (bytes / 2) | (uint32_t)at[bytes - 1] << 8 * (bytes - 1);
    }
    return finish(s.a, s.b, s.c);
}

static inline uint64_t hash_bytes(const uint8_t *at, int64_t bytes, uint64_t seed) {
    state s = start(bytes, seed);
    for (; bytes >= BLOCK; at += BLOCK, bytes -= BLOCK) add_block(&s, at);
    return end_with(s, at, bytes);
}

/* The hash of a text after a version byte, without a copy of it. */
static inline uint64_t hash_jsonb(const uint8_t *at, int64_t bytes, uint64_t seed) {
    uint8_t block[BLOCK] = {1};
    int64_t head = bytes < BLOCK - 1 ? bytes : BLOCK - 1;
    memcpy(block + 1, at, (size_t)head);
    state s = start(bytes + 1, seed);
    if (bytes < BLOCK - 1) return end_with(s, block, bytes + 1);
    add_block(&s, block);
    at += head;
    bytes -= head;
    for (; bytes >= BLOCK; at += BLOCK, bytes -= BLOCK) add_block(&s, at);
    return end_with(s, at, bytes);
}

/* A buffer for the values that are made before they are hashed. */
typedef struct {
    uint8_t *at;
    int64_t room;
} scratch;

static int64_t hash_value(const column *c, int64_t row, uint64_t seed, scratch *made, uint64_t *hash) {
    const uint8_t *at;
    int64_t bytes;
    switch (c->kind) {
    case TEXT: case TRIMMED:
        bytes = span(c, row, &at);
        if (bytes < 0) return bytes;
        *hash = hash_bytes(at, c->kind == TRIMMED ? trimmed(at, bytes) : bytes, seed);
        return 0;
    case JSONB:
        bytes = span(c, row, &at);
        if (bytes < 0) return bytes;
        *hash = hash_jsonb(at, bytes, seed);
        return 0;
    case DECIMAL: {
        uint8_t digits[8 + 2 * DECIMAL_GROUPS];
        *hash = hash_bytes(digits, put_decimal(c, row, digits), seed);
        return 0;
    }
    default:
        bytes = value_bound(c, row);
        if (bytes < 0) return bytes;
        if (bytes > made->room) {
            uint8_t *larger = realloc(made->at, (size_t)(2 * bytes));
            if (!larger) return NO_ROOM;
            made->at = larger;
            made->room = 2 * bytes;
        }
        bytes = put_value(c, row, made->at);
        if (bytes < 0) return bytes;
        *hash = hash_bytes(made->at, bytes, seed);
        return 0;
    }
}

/* Add the hashes of a column's values to those of the record: 31 times what was there, plus the value's; NULL is 0. */
static int64_t add_column(
    const column *c, int64_t first, int64_t rows, uint64_t seed, scratch *made, uint64_t *record, int64_t *row) {
    int64_t width = value_width(c), failed = 0;
    if (width >= 0 && width <= 16 && c->kind != VECTOR) {
        state fresh = start(width, seed);
        for (int64_t i = 0; i < rows && !failed; i++) {
            uint64_t hash = 0;
            if (is_valid(c, first + i)) {
                uint8_t bytes[16 + BLOCK] = {0};
                int64_t put = fixed_value(c, first + i, bytes);
                if (put < 0) {
                    failed = put;
                    *row = first + i;
                }
                state s = fresh;
                if (width >= BLOCK) add_block(&s, bytes);
                hash = end_with(s, width >= BLOCK ? bytes + BLOCK : bytes, width % BLOCK);
            }
            record[i] = record[i] * 31 + hash;
        }
        return failed;
    }
    for (int64_t i = 0; i < rows; i++) {
        uint64_t hash = 0;
        if (is_valid(c, first + i)) {
            failed = hash_value(c, first + i, seed, made, &hash);
            if (failed) {
                *row = first + i;
                return failed;
            }
        }
        record[i] = record[i] * 31 + hash;
    }
    return 0;
}

/* The hash of each row: of hash_record_extended(ROW(columns), seed) once more. 0, or an error with its row in *row. */
EXPORT int64_t snapseed_hash_rows(
    const column *columns, int32_t count, int64_t first, int64_t rows, uint64_t seed, uint64_t *hashes, int64_t *row) {
    scratch made = {NULL, 0};
    int64_t failed = 0;
    for (const column *c = columns; c < columns + count; c++)
        if (first < 0 || rows < 0 || first + rows > c->length) return BAD_OFFSETS;
    for (int64_t done = 0; done < rows && !failed; done += SLAB) {
        int64_t now = rows - done < SLAB ? rows - done : SLAB;
        uint64_t *record = hashes + done;
        memset(record, 0, (size_t)now * 8);
        for (const column *c = columns; c < columns + count && !failed; c++)
            failed = add_column(c, first + done, now, seed, &made, record, row);
        state fresh = start(8, seed);
        for (int64_t i = 0; i < now; i++) {
            uint64_t hash = __builtin_bswap64(record[i]);
            record[i] = finish(fresh.a + (uint32_t)hash, fresh.b + (uint32_t)(hash >> 32), fresh.c);
        }
    }
    free(made.at);
    return failed;
}

/* hash_bytes_extended of each value of a column of texts; 0, or an error with its row in *row. */
EXPORT int64_t snapseed_hash_values(const column *c, uint64_t seed, uint64_t *hashes, int64_t *row) {
    if (c->kind != TEXT) return BAD_KIND;
    for (*row = 0; *row < c->length; ++*row) {
        const uint8_t *at;
        int64_t bytes = span(c, *row, &at);
        if (bytes < 0) return bytes;
        hashes[*row] = hash_bytes(at, bytes, seed);
    }
    return 0;
}

#define ADD_UP(NAME, SUM, NUMBER)                                                                                     \
    EXPORT int64_t NAME(                                                                                              \
        const int64_t *codes, const int64_t *counts, int64_t texts, const NUMBER *vectors, int64_t distinct,          \
        int64_t dimensions, SUM *sums) {                                                                              \
        for (int64_t text = 0; text < texts; text++, sums += dimensions) {                                            \
            memset(sums, 0, (size_t)dimensions * sizeof(SUM));                                                        \
            for (int64_t i = 0; i < counts[text]; i++, codes++) {                                                     \
                if (*codes < 0 || *codes >= distinct) return BAD_OFFSETS;                                             \
                const NUMBER *vector = vectors + *codes * dimensions;                                                 \
                for (int64_t j = 0; j < dimensions; j++) sums[j] = (SUM)(sums[j] + vector[j]);                        \
            }                                                                                                         \
        }                                                                                                             \
        return 0;                                                                                                     \
    }

/* For each text the sum of the vectors of its pieces: `counts[i]` of `codes`, each the number of a vector. */
ADD_UP(snapseed_add_up_1_1, int8_t, int8_t)
ADD_UP(snapseed_add_up_2_1, int16_t, int8_t)
ADD_UP(snapseed_add_up_2_2, int16_t, int16_t)
ADD_UP(snapseed_add_up_4_1, int32_t, int8_t)
ADD_UP(snapseed_add_up_4_2, int32_t, int16_t)
ADD_UP(snapseed_add_up_4_4, int32_t, int32_t)
