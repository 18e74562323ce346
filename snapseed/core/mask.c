/* Keyed functions that replace values: SipHash-2-4, and permutations made of it.
 *
 * Sources: Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012 (with 128 bits of output as in its reference
 * implementation); Black and Rogaway, "Ciphers with Arbitrary Finite Domains", 2002 (Feistel networks over whole
 * numbers, and cycle walking).
 */
#include "core.h"

enum { KEY_BYTES = 16, ROUNDS = 8, UNITS = 256, MOST_PIECE = 4096 };

typedef struct {
    uint64_t first, second;
} tag;

#define TURNED(x, k) ((x) << (k) | (x) >> (64 - (k)))

static inline void sip_round(uint64_t v[4]) {
    v[0] += v[1]; v[1] = TURNED(v[1], 13); v[1] ^= v[0]; v[0] = TURNED(v[0], 32);
    v[2] += v[3]; v[3] = TURNED(v[3], 16); v[3] ^= v[2];
    v[0] += v[3]; v[3] = TURNED(v[3], 21); v[3] ^= v[0];
    v[2] += v[1]; v[1] = TURNED(v[1], 17); v[1] ^= v[2]; v[2] = TURNED(v[2], 32);
}

static inline void sip_word(uint64_t v[4], uint64_t word) {
    v[3] ^= word;
    sip_round(v);
    sip_round(v);
    v[0] ^= word;
}

static tag keyed(const uint8_t *key, const uint8_t *at, int64_t bytes) {
    uint64_t k[2], word, last = (uint64_t)bytes << 56;
    memcpy(k, key, KEY_BYTES);
    uint64_t v[4] = {
        k[0] ^ UINT64_C(0x736f6d6570736575), k[1] ^ UINT64_C(0x646f72616e646f6d) ^ 0xee,
        k[0] ^ UINT64_C(0x6c7967656e657261), k[1] ^ UINT64_C(0x7465646279746573)};
    int64_t whole = bytes - bytes % 8;
    for (int64_t i = 0; i < whole; i += 8) {
        memcpy(&word, at + i, 8);
        sip_word(v, word);
    }
    for (int64_t i = whole; i < bytes; i++) last |= (uint64_t)at[i] << 8 * (i - whole);
    sip_word(v, last);
    tag made;
    v[2] ^= 0xee;
    for (int i = 0; i < 4; i++) sip_round(v);
    made.first = v[0] ^ v[1] ^ v[2] ^ v[3];
    v[1] ^= 0xdd;
    for (int i = 0; i < 4; i++) sip_round(v);
    made.second = v[0] ^ v[1] ^ v[2] ^ v[3];
    return made;
}

static inline tag keyed_words(const uint8_t *key, const uint64_t *words, int64_t count) {
    return keyed(key, (const uint8_t *)words, count * 8);
}

/* 128 bits for each value of a column of texts or of `width` bytes: two words each, 0 for NULL. 0, or an error. */
EXPORT int64_t snapseed_keyed(const column *c, const uint8_t *key, uint64_t *tags, int64_t *row) {
    if (c->kind != TEXT && c->kind != BYTES) return BAD_KIND;
    for (*row = 0; *row < c->length; ++*row, tags += 2) {
        tag made = {0, 0};
        if (is_valid(c, *row)) {
            const uint8_t *at = c->data;
            int64_t bytes = c->width;
            if (c->kind == TEXT) {
                bytes = span(c, *row, &at);
                if (bytes < 0) return bytes;
            } else {
                at += (c->offset + *row) * bytes;
                if ((c->offset + *row + 1) * bytes > c->data_bytes) return BAD_OFFSETS;
            }
            made = keyed(key, at, bytes);
        }
        tags[0] = made.first;
        tags[1] = made.second;
    }
    return 0;
}

/* Permute each number among those below its size, in place; 0 stays where a size is 0. Sizes are at most 2^63. */
EXPORT int64_t snapseed_permute_numbers(uint64_t *numbers, const uint64_t *sizes, int64_t count, const uint8_t *key) {
    uint64_t size = 0, left = 1, right = 1;
    for (int64_t i = 0; i < count; i++) {
        if (numbers[i] >= sizes[i]) {
            if (numbers[i] || sizes[i]) return BAD_OFFSETS;
            continue;
        }
        if (sizes[i] != size) {
            /* About its root, so that left * right is hardly more than the size. */
            for (size = sizes[i], left = 1; left < UINT64_C(1) << 32 && left * left < size;) left <<= 1;
            for (uint64_t bit = left; bit; bit >>= 1)
                if (left > bit && (left - bit) * (left - bit) >= size) left -= bit;
            right = (size + left - 1) / left;
        }
        uint64_t number = numbers[i];
        do { /* cycle walking: on from a number that is too large */
            uint64_t high = number / right, low = number % right;
            for (uint64_t round = 0; round < ROUNDS; round += 2) {
                high = (high + keyed_words(key, (uint64_t[]){size, round, low}, 3).first % left) % left;
                low = (low + keyed_words(key, (uint64_t[]){size, round + 1, high}, 3).first % right) % right;
            }
            number = high * right + low;
        } while (number >= size);
        numbers[i] = number;
    }
    return 0;
}

