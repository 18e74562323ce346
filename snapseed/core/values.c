/* One value as PostgreSQL's binary form, and rows of values as a binary COPY stream.
 *
 * Sources: the *send functions of PostgreSQL's src/backend/utils/adt; PostgreSQL manual, COPY, "Binary Format".
 */
#include "core.h"

enum { EPOCH_DAYS = 10957, NUMERIC_NEGATIVE = 0x4000, DECIMAL_GROUPS = 11, ARRAY_HEADER = 12 };
static const int64_t EPOCH_MICROSECONDS = EPOCH_DAYS * INT64_C(86400000000);
static const uint32_t REAL_NAN = 0x7fc00000;
static const uint64_t DOUBLE_NAN = UINT64_C(0x7ff8000000000000);
static const uint64_t POWERS[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000,
    10000000000, 100000000000, 1000000000000, 10000000000000, 100000000000000, 1000000000000000, 10000000000000000,
    100000000000000000, 1000000000000000000, UINT64_C(10000000000000000000)};

static inline uint32_t real_bits(uint32_t bits) { return (bits & 0x7fffffff) > 0x7f800000 ? REAL_NAN : bits; }

/* A float16 as the bits of a float. Scaling by 2^112 moves the exponent, subnormal numbers included. */
static inline uint32_t half_bits(uint16_t half) {
    uint32_t bits = (uint32_t)(half & 0x7fff) << 13;
    float number;
    memcpy(&number, &bits, 4);
    number *= 0x1p112f;
    memcpy(&bits, &number, 4);
    if (number >= 65536.0f) bits |= 0x7f800000;
    bits |= (uint32_t)(half & 0x8000) << 16;
    return (half & 0x7fff) > 0x7c00 ? REAL_NAN : bits;
}

static inline uint32_t element_bits(const column *c, int64_t row) {
    uint16_t half;
    uint32_t bits;
    if (c->kind == HALF) {
        memcpy(&half, c->data + 2 * (c->offset + row), 2);
        return half_bits(half);
    }
    memcpy(&bits, c->data + 4 * (c->offset + row), 4);
    return real_bits(bits);
}

static int64_t value_width(const column *c) {
    switch (c->kind) {
    case BOOLEAN: return 1;
    case SWAPPED2: return 2;
    case SWAPPED4: case HALF: case REAL: case DATE: return 4;
    case SWAPPED8: case DOUBLE: case TIMESTAMP: return 8;
    case BYTES: return c->width;
    case VECTOR: return 4 + 4 * (int64_t)c->width;
    default: return -1;
    }
}

static inline int64_t fixed_value(const column *c, int64_t row, uint8_t *out) {
    int64_t at = c->offset + row;
    switch (c->kind) {
    case BOOLEAN: {
        *out = c->data[at >> 3] >> (at & 7) & 1;
        return 1;
    }
    case SWAPPED2: {
        uint16_t v;
        memcpy(&v, c->data + 2 * at, 2);
        put16(out, v);
        return 2;
    }
    case SWAPPED4: {
        uint32_t v;
        memcpy(&v, c->data + 4 * at, 4);
        put32(out, v);
        return 4;
    }
    case SWAPPED8: {
        uint64_t v;
        memcpy(&v, c->data + 8 * at, 8);
        put64(out, v);
        return 8;
    }
    case BYTES: {
        memcpy(out, c->data + c->width * at, (size_t)c->width);
        return c->width;
    }
    case HALF: case REAL: {
        put32(out, element_bits(c, row));
        return 4;
    }
    case DOUBLE: {
        uint64_t v;
        memcpy(&v, c->data + 8 * at, 8);
        put64(out, (v & INT64_MAX) > UINT64_C(0x7ff0000000000000) ? DOUBLE_NAN : v);
        return 8;
    }
    case DATE: {
        int32_t v;
        memcpy(&v, c->data + 4 * at, 4);
        if (v != INT32_MIN && v != INT32_MAX) {
            /* INT32_MIN itself would read as -infinity. */
            if (v <= INT32_MIN + EPOCH_DAYS) return TOO_EARLY;
            v -= EPOCH_DAYS;
        }
        put32(out, (uint32_t)v);
        return 4;
    }
    case TIMESTAMP: {
        int64_t v;
        memcpy(&v, c->data + 8 * at, 8);
        if (v != INT64_MIN && v != INT64_MAX) {
            if (v <= INT64_MIN + EPOCH_MICROSECONDS) return TOO_EARLY;
            v -= EPOCH_MICROSECONDS;
        }
        put64(out, (uint64_t)v);
        return 8;
    }
    default: return BAD_KIND;
    }
}

