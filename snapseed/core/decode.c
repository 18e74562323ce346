/* A binary COPY stream, read from libpq row by row into the buffers of Arrow columns.
 *
 * Sources: PostgreSQL manual, COPY, "Binary Format"; libpq, "Functions Associated with the COPY Command"; numeric_send and
 * array_send in src/backend/utils/adt.
 */
#include <poll.h>
#include <sys/select.h>

#include "core.h"

enum { SIGNATURE = 11, STREAM_HEADER = 19, STREAM_TRAILER = 0xffff, ARRAY_DIMENSION = 8, NUMERIC_HEADER = 8 };

/* How often the caller gets a chance to be interrupted. And how long the server may fill the socket before we look: it
 * sends 8 kB at a time, and to be woken for each of them took a third more of our CPU time and slowed the server down. */
enum { POLL_MILLISECONDS = 100, NAP_MICROSECONDS = 200 };

typedef struct sink sink;

/* The buffers of a column, and for how many rows and bytes of texts they have room.
 *
 * A row's place is its number, and the offsets say where its texts and elements begin. So a row that found no room is taken
 * again from its start: the caller provides what is `needed`, or the `validity` (all ones) that the first NULL asks for. */
struct sink {
    int32_t kind;
    int32_t stride;     /* bytes of a value in `data`; 0: texts, lists, bits */
    int32_t dimensions; /* LIST: of this level and those below it */
    int32_t precision, scale;
    int32_t has_null;
    int64_t room, needed;
    int64_t room_bytes, needed_bytes;
    uint8_t *validity;
    int32_t *offsets; /* the first is 0 */
    uint8_t *data;
    sink *child;
};

/* A stream: libpq's connection and functions, how far it has been read, and a message that found no room. */
typedef struct {
    void *connection;
    int (*get_copy_data)(void *connection, char **message, int async);
    int (*consume_input)(void *connection);
    void (*free_memory)(void *message);
    char *message;
    int64_t message_bytes;
    int64_t rows, bytes; /* of this batch */
    int32_t socket;
    int32_t begun, ended; /* whether the header and the trailer have been seen */
    int32_t column;       /* of an error; -1 if it is not one of a column */
} source;

/* Why `snapseed_read` returned, if not for an error. */
enum pause { FULL = 0, WAITING, ENDED, LOST };

static inline unsigned __int128 power_of_ten(int exponent) {
    return exponent < 20 ? POWERS[exponent] : (unsigned __int128)POWERS[19] * POWERS[exponent - 19];
}

/* The digits of a numeric as a number of units of the column's scale. */
static int64_t take_decimal(const sink *s, const uint8_t *at, int64_t bytes, uint8_t *out) {
    if (bytes < NUMERIC_HEADER) return BAD_WIDTH;
    int groups = get16(at), weight = (int16_t)get16(at + 2), sign = get16(at + 4);
    if (bytes != NUMERIC_HEADER + 2 * (int64_t)groups) return BAD_WIDTH;
    if (sign && sign != NUMERIC_NEGATIVE) return sign >= 0xc000 ? NOT_FINITE : BAD_STREAM;
    if (get16(at + 6) > s->scale) return BAD_DIGITS;
    unsigned __int128 sum = 0, limit = power_of_ten(s->precision);
    int exponent = 4 * weight + s->scale; /* of the power of ten that a group counts */
    for (int i = 0; i < groups; i++, exponent -= 4) {
        unsigned group = get16(at + NUMERIC_HEADER + 2 * i);
        if (group > 9999) return BAD_STREAM;
        if (!group) continue;
        if (exponent < 0) { /* the last digits of this group are beyond the scale, so they must be zeros */
            if (exponent <= -4 || group % POWERS[-exponent]) return BAD_DIGITS;
            group /= POWERS[-exponent];
        }
        int digits = group < 10 ? 1 : group < 100 ? 2 : group < 1000 ? 3 : 4, zeros = exponent < 0 ? 0 : exponent;
        if (digits + zeros > s->precision) return BAD_DIGITS;
        sum += group * power_of_ten(zeros);
        if (sum >= limit) return BAD_DIGITS; /* a server that sends digits twice */
    }
    if (sign) sum = -sum;
    memcpy(out, &sum, 16);
    return 0;
}

