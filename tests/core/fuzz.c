/* Random tables of every type, and damaged COPY streams and records, through all kernels. Compiled with sanitizers, which stop at
 * the first read or write outside of a buffer: each buffer here is exactly as large as it must be.
 *
 * fuzz FIRST COUNT: runs inputs FIRST to FIRST + COUNT - 1, and prints what came of them.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "core.c"

enum { FEW_COLUMNS = 6, MOST_ROWS = 40, MOST_ROOM = 100000 };
static const uint8_t HEADER[STREAM_HEADER] = "PGCOPY\n\xff\r\n";
static int always_ready; /* a file that poll never waits for */

static uint64_t random_state;
static long counts[4]; /* encoded, refused by encode, read, refused by read */

static uint32_t any(void) {
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(random_state >> 33);
}
static int64_t below(int64_t limit) { return limit > 0 ? (int64_t)(any() % (uint64_t)limit) : 0; }
static bool chance(int percent) { return below(100) < percent; }

static void *random_bytes(int64_t size) {
    uint8_t *bytes = malloc(size ? (size_t)size : 1);
    for (int64_t i = 0; i < size; i++) bytes[i] = chance(20) ? (uint8_t)(chance(50) ? 0 : 0xff) : (uint8_t)any();
    return bytes;
}

static int32_t *random_offsets(int64_t rows, int64_t each, int32_t *end) {
    int32_t *offsets = malloc((size_t)(rows + 1) * 4);
    int32_t at = 0;
    for (int64_t i = 0; i <= rows; i++) {
        offsets[i] = at;
        at += (int32_t)(each < 0 ? below(9) : each);
    }
    *end = offsets[rows];
    if (chance(2)) offsets[below(rows + 1)] = (int32_t)(any() - (1u << 30));
    return offsets;
}

static column make_column(int64_t rows, int32_t kind, int depth) {
    static const int widths[] = {0, 0, 2, 4, 8, 0, 2, 4, 8, 4, 8};
    column c = {.kind = kind, .offset = below(4), .length = rows};
    int64_t all = c.offset + rows;
    int32_t end = 0;
    if (chance(60)) c.validity = random_bytes((all + 7) / 8);
    if (kind == BYTES) c.width = 1 + (int32_t)below(16);
    switch (kind) {
    case BOOLEAN: c.data_bytes = (all + 7) / 8; break;
    case BYTES: c.data_bytes = all * c.width; break;
    case DECIMAL:
        c.width = (int32_t)below(39);
        c.data_bytes = all * 16;
        break;
    case TEXT: case TRIMMED: case JSONB:
        c.offsets = random_offsets(all, -1, &end);
        c.data_bytes = end;
        break;
    case VECTOR: case LIST: {
        column *child = malloc(sizeof *child);
        bool fixed = kind == VECTOR || (!depth && chance(20));
        c.dimensions = kind == LIST ? 1 : 0;
        c.width = fixed ? 1 + (int32_t)below(5) : 0;
        if (!fixed) c.offsets = random_offsets(all, chance(30) ? 1 + below(3) : -1, &end);
        int64_t elements = fixed ? all * c.width : end;
        if (chance(1)) elements = below(elements + 1);
        if (kind == LIST && !fixed && depth < 2 && chance(30)) {
            *child = make_column(elements, LIST, depth + 1);
            c.dimensions = child->dimensions + 1;
        } else {
            int32_t inner = fixed ? (chance(50) ? HALF : REAL) : 1 + (int32_t)below(DECIMAL);
            *child = make_column(elements, inner, depth + 1);
        }
        c.child = child;
        c.element_oid = (int32_t)any();
        return c;
    }
    default: c.data_bytes = all * widths[kind];
    }
    c.data = random_bytes(c.data_bytes);
    return c;
}