/* numeric_send: int16 digits, weight, sign, scale; then digits in base 10,000 without zeros at either end. */
static int64_t put_decimal(const column *c, int64_t row, uint8_t *out) {
    uint64_t words[2];
    memcpy(words, c->data + 16 * (c->offset + row), 16);
    bool negative = words[1] >> 63;
    unsigned __int128 wide = (unsigned __int128)words[1] << 64 | words[0];
    if (negative) wide = -wide;
    uint16_t groups[DECIMAL_GROUPS]; /* the least significant first */
    int count = 0, below = (c->width + 3) / 4, partial = c->width % 4;
    uint32_t divisor = POWERS[partial ? partial : 4], factor = POWERS[partial ? 4 - partial : 0];
    for (; wide >> 64; divisor = 10000, factor = 1) {
        groups[count++] = (uint16_t)((uint32_t)(wide % divisor) * factor);
        wide /= divisor;
    }
    uint64_t narrow = (uint64_t)wide; /* most decimals: dividing 128 bits takes ten times as long */
    if (factor > 1) {
        groups[count++] = (uint16_t)((uint32_t)(narrow % divisor) * factor);
        narrow /= divisor;
    }
    for (; narrow; narrow /= 10000) groups[count++] = (uint16_t)(narrow % 10000);
    int low = 0, high = count;
    while (high > 0 && !groups[high - 1]) high--;
    while (low < high && !groups[low]) low++;
    put16(out, (uint16_t)(high - low));
    put16(out + 2, (uint16_t)(high > low ? high - 1 - below : 0));
    put16(out + 4, negative ? NUMERIC_NEGATIVE : 0);
    put16(out + 6, (uint16_t)c->width);
    uint8_t *at = out + 8;
    for (int group = high - 1; group >= low; group--, at += 2) put16(at, groups[group]);
    return at - out;
}

static int64_t put_vector(const column *c, int64_t row, uint8_t *out) {
    const column *child = c->child;
    int64_t begin = (c->offset + row) * c->width;
    if (begin + c->width > child->length) return BAD_OFFSETS;
    put16(out, (uint16_t)c->width);
    put16(out + 2, 0);
    for (int32_t i = 0; i < c->width; i++) {
        if (child->validity && !is_valid(child, begin + i)) return NULL_ELEMENT;
        put32(out + 4 + 4 * (int64_t)i, element_bits(child, begin + i));
    }
    return 4 + 4 * (int64_t)c->width;
}

/* The elements of an array. PostgreSQL's are boxes: all sublists of one level have the same length. */
static int64_t find_box(const column *c, int64_t row, box *found) {
    int64_t begin = row, end = row + 1;
    for (int level = 0; level < c[0].dimensions; level++) found->sizes[level] = 0;
    const column *list = c;
    for (int level = 0; level < c->dimensions; level++, list = list->child) {
        if (list->kind != LIST || !list->child) return BAD_KIND;
        int64_t first = 0, last = 0;
        if (end > list->length) return BAD_OFFSETS;
        for (int64_t i = begin; i < end; i++) {
            if (level && !is_valid(list, i)) return NULL_INNER;
            int64_t from = list->offset + i, to;
            if (list->width) {
                to = (from + 1) * list->width;
                from *= list->width;
            } else {
                to = list->offsets[from + 1];
                from = list->offsets[from];
            }
            if (from < 0 || to < from || to > list->child->length) return BAD_OFFSETS;
            if (to - from > INT32_MAX) return TOO_LONG;
            if (i == begin) {
                first = from;
                found->sizes[level] = (int32_t)(to - from);
            } else if (to - from != found->sizes[level]) {
                return RAGGED;
            } else if (from != last) {
                return BAD_OFFSETS;
            }
            last = to;
        }
        if (level && end > begin && !found->sizes[level]) return EMPTY_INNER;
        begin = first;
        end = last;
    }
    found->elements = list;
    found->begin = begin;
    found->end = end;
    return end - begin;
}

/* array_send: dimensions, whether there are NULLs, element type; length and lower bound of each; then the elements. */
static int64_t put_list(const column *c, int64_t row, uint8_t *out) {
    box found;
    int64_t count = find_box(c, row, &found);
    if (count < 0) return count;
    const column *elements = found.elements;
    bool nulls = false;
    if (elements->validity)
        for (int64_t i = found.begin; i < found.end && !nulls; i++) nulls = !is_valid(elements, i);
    if (nulls && c->width) return NULL_ELEMENT; /* a vector, as an array */
    put32(out, count ? (uint32_t)c->dimensions : 0);
    put32(out + 4, nulls);
    put32(out + 8, (uint32_t)c->element_oid);
    uint8_t *at = out + ARRAY_HEADER;
    if (!count) return ARRAY_HEADER;
    for (int level = 0; level < c->dimensions; level++, at += 8) {
        put32(at, (uint32_t)found.sizes[level]);
        put32(at + 4, 1);
    }
    if (!nulls && elements->kind == HALF) {
        const uint8_t *half = elements->data + 2 * (elements->offset + found.begin);
        for (int64_t i = 0; i < count; i++, at += 8) {
            uint16_t bits;
            memcpy(&bits, half + 2 * i, 2);
            put64(at, UINT64_C(4) << 32 | half_bits(bits));
        }
        return at - out;
    }
    for (int64_t i = found.begin; i < found.end; i++) {
        if (!is_valid(elements, i)) {
            put32(at, UINT32_MAX);
            at += 4;
            continue;
        }
        int64_t bytes = put_value(elements, i, at + 4);
        if (bytes < 0) return bytes;
        put32(at, (uint32_t)bytes);
        at += 4 + bytes;
    }
    return at - out;
}

