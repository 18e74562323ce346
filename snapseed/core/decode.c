/* A binary COPY stream as the buffers of Arrow columns, and reading that stream from libpq.
 *
 * Sources: PostgreSQL manual, COPY, "Binary Format"; numeric_send and array_send in src/backend/utils/adt.
 */
#include "core.h"

enum { SIGNATURE = 11, STREAM_HEADER = 19, NUMERIC_HEADER = 8, STREAM_NULL = -1, STREAM_END = 0xffff, MOST_COLUMNS = 1664 };

typedef struct sink sink;

/* Where the values of a column go. The first pass counts `rows`, `bytes` and `nulls`; the second, after the caller has
 * provided the buffers and set the counts to zero, fills them. `validity` is all zeros at first. */
struct sink {
    int32_t kind;
    int32_t width;      /* BYTES, VECTOR: as in column; DECIMAL: the scale */
    int32_t precision;  /* DECIMAL */
    int32_t dimensions; /* LIST: of this level and those below it */
    int64_t rows, bytes, nulls;
    uint8_t *validity;
    int32_t *offsets; /* the first is 0 */
    uint8_t *data;
    sink *child;
};

static unsigned __int128 power_of_ten(int exponent) {
    unsigned __int128 power = 1;
    while (exponent-- > 0) power *= 10;
    return power;
}

static int64_t take_decimal(sink *s, const uint8_t *at, int64_t bytes, __int128 *value) {
    if (bytes < NUMERIC_HEADER) return BAD_WIDTH;
    int count = get16(at), weight = (int16_t)get16(at + 2), sign = get16(at + 4), scale = get16(at + 6);
    if (bytes != NUMERIC_HEADER + 2 * (int64_t)count) return BAD_WIDTH;
    if (sign != 0 && sign != 0x4000) return sign >= 0xc000 ? NOT_FINITE : BAD_STREAM;
    if (scale > s->width || weight > 10) return BAD_DIGITS;
    unsigned __int128 limit = power_of_ten(s->precision), sum = 0;
    for (int i = 0; i < count; i++) {
        int exponent = 4 * (weight - i) + s->width; /* of the power of ten that this group counts */
        unsigned group = get16(at + NUMERIC_HEADER + 2 * i);
        if (group > 9999) return BAD_STREAM;
        if (exponent < 0) {
            unsigned divisor = exponent > -4 ? (unsigned)power_of_ten(-exponent) : 10000;
            if (group % divisor) return BAD_DIGITS;
            group /= divisor;
            exponent = 0;
        }
        if (!group) continue;
        if (exponent > 38) return BAD_DIGITS;
        unsigned __int128 power = power_of_ten(exponent);
        if (power > limit || group > limit / power) return BAD_DIGITS;
        sum += group * power;
        if (sum >= limit) return BAD_DIGITS;
    }
    *value = sign ? -(__int128)sum : (__int128)sum;
    return 0;
}

static inline int64_t take_fixed(sink *s, const uint8_t *at, int64_t bytes, bool fill) {
    int64_t row = s->rows;
    switch (s->kind) {
    case BOOLEAN:
        if (bytes != 1) return BAD_WIDTH;
        if (fill && *at) s->data[row >> 3] |= (uint8_t)(1 << (row & 7));
        return 0;
    case SWAPPED2: {
        if (bytes != 2) return BAD_WIDTH;
        uint16_t v = get16(at);
        if (fill) memcpy(s->data + 2 * row, &v, 2);
        return 0;
    }
    case SWAPPED4: case REAL: case DATE: {
        if (bytes != 4) return BAD_WIDTH;
        uint32_t v = get32(at);
        if (s->kind == DATE && v != (uint32_t)INT32_MIN && v != INT32_MAX) {
            if ((int32_t)v > INT32_MAX - 1 - EPOCH_DAYS) return TOO_LATE;
            v += EPOCH_DAYS;
        }
        if (fill) memcpy(s->data + 4 * row, &v, 4);
        return 0;
    }
    case SWAPPED8: case DOUBLE: case TIMESTAMP: {
        if (bytes != 8) return BAD_WIDTH;
        uint64_t v = get64(at);
        if (s->kind == TIMESTAMP && v != (uint64_t)INT64_MIN && v != INT64_MAX) {
            if ((int64_t)v > INT64_MAX - 1 - EPOCH_MICROSECONDS) return TOO_LATE;
            v += (uint64_t)EPOCH_MICROSECONDS;
        }
        if (fill) memcpy(s->data + 8 * row, &v, 8);
        return 0;
    }
    case BYTES:
        if (bytes != s->width) return BAD_WIDTH;
        if (fill) memcpy(s->data + s->width * row, at, (size_t)bytes);
        return 0;
    case DECIMAL: {
        __int128 value;
        int64_t failed = take_decimal(s, at, bytes, &value);
        if (!failed && fill) memcpy(s->data + 16 * row, &value, 16);
        return failed;
    }
    case VECTOR:
        if (bytes != 4 + 4 * (int64_t)s->width || get16(at) != s->width) return BAD_WIDTH;
        for (int64_t i = 0; fill && i < s->width; i++) {
            uint32_t v = get32(at + 4 + 4 * i);
            memcpy(s->data + 4 * (row * s->width + i), &v, 4);
        }
        return 0;
    default: return BAD_KIND;
    }
}