static void free_column(const column *c) {
    free((void *)(intptr_t)c->validity);
    free((void *)(intptr_t)c->offsets);
    free((void *)(intptr_t)c->data);
    if (c->child) {
        free_column(c->child);
        free((void *)(intptr_t)c->child);
    }
}

static sink sink_for(const column *c) {
    static const int strides[] = {0, 0, 2, 4, 8, 0, 4, 4, 8, 4, 8, 0, 0, 0, 16};
    sink s = {.kind = c->kind == HALF ? REAL : c->kind == TRIMMED ? TEXT : c->kind, .precision = 1 + (int32_t)below(38)};
    s.scale = c->kind == DECIMAL ? c->width : 0;
    s.stride = c->kind == BYTES ? c->width : c->kind == VECTOR ? 4 * c->width : c->kind == LIST ? 0 : strides[c->kind];
    if (c->kind == LIST) {
        s.dimensions = c->dimensions;
        s.child = malloc(sizeof *s.child);
        *s.child = sink_for(c->child);
    }
    return s;
}

static void *moved(void *old, int64_t old_size, int64_t size, int filling) {
    uint8_t *new = malloc(size ? (size_t)size : 1);
    memset(new, filling, (size_t)size);
    if (old) memcpy(new, old, (size_t)old_size);
    free(old);
    return new;
}

/* Exactly as much room as was asked for, at another address. Returns whether any was. */
static bool give_room(sink *s) {
    bool has_offsets = s->kind == TEXT || s->kind == JSONB || s->kind == LIST;
    bool grown = s->needed > s->room || s->needed_bytes > s->room_bytes || (s->has_null && !s->validity);
    if (s->needed > MOST_ROOM || s->needed_bytes > MOST_ROOM) abort(); /* more than any message has */
    int64_t room = s->needed > s->room ? s->needed : s->room, bits = (room + 7) / 8, old = (s->room + 7) / 8;
    int64_t bytes = s->needed_bytes > s->room_bytes ? s->needed_bytes : s->room_bytes;
    if (s->has_null) s->validity = moved(s->validity, old, bits, 0xff);
    if (has_offsets) {
        bool new = !s->offsets;
        s->offsets = moved(s->offsets, 4 * (s->room + 1), 4 * (room + 1), 0xee);
        if (new) s->offsets[0] = 0;
        s->data = moved(s->data, s->room_bytes, bytes, 0xee);
    } else {
        s->data = moved(s->data, s->kind == BOOLEAN ? old : s->room * s->stride,
            s->kind == BOOLEAN ? bits : room * s->stride, 0xee);
    }
    s->room = room;
    s->room_bytes = bytes;
    return (s->child && give_room(s->child)) || grown;
}

/* Take back the room, after a look at what the rows are. */
static void end_batch(sink *s, int64_t rows) {
    if (rows > s->room) abort();
    int64_t end = s->offsets ? s->offsets[rows] : 0;
    for (int64_t i = 0; s->offsets && i < rows; i++)
        if (s->offsets[i] > s->offsets[i + 1]) abort();
    if (end > (s->child ? s->child->room : s->room_bytes)) abort();
    if (s->child) end_batch(s->child, end);
    free(s->validity);
    free(s->offsets);
    free(s->data);
    *s = (sink){.kind = s->kind, .stride = s->stride, .dimensions = s->dimensions, .precision = s->precision,
        .scale = s->scale, .child = s->child};
}

/* A server: its messages, damaged or not, in place of libpq. */
typedef struct {
    uint8_t *messages[MOST_ROWS + 2];
    int64_t sizes[MOST_ROWS + 2];
    int count, next;
} server;

static int fake_get(void *connection, char **message, int async) {
    server *from = connection;
    if (!async) abort();
    if (chance(10)) return 0;
    if (from->next == from->count) return chance(95) ? -1 : -2;
    int64_t size = from->sizes[from->next];
    *message = malloc(size ? (size_t)size : 1);
    memcpy(*message, from->messages[from->next++], (size_t)size);
    return (int)size;
}

