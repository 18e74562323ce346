/* A structure in Thrift's compact protocol, as Parquet's footers and page headers are, as a list of what is in it. */
#include "core.h"

/* A number, or a structure that begins here. Its `path` is the numbers of the fields that lead to it, one byte each and
 * the innermost last, with ELEMENT for a step into a list; 0 if there are more than eight. */
typedef struct {
    uint64_t path;
    int64_t value;
} thrift_item;

typedef struct {
    const uint8_t *at, *end;
    thrift_item *items;
    int64_t count, room;
} thrift;

enum { ELEMENT = 0xff, MOST_FIELDS = 64, MOST_DEPTH = 32, VARINT_BYTES = 10 };
/* The types of the protocol. A Boolean field has its value in its type. */
enum { STOP, TRUE_FIELD, FALSE_FIELD, BYTE, I16, I32, I64, BINARY = 8, ARRAY, STRUCTURE = 12 };

static int64_t thrift_varint(thrift *t, uint64_t *value) {
    *value = 0;
    for (int place = 0; place < VARINT_BYTES && t->at < t->end; place++) {
        uint8_t byte = *t->at++;
        *value |= (uint64_t)(byte & 127) << (7 * place);
        if (!(byte & 128)) return 0;
    }
    return BAD_THRIFT;
}

static int64_t thrift_integer(thrift *t, int64_t *value) {
    uint64_t raw;
    if (thrift_varint(t, &raw)) return BAD_THRIFT;
    *value = (int64_t)(raw >> 1 ^ (0 - (raw & 1)));
    return 0;
}

static int64_t thrift_add(thrift *t, uint64_t path, int64_t value) {
    if (t->count == t->room) return NO_ROOM;
    t->items[t->count++] = (thrift_item){path, value};
    return 0;
}

static uint64_t thrift_step(uint64_t path, uint64_t field) { return path >> 56 ? 0 : path << 8 | field; }

static int64_t thrift_value(thrift *t, int kind, uint64_t path, int depth);

/* The fields up to the end of a structure. None may be there twice, because readers differ in which one counts. */
static int64_t thrift_fields(thrift *t, uint64_t path, int depth) {
    uint64_t seen = 0;
    for (int64_t number = 0;;) {
        if (t->at == t->end) return BAD_THRIFT;
        uint8_t byte = *t->at++;
        if (byte == STOP) return 0;
        if (byte >> 4) number += byte >> 4;
        else if (thrift_integer(t, &number)) return BAD_THRIFT;
        if (number < 0 || number >= MOST_FIELDS || seen >> number & 1) return BAD_THRIFT;
        seen |= UINT64_C(1) << number;
        int kind = byte & 15;
        if (kind == TRUE_FIELD || kind == FALSE_FIELD) continue;
        /* A path that is too long, or begins with field 0, stays 0. */
        int64_t failed = thrift_value(t, kind, depth && !path ? 0 : thrift_step(path, (uint64_t)number), depth);
        if (failed) return failed;
    }
}

static int64_t thrift_value(thrift *t, int kind, uint64_t path, int depth) {
    int64_t number, failed;
    uint64_t length;
    if (depth > MOST_DEPTH) return BAD_THRIFT;
    switch (kind) {
    case TRUE_FIELD: case FALSE_FIELD: case BYTE:
        if (t->at == t->end) return BAD_THRIFT;
        return thrift_add(t, path, *t->at++);
    case I16: case I32: case I64:
        return thrift_integer(t, &number) ? BAD_THRIFT : thrift_add(t, path, number);
    case BINARY:
        if (thrift_varint(t, &length) || length > (uint64_t)(t->end - t->at)) return BAD_THRIFT;
        t->at += length;
        return 0;
    case ARRAY:
        if (t->at == t->end) return BAD_THRIFT;
        kind = *t->at & 15;
        length = *t->at++ >> 4;
        if (length == 15 && thrift_varint(t, &length)) return BAD_THRIFT;
        for (; length; length--) {
            failed = thrift_value(t, kind, path ? thrift_step(path, ELEMENT) : 0, depth + 1);
            if (failed) return failed;
        }
        return 0;
    case STRUCTURE:
        failed = thrift_add(t, path, 0);
        return failed ? failed : thrift_fields(t, path, depth + 1);
    default:
        return BAD_THRIFT;
    }
}

/* What is in the structure at the beginning of `data`, in its order. Returns how many items there are, or an error;
 * `end` says where the structure ends. */
EXPORT int64_t snapseed_thrift(const uint8_t *data, int64_t bytes, thrift_item *items, int64_t room, int64_t *end) {
    thrift t = {data, data + bytes, items, 0, room};
    int64_t failed = thrift_fields(&t, 0, 0);
    *end = t.at - data;
    return failed ? failed : t.count;
}