static inline void take_null(sink *s, bool fill) {
    if (fill && s->offsets) s->offsets[s->rows + 1] = s->offsets[s->rows];
    s->rows++;
    s->nulls++;
}

/* A value that is not an array. */
static inline int64_t take_scalar(sink *s, const uint8_t *at, int64_t bytes, bool fill) {
    if (s->kind == JSONB) {
        if (bytes < 1 || *at != 1) return BAD_STREAM;
        at++;
        bytes--;
    }
    if (s->kind == TEXT || s->kind == JSONB) {
        if (fill) {
            memcpy(s->data + s->bytes, at, (size_t)bytes);
            s->offsets[s->rows + 1] = (int32_t)(s->bytes + bytes);
        }
        s->bytes += bytes;
    } else {
        int64_t failed = take_fixed(s, at, bytes, fill);
        if (failed) return failed;
    }
    if (fill && s->validity) s->validity[s->rows >> 3] |= (uint8_t)(1 << (s->rows & 7));
    s->rows++;
    return 0;
}

/* One list of `count` inner ones, or elements. */
static inline void take_list(sink *s, int64_t count, bool fill) {
    if (fill) {
        s->offsets[s->rows + 1] = (int32_t)(s->offsets[s->rows] + count);
        if (s->validity) s->validity[s->rows >> 3] |= (uint8_t)(1 << (s->rows & 7));
    }
    s->rows++;
}

static int64_t take_array(sink *s, const uint8_t *at, int64_t bytes, bool fill) {
    if (bytes < 12) return BAD_WIDTH;
    int32_t dimensions = (int32_t)get32(at);
    if (!dimensions) {
        take_list(s, 0, fill);
        return bytes == 12 ? 0 : BAD_WIDTH;
    }
    if (dimensions != s->dimensions) return BAD_DIMENSIONS;
    const uint8_t *end = at + bytes;
    if (bytes < 12 + 8 * (int64_t)dimensions) return BAD_WIDTH;
    int64_t lists = 1;
    at += 12;
    for (sink *level = s; level->kind == LIST; level = level->child, at += 8) {
        int64_t size = (int32_t)get32(at);
        if (get32(at + 4) != 1) return BAD_BOUND;
        /* Each element has a length word at least, so a size cannot be larger than what is there. */
        if (size < 1 || size > (end - at) / 4 || lists * size > (end - at) / 4) return BAD_STREAM;
        for (int64_t i = 0; i < lists; i++) take_list(level, size, fill);
        lists *= size;
        s = level->child;
    }
    for (int64_t i = 0; i < lists; i++) {
        if (end - at < 4) return BAD_STREAM;
        int32_t length = (int32_t)get32(at);
        at += 4;
        if (length == STREAM_NULL) {
            take_null(s, fill);
            continue;
        }
        if (length < 0 || length > end - at) return BAD_STREAM;
        int64_t failed = take_scalar(s, at, length, fill);
        if (failed) return failed;
        at += length;
    }
    return at == end ? 0 : BAD_STREAM;
}

/* Bytes of the stream's header, 0 if it is not there as a whole, or an error. */
EXPORT int64_t snapseed_stream_header(const uint8_t *data, int64_t bytes) {
    if (bytes < STREAM_HEADER) return 0;
    if (memcmp(data, "PGCOPY\n\xff\r\n", SIGNATURE)) return BAD_STREAM;
    uint32_t flags = get32(data + SIGNATURE), extension = get32(data + SIGNATURE + 4);
    if (flags || extension > 1024) return BAD_STREAM;
    return bytes < STREAM_HEADER + (int64_t)extension ? 0 : STREAM_HEADER + (int64_t)extension;
}