static int64_t put_value(const column *c, int64_t row, uint8_t *out) {
    const uint8_t *at;
    int64_t bytes;
    switch (c->kind) {
    case TEXT: case TRIMMED:
        bytes = span(c, row, &at);
        if (bytes < 0) return bytes;
        if (c->kind == TRIMMED) bytes = trimmed(at, bytes);
        memcpy(out, at, (size_t)bytes);
        return bytes;
    case JSONB:
        bytes = span(c, row, &at);
        if (bytes < 0) return bytes;
        *out = 1;
        memcpy(out + 1, at, (size_t)bytes);
        return bytes + 1;
    case DECIMAL: return put_decimal(c, row, out);
    case VECTOR: return put_vector(c, row, out);
    case LIST: return put_list(c, row, out);
    default: return fixed_value(c, row, out);
    }
}

static int64_t value_bound(const column *c, int64_t row) {
    const uint8_t *at;
    int64_t bytes = value_width(c);
    if (bytes >= 0) return bytes;
    switch (c->kind) {
    case TEXT: case TRIMMED: return span(c, row, &at);
    case JSONB: return bytes = span(c, row, &at), bytes < 0 ? bytes : bytes + 1;
    case DECIMAL: return 8 + 2 * DECIMAL_GROUPS;
    case LIST: {
        box found;
        int64_t count = find_box(c, row, &found);
        if (count < 0) return count;
        int64_t each = value_width(found.elements), sum = ARRAY_HEADER + 8 * (int64_t)c->dimensions + 4 * count;
        if (found.elements->kind == LIST) return BAD_KIND;
        if (each >= 0) return sum + each * count;
        for (int64_t i = found.begin; i < found.end; i++) {
            if (!is_valid(found.elements, i)) continue;
            each = value_bound(found.elements, i);
            if (each < 0) return each;
            sum += each;
        }
        return sum;
    }
    default: return BAD_KIND;
    }
}

/* The most bytes that these rows take in a binary COPY stream, or an error, whose row is put into *row. */
EXPORT int64_t snapseed_bound(const column *columns, int32_t count, int64_t first, int64_t rows, int64_t *row) {
    int64_t sum = rows * (2 + 4 * (int64_t)count);
    for (const column *c = columns; c < columns + count; c++) {
        if (first < 0 || rows < 0 || first + rows > c->length) return BAD_OFFSETS;
        int64_t width = c->kind == DECIMAL ? 8 + 2 * DECIMAL_GROUPS : value_width(c);
        if (width >= 0) {
            sum += rows * width;
            continue;
        }
        for (*row = first; *row < first + rows; ++*row) {
            if (!is_valid(c, *row)) continue;
            int64_t bytes = value_bound(c, *row);
            if (bytes > MAX_VALUE) return TOO_LONG;
            if (bytes < 0) return bytes;
            sum += bytes;
        }
    }
    return sum;
}

/* The rows as a binary COPY stream without header and trailer; `room` is what `snapseed_bound` said of them. */
EXPORT int64_t snapseed_encode(
    const column *columns, int32_t count, int64_t first, int64_t rows, uint8_t *out, int64_t room, int64_t *row) {
    int64_t need = snapseed_bound(columns, count, first, rows, row);
    if (need < 0) return need;
    if (need > room) return NO_ROOM;
    uint8_t *at = out;
    for (*row = first; *row < first + rows; ++*row) {
        put16(at, (uint16_t)count);
        at += 2;
        for (const column *c = columns; c < columns + count; c++) {
            if (!is_valid(c, *row)) {
                put32(at, UINT32_MAX);
                at += 4;
                continue;
            }
            int64_t bytes = put_value(c, *row, at + 4);
            if (bytes < 0) return bytes;
            put32(at, (uint32_t)bytes);
            at += 4 + bytes;
        }
    }
    return at - out;
}

/* The length of the longest value of a dictionary page of Parquet: of texts, each after its length in four bytes. */
EXPORT int64_t snapseed_longest_value(const uint8_t *data, int64_t bytes) {
    int64_t longest = 0;
    for (int64_t at = 0; at < bytes;) {
        uint32_t length;
        if (bytes - at < 4) return BAD_OFFSETS;
        memcpy(&length, data + at, 4);
        at += 4;
        if (length > bytes - at) return BAD_OFFSETS;
        at += length;
        if (length > longest) longest = length;
    }
    return longest;
}
