/* Kernels over Arrow buffers: hash rows, encode and decode binary COPY, read it from libpq, add up vectors,
 * replace values by a key, take records of Parquet files apart.
 *
 * No Python API and no dependency: plain functions, called through ctypes, which releases the GIL. The caller owns
 * all memory. Whatever comes from a file or a socket is checked here before it is used as an address.
 */
#ifndef SNAPSEED_CORE_H
#define SNAPSEED_CORE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "snapseed needs a little-endian machine, as Arrow's buffers are"
#endif

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

/* How the values of a column are laid out in Arrow, and which bytes PostgreSQL has for them. */
enum kind {
    BOOLEAN = 1, /* bitmap -> boolsend */
    SWAPPED2,    /* integers: bytes in network order */
    SWAPPED4,
    SWAPPED8,
    BYTES,     /* `width` bytes as they are: uuid */
    HALF,      /* float16 -> float4send */
    REAL,      /* float4send, with one NaN */
    DOUBLE,    /* float8send, with one NaN */
    DATE,      /* days since 1970 -> since 2000; the extremes are the infinities */
    TIMESTAMP, /* microseconds, likewise */
    TEXT,      /* offsets and data, as they are: text, bytea, json */
    TRIMMED,   /* text without trailing blanks: how char(n) is hashed */
    JSONB,     /* version byte, text */
    DECIMAL,   /* decimal128 of scale `width` -> numeric_send */
    VECTOR,    /* pgvector's vector_send: `width` elements of `child` */
    LIST,      /* array_send, `dimensions` deep; `width` elements each where the list has a fixed size */
};

/* What a kernel returns in place of a size; the row is told by its last argument. */
enum error {
    BAD_KIND = -1,       /* a descriptor that is not one of ours */
    BAD_OFFSETS = -2,    /* offsets that fall, or lie outside of their buffer */
    TOO_EARLY = -3,      /* a date or timestamp before PostgreSQL's first */
    RAGGED = -4,         /* inner arrays that differ in length */
    NULL_INNER = -5,     /* NULL in place of an inner array */
    EMPTY_INNER = -6,    /* an inner array without elements */
    NULL_ELEMENT = -7,   /* a NULL in a vector */
    NO_ROOM = -8,        /* the output buffer is too small, or memory is exhausted */
    TOO_LONG = -9,       /* a value of 1 GiB or more, which PostgreSQL does not take */
    BAD_STREAM = -10,    /* not a binary COPY stream, or one that ends within a value */
    BAD_WIDTH = -11,     /* a value whose length is not that of its type */
    BAD_COLUMNS = -12,   /* a row with another number of columns */
    NOT_FINITE = -13,    /* a numeric NaN or infinity, which a decimal cannot hold */
    BAD_DIGITS = -14,    /* a numeric with more digits than its type has */
    BAD_BOUND = -15,     /* an array whose lower bound is not 1 */
    BAD_DIMENSIONS = -16, /* an array of another number of dimensions */
    TOO_LATE = -17,      /* a date or timestamp that Arrow, which counts from 1970, cannot hold */
    BAD_THRIFT = -18     /* not a structure in Thrift's compact protocol, or one that has a field twice */
};

enum { MAX_DIMENSIONS = 6, MAX_VALUE = 0x3fffffff };

typedef struct column column;

/* A column of Arrow. `offset` is where its first row lies, counted in rows from the start of its buffers. */
struct column {
    int32_t kind;
    int32_t width;
    int32_t element_oid;
    int32_t dimensions;
    int64_t offset;
    int64_t length;
    const uint8_t *validity; /* NULL where no value is null */
    const int32_t *offsets;
    const uint8_t *data;
    int64_t data_bytes;
    const column *child;
};

/* The elements of one array: from `begin` to `end` of `elements`, as a box of `sizes`. */
typedef struct {
    const column *elements;
    int64_t begin, end;
    int32_t sizes[MAX_DIMENSIONS];
} box;

static inline uint16_t get16(const uint8_t *at) { uint16_t v; memcpy(&v, at, 2); return __builtin_bswap16(v); }
static inline uint32_t get32(const uint8_t *at) { uint32_t v; memcpy(&v, at, 4); return __builtin_bswap32(v); }
static inline uint64_t get64(const uint8_t *at) { uint64_t v; memcpy(&v, at, 8); return __builtin_bswap64(v); }
static inline void put16(uint8_t *at, uint16_t v) { v = __builtin_bswap16(v); memcpy(at, &v, 2); }
static inline void put32(uint8_t *at, uint32_t v) { v = __builtin_bswap32(v); memcpy(at, &v, 4); }
static inline void put64(uint8_t *at, uint64_t v) { v = __builtin_bswap64(v); memcpy(at, &v, 8); }

static inline bool is_valid(const column *c, int64_t row) {
    row += c->offset;
    return !c->validity || (c->validity[row >> 3] >> (row & 7) & 1);
}

/* The bytes of a variable-width value, or an error. */
static inline int64_t span(const column *c, int64_t row, const uint8_t **at) {
    int32_t begin = c->offsets[c->offset + row], end = c->offsets[c->offset + row + 1];
    if (begin < 0 || end < begin || end > c->data_bytes) return BAD_OFFSETS;
    *at = c->data + begin;
    return end - begin;
}

static inline int64_t trimmed(const uint8_t *at, int64_t bytes) {
    while (bytes > 0 && at[bytes - 1] == ' ') bytes--;
    return bytes;
}

/* values.c: the bytes of one value without its length word. */
static int64_t value_width(const column *c);                            /* of all values of the column; -1 if they vary */
static int64_t value_bound(const column *c, int64_t row);               /* the most bytes that one value takes, or an error */
static int64_t put_value(const column *c, int64_t row, uint8_t *out);   /* its bytes, or an error; the value is not null */
static inline int64_t fixed_value(const column *c, int64_t row, uint8_t *out); /* the same for the fixed-width kinds */

#endif