/* Count one row that begins at `at`, and return its end: NULL if it is not there as a whole. */
static const uint8_t *count_row(const uint8_t *at, const uint8_t *end, sink *sinks, int32_t count, int64_t *failed) {
    const uint8_t *values[MOST_COLUMNS];
    if (end - at < 2) return NULL;
    if (get16(at) != count) {
        *failed = BAD_COLUMNS;
        return NULL;
    }
    at += 2;
    for (int32_t i = 0; i < count; i++) {
        if (end - at < 4) return NULL;
        int32_t length = (int32_t)get32(at);
        values[i] = at;
        at += 4;
        if (length == STREAM_NULL) continue;
        if (length < 0 || length > MAX_VALUE) {
            *failed = BAD_STREAM;
            return NULL;
        }
        if (length > end - at) return NULL;
        at += length;
    }
    for (int32_t i = 0; i < count; i++) {
        sink *s = sinks + i;
        int32_t length = (int32_t)get32(values[i]);
        if (length == STREAM_NULL) {
            take_null(s, false);
        } else if (s->kind == LIST) {
            *failed = take_array(s, values[i] + 4, length, false);
            if (*failed) return NULL;
        } else {
            s->rows++;
            s->bytes += length; /* of texts; one too many for each jsonb */
        }
    }
    return at;
}

/* Fill the sinks with one row, which `count_row` has counted, and return its end. */
static const uint8_t *fill_row(const uint8_t *at, sink *sinks, int32_t count, int64_t *column, int64_t *failed) {
    at += 2;
    for (int32_t i = 0; i < count; i++) {
        int32_t length = (int32_t)get32(at);
        at += 4;
        *column = i;
        if (length == STREAM_NULL) {
            take_null(sinks + i, true);
            continue;
        }
        *failed = sinks[i].kind == LIST ? take_array(sinks + i, at, length, true)
                                        : take_scalar(sinks + i, at, length, true);
        if (*failed) return NULL;
        at += length;
    }
    return at;
}

/* Take the whole rows in `data`, `most` at most: the bytes that they are, or an error.
 *
 * told[0] becomes the number of rows, or of the row with the error; told[1] its column; told[2] whether the trailer was
 * there, whose bytes count. Without `fill` the sinks only count; with it, `most` is what they have counted. */
EXPORT int64_t snapseed_decode(
    const uint8_t *data, int64_t bytes, sink *sinks, int32_t count, int64_t most, int32_t fill, int64_t *told) {
    const uint8_t *at = data, *end = data + bytes;
    told[1] = told[2] = 0;
    if (count > MOST_COLUMNS) return BAD_COLUMNS;
    for (told[0] = 0; told[0] < most; told[0]++) {
        int64_t failed = 0;
        const uint8_t *next;
        if (!fill && end - at >= 2 && get16(at) == STREAM_END) {
            told[2] = 1;
            at += 2;
            return at == end ? at - data : BAD_STREAM;
        }
        if (fill) next = fill_row(at, sinks, count, told + 1, &failed);
        else next = count_row(at, end, sinks, count, &failed);
        if (failed) return failed;
        if (!next) break;
        at = next;
    }
    return at - data;
}

/* libpq's functions, found by the caller in the library that the driver uses (PostgreSQL manual, 32.10). */
typedef int (*get_copy_data)(void *connection, char **buffer, int async);
typedef void (*free_memory)(void *pointer);

/* Append what has arrived to `out`, as long as there is `room` for it.
 *
 * `kept` is a message that had no room the last time, and its bytes; both are 0 if there is none. Returns the bytes
 * appended. `state` becomes libpq's answer: 0 nothing more has arrived, -1 the end, -2 an error; a positive number is
 * the bytes of a message that is kept until there is room. */
EXPORT int64_t snapseed_read(
    void *connection, get_copy_data get, free_memory release, uint8_t *out, int64_t room, int64_t *kept,
    int64_t *state) {
    int64_t used = 0;
    for (;;) {
        char *message = (char *)(intptr_t)kept[0];
        int64_t size = kept[1];
        if (!message) size = get(connection, &message, 1);
        *state = size;
        if (size <= 0) return used;
        kept[0] = (int64_t)(intptr_t)message;
        kept[1] = size;
        if (size > room - used) return used;
        memcpy(out + used, message, (size_t)size);
        release(message);
        used += size;
        kept[0] = kept[1] = 0;
    }
}
