/* Random tables of every type, some with damaged offsets, through all kernels. Compiled with sanitizers, which stop at
 * the first read or write outside of a buffer: each buffer here is exactly as large as it must be.
 *
 * fuzz FIRST COUNT: runs inputs FIRST to FIRST + COUNT - 1, and prints what came of them.
 */
#include <stdio.h>
#include <stdlib.h>

#include "core.c"

enum { FEW_COLUMNS = 6, MOST_ROWS = 40 };

static uint64_t random_state;
static long counts[2]; /* encoded, refused */

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
    int64_t room = snapseed_bound(columns, count, 0, rows, &row), size = room;
    uint8_t *out = malloc(room > 0 ? (size_t)room : 1);
    if (room >= 0) size = snapseed_encode(columns, count, 0, rows, out, room, &row);
    counts[size >= 0 ? 0 : 1]++;
    free(out);
    for (int32_t i = 0; i < count; i++) free_column(columns + i);
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    uint64_t first = strtoull(argv[1], NULL, 10), number = strtoull(argv[2], NULL, 10);
    for (uint64_t i = first; i < first + number; i++) run(i);
    printf("%ld encoded, %ld refused\n", counts[0], counts[1]);
    return 0;
}