/* Permute UUIDs, in place, among those of the same version and variant (RFC 9562, section 4). */
EXPORT int64_t snapseed_permute_uuids(uint8_t *uuids, int64_t count, const uint8_t *key) {
    const uint64_t not_version = ~UINT64_C(0xf000), not_variant = ~UINT64_C(0) >> 2;
    for (; count > 0; count--, uuids += 16) {
        uint64_t high = get64(uuids), low = get64(uuids + 8);
        uint64_t kept = (high & ~not_version) | low >> 62;
        for (uint64_t round = 0; round < ROUNDS; round += 2) {
            high ^= keyed_words(key, (uint64_t[]){kept, round, low & not_variant}, 3).first & not_version;
            low ^= keyed_words(key, (uint64_t[]){kept, round + 1, high & not_version}, 3).first & not_variant;
        }
        put64(uuids, high);
        put64(uuids + 8, low);
    }
    return 0;
}

/* A character that is replaced by another one of its kind: which of `radix` it is, and where it stands. A character
 * beyond ASCII is replaced by one with the same lead byte, so that it keeps its length and about its alphabet. */
typedef struct {
    int32_t at, width;
    uint16_t radix, digit;
} unit;

/* The character at the start of `bytes` bytes. Its radix is 0 if it stays: blanks, punctuation, control characters. */
static unit unit_at(const uint8_t *at, int64_t bytes) {
    uint8_t lead = at[0];
    if (lead >= '0' && lead <= '9') return (unit){.width = 1, .radix = 10, .digit = (uint16_t)(lead - '0')};
    if ((lead | 32) >= 'a' && (lead | 32) <= 'z')
        return (unit){.width = 1, .radix = 26, .digit = (uint16_t)((lead | 32) - 'a')};
    int32_t width = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc2 ? 2 : 1;
    if (width == 1 || width > bytes) return (unit){.width = 1};
    uint16_t last = at[width - 1] & 63, before = at[width - 2] & 63;
    if (width == 2) return (unit){.width = 2, .radix = 64, .digit = last};
    if (lead == 0xe0 || lead == 0xed) /* half of the second bytes: no overlong form, no surrogate */
        return (unit){.width = 3, .radix = 2048, .digit = (uint16_t)((before & 31) << 6 | last)};
    if (lead != 0xe2) return (unit){.width = width, .radix = 4096, .digit = (uint16_t)(before << 6 | last)};
    if (before < 2) return (unit){.width = 3}; /* dashes, quotation marks and blanks: U+2000 to U+207F */
    return (unit){.width = 3, .radix = 3968, .digit = (uint16_t)((before - 2) << 6 | last)};
}

static void put_unit(const unit *u, uint8_t *at) {
    if (u->radix == 10) {
        at[0] = (uint8_t)('0' + u->digit);
    } else if (u->radix == 26) {
        at[0] = (uint8_t)((at[0] & 32) | ('A' + u->digit));
    } else {
        uint16_t digit = u->radix == 3968 ? (uint16_t)(u->digit + 128) : u->digit;
        at[u->width - 1] = (uint8_t)(0x80 | (digit & 63));
        if (u->radix == 2048) at[1] = (uint8_t)((at[1] & 0xe0) | digit >> 6);
        if (u->radix >= 3968) at[u->width - 2] = (uint8_t)(0x80 | digit >> 6);
    }
}

/* Permute up to UNITS characters among those of the same shape: a Feistel network whose halves are every other
 * character. `tweak` is what the permutation depends on besides the key. */
static void permute_units(unit *units, int32_t count, const uint8_t *key, const uint64_t tweak[3]) {
    for (uint64_t round = 0; round < ROUNDS; round++) {
        uint8_t input[32 + UNITS];
        int64_t bytes = 32;
        memcpy(input, tweak, 24);
        memcpy(input + 24, &round, 8);
        for (int32_t i = !(round & 1); i < count; i += 2, bytes += 2) memcpy(input + bytes, &units[i].digit, 2);
        tag made = keyed(key, input, bytes);
        uint64_t stream = made.first;
        int32_t used = 0;
        for (int32_t i = round & 1; i < count; i += 2, used++, stream >>= 21) {
            /* Three numbers of 21 bits from each word: those of the tag, then those of a counter under the tag. */
            if (used == 3) stream = made.second;
            else if (used % 3 == 0 && used) stream = keyed((uint8_t *)&made, (uint8_t *)&used, sizeof used).first;
            units[i].digit = (uint16_t)((units[i].digit + (stream & 0x1fffff) % units[i].radix) % units[i].radix);
        }
    }
}