static int fake_consume(void *connection) { return connection && !chance(1); }

static void say(server *from, const uint8_t *bytes, int64_t size) {
    from->messages[from->count] = malloc(size ? (size_t)size : 1);
    memcpy(from->messages[from->count], bytes, (size_t)size);
    from->sizes[from->count++] = size;
}

/* Cut the end of a message's last value, and its length: nothing but the value itself is wrong then. */
static void shorten(uint8_t *message, int64_t *size) {
    int64_t at = *size > STREAM_HEADER && !memcmp(message, HEADER, SIGNATURE) ? STREAM_HEADER + 2 : 2, last = 0;
    while (at + 4 <= *size) {
        last = at;
        int32_t length = (int32_t)get32(message + at);
        at += 4 + (length > 0 ? (int64_t)length : 0);
    }
    if (!last || at != *size || last + 4 == *size) return;
    int64_t cut = 1 + below(*size - last - 4);
    *size -= cut;
    put32(message + last, (uint32_t)(*size - last - 4));
}

static void damage(server *from) {
    int at = (int)below(from->count);
    uint8_t *message = from->messages[at];
    int64_t size = from->sizes[at];
    if (chance(30)) {
        shorten(message, from->sizes + at);
        return;
    }
    if (chance(20) && size > 1) from->sizes[at] = 1 + below(size - 1);
    for (int64_t flips = below(4); flips > 0 && size; flips--)
        message[below(size)] = chance(50) ? (uint8_t)any() : (uint8_t)(chance(50) ? 0xff : 0);
    if (chance(10)) from->count = at + 1;
}

static void read_again(const column *columns, int32_t count, server *from) {
    sink sinks[FEW_COLUMNS];
    source stream = {.connection = from, .get_copy_data = fake_get, .consume_input = fake_consume, .free_memory = free,
        .socket = always_ready};
    int64_t most_rows = 1 + below(MOST_ROWS), most_bytes = 1 + below(4000), state;
    for (int32_t i = 0; i < count; i++) sinks[i] = sink_for(columns + i);
    from->next = 0;
    do {
        state = snapseed_read(&stream, sinks, count, most_rows, most_bytes);
        bool grown = false;
        for (int32_t i = 0; i < count && state == NO_ROOM; i++) grown |= give_room(sinks + i);
        if (state == NO_ROOM && !grown) abort();
        if (state == FULL && !stream.rows) abort();
        if (state == NO_ROOM || state == WAITING) continue;
        for (int32_t i = 0; i < count; i++) end_batch(sinks + i, stream.rows);
        stream.rows = stream.bytes = 0;
    } while (state == FULL || state == NO_ROOM || state == WAITING);
    counts[state == ENDED && stream.ended ? 2 : 3]++;
    free(stream.message);
    for (int32_t i = 0; i < count; i++)
        for (sink *s = sinks[i].child, *next; s; s = next) {
            next = s->child;
            free(s);
        }
}

/* Replace values: texts into a buffer as large as theirs, and leaves of documents into one that is often too small. */
static void mask(const column *c, int64_t rows) {
    static const uint8_t key[KEY_BYTES] = {1, 2, 3};
    int64_t row, leaf_room = below(40), many = below(30);
    uint64_t *tags = malloc(rows ? (size_t)rows * 16 : 1), paths[2] = {hash_bytes((const uint8_t *)"a", 1, 0), any()};
    int64_t *counts = malloc(rows ? (size_t)rows * 8 : 1);
    leaf *leaves = malloc(leaf_room ? (size_t)leaf_room * sizeof *leaves : 1);
    uint8_t *out = malloc(c->data_bytes ? (size_t)c->data_bytes : 1), *uuids = random_bytes(many * 16);
    snapseed_keyed(c, key, tags, &row);
    snapseed_permute_uuids(uuids, many, key);
    if (c->kind == TEXT) {
        snapseed_permute_texts(c, key, out, &row);
        uint8_t *data = (uint8_t *)(intptr_t)c->data;
        for (int64_t i = 0; i < c->data_bytes; i++) data[i] = (uint8_t) "{}[],:\"\\a1 \n"[data[i] % 12];
        snapseed_json_leaves(c, paths, 2, counts, leaves, leaf_room, &row);
    }
    uint64_t *numbers = random_bytes(many * 8), *sizes = malloc(many ? (size_t)many * 8 : 1);
    for (int64_t i = 0; i < many; i++) {
        sizes[i] = numbers[i] >> 1 >> below(63);
        numbers[i] = sizes[i] ? numbers[i] % sizes[i] : below(2);
    }
    snapseed_permute_numbers(numbers, sizes, many, key);
    free(tags), free(counts), free(leaves), free(out), free(uuids), free(numbers), free(sizes);
}