static int64_t take_null(sink *s, int64_t row) {
    if (!s->validity) {
        s->has_null = true;
        return NO_ROOM;
    }
    s->validity[row >> 3] &= (uint8_t)~(1 << (row & 7));
    if (s->offsets) s->offsets[row + 1] = s->offsets[row];
    else if (s->kind != BOOLEAN) memset(s->data + s->stride * row, 0, (size_t)s->stride);
    else if (!(row & 7)) s->data[row >> 3] = 0;
    return 0;
}

static inline int64_t take_text(sink *s, int64_t row, const uint8_t *at, int64_t bytes) {
    int64_t begin = s->offsets[row], end = begin + bytes;
    if (end > INT32_MAX) return TOO_LONG;
    if (end > s->room_bytes) {
        s->needed_bytes = end;
        return NO_ROOM;
    }
    memcpy(s->data + begin, at, (size_t)bytes);
    s->offsets[row + 1] = (int32_t)end;
    return 0;
}

static int64_t take_array(sink *s, int64_t row, const uint8_t *at, int64_t bytes);

/* Put a value, or NULL if `bytes` is -1, into its place. */
static inline int64_t take(sink *s, int64_t row, const uint8_t *at, int64_t bytes) {
    if (row >= s->room) {
        s->needed = row + 1;
        return NO_ROOM;
    }
    if (bytes < 0) return take_null(s, row);
    uint8_t *out = s->stride ? s->data + s->stride * row : NULL;
    switch (s->kind) {
    case BOOLEAN:
        if (bytes != 1) return BAD_WIDTH;
        if (!(row & 7)) s->data[row >> 3] = 0;
        s->data[row >> 3] |= (uint8_t)((*at != 0) << (row & 7));
        return 0;
    case SWAPPED2: {
        if (bytes != 2) return BAD_WIDTH;
        uint16_t v = get16(at);
        memcpy(out, &v, 2);
        return 0;
    }
    case SWAPPED4: case REAL: case DATE: {
        if (bytes != 4) return BAD_WIDTH;
        uint32_t v = get32(at);
        if (s->kind == DATE && v != (uint32_t)INT32_MIN && v != INT32_MAX) {
            if ((int32_t)v >= INT32_MAX - EPOCH_DAYS) return TOO_LATE;
            v += EPOCH_DAYS;
        }
        memcpy(out, &v, 4);
        return 0;
    }
    case SWAPPED8: case DOUBLE: case TIMESTAMP: {
        if (bytes != 8) return BAD_WIDTH;
        uint64_t v = get64(at);
        if (s->kind == TIMESTAMP && v != (uint64_t)INT64_MIN && v != INT64_MAX) {
            if ((int64_t)v >= INT64_MAX - EPOCH_MICROSECONDS) return TOO_LATE;
            v += (uint64_t)EPOCH_MICROSECONDS;
        }
        memcpy(out, &v, 8);
        return 0;
    }
    case BYTES:
        if (bytes != s->stride) return BAD_WIDTH;
        memcpy(out, at, (size_t)bytes);
        return 0;
    case DECIMAL: return take_decimal(s, at, bytes, out);
    case VECTOR:
        if (bytes != 4 + (int64_t)s->stride || get32(at) != (uint32_t)(s->stride / 4) << 16) return BAD_WIDTH;
        for (int32_t i = 0; i < s->stride; i += 4) {
            uint32_t v = get32(at + 4 + i);
            memcpy(out + i, &v, 4);
        }
        return 0;
    case JSONB:
        if (bytes < 1 || *at != 1) return BAD_STREAM;
        return take_text(s, row, at + 1, bytes - 1);
    case TEXT: return take_text(s, row, at, bytes);
    case LIST: return take_array(s, row, at, bytes);
    default: return BAD_KIND;
    }
}