/* Permute one text in place, UNITS characters at a time. Each piece also depends on all that stands before it. */
static void permute_text(uint8_t *text, int64_t bytes, const uint8_t *key) {
    unit units[UNITS];
    uint64_t tweak[3] = {(uint64_t)bytes, 0, 0}; /* length, text before this piece, shape of this piece */
    for (int64_t at = 0, begin = 0; at < bytes; begin = at) {
        int32_t count = 0;
        tweak[2] = 0;
        while (at < bytes && count < UNITS && at - begin < MOST_PIECE) {
            unit u = unit_at(text + at, bytes - at);
            u.at = (int32_t)(at - begin);
            tweak[2] = tweak[2] * 31 + (u.radix ? u.radix : UINT64_C(0x10000) + text[at]);
            if (u.radix) units[count++] = u;
            at += u.width;
        }
        uint64_t plain = at < bytes ? keyed(key, text + begin, at - begin).first : 0;
        permute_units(units, count, key, tweak);
        for (int32_t i = 0; i < count; i++) put_unit(units + i, text + begin + units[i].at);
        tweak[1] = tweak[1] * 31 + plain;
    }
}

/* Permute each text of a column among those of the same shape, into `out`, which is laid out as its data. */
EXPORT int64_t snapseed_permute_texts(const column *c, const uint8_t *key, uint8_t *out, int64_t *row) {
    if (c->kind != TEXT) return BAD_KIND;
    for (*row = 0; *row < c->length; ++*row) {
        const uint8_t *at;
        int64_t bytes = is_valid(c, *row) ? span(c, *row, &at) : 0;
        if (bytes < 0) return bytes;
        if (bytes == 0) continue;
        memcpy(out + (at - c->data), at, (size_t)bytes);
        permute_text(out + (at - c->data), bytes, key);
    }
    return 0;
}

/* A value in a document that is neither an object nor an array: where it begins and ends in the data of its column, and
 * the number of the rule for its path. */
typedef struct {
    int64_t begin, end, rule;
} leaf;

/* An object or an array: the hash of the keys that lead to it, and the rule for what has none of its own. */
typedef struct {
    uint64_t path;
    int64_t rule;
    bool is_object;
} level;

enum { MOST_LEVELS = 1024 };

static inline bool is_blank(uint8_t c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

/* The end of a string that begins at `from`, or of any other value without parts; more than `bytes` if it has none. */
static int64_t end_of_leaf(const uint8_t *at, int64_t from, int64_t bytes) {
    int64_t i = from;
    if (at[i] == '"') {
        for (i++; i < bytes && at[i] != '"'; i++) i += at[i] == '\\';
        return i + 1;
    }
    while (i < bytes && !is_blank(at[i]) && at[i] != ',' && at[i] != ']' && at[i] != '}') i++;
    return i;
}

static int64_t leaves_of(
    const uint8_t *at, int64_t bytes, const uint64_t *paths, int64_t count, leaf *leaves, int64_t room) {
    level levels[MOST_LEVELS];
    level here = {.rule = count};
    int64_t depth = 0, found = 0;
    bool is_key = false;
    for (int64_t i = 0; i < bytes;) {
        uint8_t c = at[i];
        if (is_blank(c) || c == ':' || c == ',') {
            if (c == ',' && depth) is_key = levels[depth - 1].is_object, here = levels[depth - 1];
            i++;
        } else if (c == '{' || c == '[') {
            if (depth == MOST_LEVELS) return BAD_DIMENSIONS;
            here.is_object = is_key = c == '{';
            levels[depth++] = here;
            i++;
        } else if (c == '}' || c == ']') {
            if (!depth--) return BAD_STREAM;
            is_key = false;
            i++;
        } else {
            int64_t end = end_of_leaf(at, i, bytes);
            if (end > bytes || end == i) return BAD_STREAM;
            if (is_key) {
                if (end - i < 2) return BAD_STREAM;
                here.path = hash_bytes(at + i + 1, end - i - 2, here.path);
                for (int64_t p = 0; p < count; p++)
                    if (paths[p] == here.path) here.rule = p;
                is_key = false;
            } else {
                if (found == room) return NO_ROOM;
                leaves[found++] = (leaf){i, end, here.rule};
            }
            i = end;
        }
    }
    return depth ? BAD_STREAM : found;
}

/* The leaves of all documents of a column, with the number of the rule that their path has: `paths` are hashes of the
 * keys from the outermost on, and what none of them leads to has the rule `count`. Returns how many there are, or an
 * error; `counts` says how many each document has. */
EXPORT int64_t snapseed_json_leaves(
    const column *c, const uint64_t *paths, int64_t count, int64_t *counts, leaf *leaves, int64_t room, int64_t *row) {
    if (c->kind != TEXT) return BAD_KIND;
    int64_t found = 0;
    for (*row = 0; *row < c->length; ++*row) {
        const uint8_t *at;
        int64_t bytes = is_valid(c, *row) ? span(c, *row, &at) : 0;
        counts[*row] = 0;
        if (bytes < 0) return bytes;
        if (!bytes) continue;
        int64_t own = leaves_of(at, bytes, paths, count, leaves + found, room - found);
        if (own < 0) return own;
        for (leaf *l = leaves + found; l < leaves + found + own; l++) l->begin += at - c->data, l->end += at - c->data;
        counts[*row] = own;
        found += own;
    }
    return found;
}