/* Take structures apart that are made of plausible bytes: types, short numbers, ends. */
static void take_apart(void) {
    int64_t size = below(60), room = below(30), end;
    uint8_t *data = malloc(size ? (size_t)size : 1);
    for (int64_t i = 0; i < size; i++) data[i] = chance(80) ? (uint8_t)(below(4) << 4 | below(13)) : (uint8_t)any();
    thrift_item *items = malloc(room ? (size_t)room * sizeof *items : 1);
    if (snapseed_thrift(data, size, items, room, &end) > room || end > size) abort();
    free(data), free(items);
}

static void run(uint64_t number) {
    random_state = number * UINT64_C(0x9e3779b97f4a7c15) + 1;
    column columns[FEW_COLUMNS];
    int32_t count = 1 + (int32_t)below(FEW_COLUMNS);
    int64_t rows = below(MOST_ROWS + 1), row = 0;
    for (int32_t i = 0; i < count; i++) columns[i] = make_column(rows, 1 + (int32_t)below(LIST), 0);
    uint64_t *hashes = malloc(rows ? (size_t)rows * 8 : 1);
    snapseed_hash_rows(columns, count, 0, rows, UINT64_C(0x736E617073656564), hashes, &row);
    if (columns[0].kind == TEXT && !columns[0].validity) snapseed_hash_values(columns, 1, hashes, &row);
    free(hashes);
    server from = {.count = 0};
    bool together = chance(50); /* the header in one message with the first row */
    if (!together) say(&from, HEADER, sizeof HEADER);
    int64_t size = 0;
    for (int64_t at = 0; at < rows && size >= 0; at++) {
        int64_t room = snapseed_bound(columns, count, at, 1, &row), before = !at && together ? (int64_t)sizeof HEADER : 0;
        uint8_t *out = malloc(room > 0 ? (size_t)(room + before) : 1 + (size_t)before);
        memcpy(out, HEADER, (size_t)before);
        size = room < 0 ? room : snapseed_encode(columns, count, at, 1, out + before, room, &row);
        if (size >= 0) say(&from, out, before + size);
        free(out);
    }
    counts[size >= 0 ? 0 : 1]++;
    say(&from, (const uint8_t[]){0xff, 0xff}, 2);
    for (int times = 0; times < 4; times++) {
        read_again(columns, count, &from);
        damage(&from);
    }
    for (int32_t i = 0; i < count; i++) mask(columns + i, rows);
    for (int times = 0; times < 4; times++) take_apart();
    for (int i = 0; i < MOST_ROWS + 2; i++) free(from.messages[i]);
    for (int32_t i = 0; i < count; i++) free_column(columns + i);
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    always_ready = open("/dev/null", O_RDWR);
    uint64_t first = strtoull(argv[1], NULL, 10), number = strtoull(argv[2], NULL, 10);
    for (uint64_t i = first; i < first + number; i++) run(i);
    printf("%ld encoded, %ld refused; %ld streams read, %ld refused\n", counts[0], counts[1], counts[2], counts[3]);
    return 0;
}