/* array_send: a box of lists, level by level, then its elements. */
static int64_t take_array(sink *s, int64_t row, const uint8_t *at, int64_t bytes) {
    const uint8_t *end = at + bytes;
    if (bytes < ARRAY_HEADER) return BAD_WIDTH;
    int32_t dimensions = (int32_t)get32(at);
    if (!dimensions) {
        s->offsets[row + 1] = s->offsets[row];
        return bytes == ARRAY_HEADER ? 0 : BAD_WIDTH;
    }
    if (dimensions != s->dimensions) return BAD_DIMENSIONS;
    at += ARRAY_HEADER;
    if (end - at < ARRAY_DIMENSION * (int64_t)dimensions) return BAD_WIDTH;
    int64_t count = 1;
    for (; s->kind == LIST; s = s->child, at += ARRAY_DIMENSION) {
        int64_t size = (int32_t)get32(at), begin = s->offsets[row];
        if (get32(at + 4) != 1) return BAD_BOUND;
        /* Each element has a length word at least, so there cannot be more of them than words. */
        if (size < 1 || count * size > (end - at) / 4) return BAD_STREAM;
        if (begin + count * size > INT32_MAX) return TOO_LONG;
        if (row + count > s->room) {
            s->needed = row + count;
            return NO_ROOM;
        }
        for (int64_t i = 1; i <= count; i++) s->offsets[row + i] = (int32_t)(begin + i * size);
        row = begin;
        count *= size;
    }
    for (int64_t last = row + count; row < last; row++) {
        if (end - at < 4) return BAD_STREAM;
        int32_t size = (int32_t)get32(at);
        at += 4;
        if (size < -1 || size > end - at) return BAD_STREAM;
        int64_t failed = take(s, row, at, size);
        if (failed) return failed;
        if (size > 0) at += size;
    }
    return at == end ? 0 : BAD_STREAM;
}

static int64_t take_row(source *from, sink *sinks, int32_t count, const uint8_t *at, const uint8_t *end) {
    from->column = -1;
    if (end - at < 2 || get16(at) != count) return BAD_COLUMNS;
    at += 2;
    for (from->column = 0; from->column < count; from->column++) {
        if (end - at < 4) return BAD_STREAM;
        int32_t bytes = (int32_t)get32(at);
        at += 4;
        if (bytes < -1 || bytes > end - at) return BAD_STREAM;
        int64_t failed = take(sinks + from->column, from->rows, at, bytes);
        if (failed) return failed;
        if (bytes > 0) at += bytes;
    }
    from->column = -1;
    return at == end ? 0 : BAD_STREAM;
}

/* A message is the header, a row or the trailer; a server may send the header and the first of the others in one. */
static int64_t take_message(source *from, sink *sinks, int32_t count) {
    const uint8_t *at = (const uint8_t *)from->message, *end = at + from->message_bytes;
    if (!from->begun) {
        if (end - at < STREAM_HEADER || memcmp(at, "PGCOPY\n\xff\r\n", SIGNATURE)) return BAD_STREAM;
        uint32_t flags = get32(at + SIGNATURE), extension = get32(at + SIGNATURE + 4);
        at += STREAM_HEADER;
        if (flags || extension > end - at) return BAD_STREAM;
        at += extension;
    }
    if (from->ended) return BAD_STREAM;
    if (end - at == 2 && get16(at) == STREAM_TRAILER) {
        from->ended = true;
    } else if (at < end || from->begun) {
        int64_t failed = take_row(from, sinks, count, at, end);
        if (failed) return failed;
        from->rows++;
    }
    from->begun = true;
    from->bytes += end - at;
    return 0;
}

/* Read rows until there are `most_rows`, the next one would exceed `most_bytes`, the stream ends or stalls, or an error. */
EXPORT int64_t snapseed_read(source *from, sink *sinks, int32_t count, int64_t most_rows, int64_t most_bytes) {
    bool dry = false;
    while (from->rows < most_rows) {
        if (!from->message) {
            int bytes = from->get_copy_data(from->connection, &from->message, 1);
            if (bytes < 0) return bytes == -1 ? ENDED : LOST;
            if (!bytes) {
                /* Encryption may hold data that the socket no longer shows: ask libpq before each wait. */
                struct pollfd socket = {.fd = from->socket, .events = POLLIN};
                if (dry) select(0, NULL, NULL, NULL, &(struct timeval){.tv_usec = NAP_MICROSECONDS});
                if (dry && poll(&socket, 1, POLL_MILLISECONDS) <= 0) return WAITING;
                if (!from->consume_input(from->connection)) return LOST;
                dry = !dry;
                continue;
            }
            dry = false;
            from->message_bytes = bytes;
        }
        if (from->rows && from->bytes + from->message_bytes > most_bytes) return FULL;
        int64_t failed = take_message(from, sinks, count);
        if (failed == NO_ROOM) return failed;
        from->free_memory(from->message);
        from->message = NULL;
        if (failed) return failed;
    }
    return FULL;
}
