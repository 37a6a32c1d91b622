"""Functions of C that read text, as templates with places such as ``@name``."""

from string import Template


class C(Template):
    """Source of C, in which ``@`` marks a place."""

    delimiter = "@"


CODE_POINT = """
/* A character of UTF-8, and its bytes; 0xfffd of one byte where there is none. */
static uint32_t code_point(const unsigned char *s, const unsigned char *end, int32_t *bytes) {
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    const uint32_t first = s[0];
    const int32_t count = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    uint32_t point = count == 1 ? first : first & (0xffu >> (count + 1));
    int is_whole = first < 0x80 || (first >= 0xc2 && first < 0xf5);
    for (int32_t k = 1; is_whole && k < count; k++) {
        is_whole = s + k < end && (s[k] & 0xc0) == 0x80;
        if (is_whole) point = (point << 6) | (s[k] & 0x3fu);
    }
    is_whole = is_whole && point >= least[count] && point < 0x110000 && (point < 0xd800 || point >= 0xe000);
    *bytes = is_whole ? count : 1;
    return is_whole ? point : 0xfffd;
}

static const unsigned char *end_of(const char *text) {
    while (*text) text++;
    return (const unsigned char *)text;
}
"""

READ_CHARACTERS = (
    CODE_POINT
    + """
/* The characters that are tokens, in the order of Unicode, and their tokens. */
static const struct { uint32_t point; int32_t token; } characters[@count] = {
@points
};

static int32_t token_of(uint32_t point) {
    int32_t low = 0, high = @count;
    while (low < high) {
        const int32_t middle = (low + high) / 2;
        if (characters[middle].point < point) low = middle + 1;
        else high = middle;
    }
    return low < @count && characters[low].point == point ? characters[low].token : @unknown;
}

int32_t @{name}_read(const char *text, int32_t *tokens, int32_t most) {
    const unsigned char *s = (const unsigned char *)text, *end = end_of(text);
    int32_t count = 0, bytes;
    for (; s < end; s += bytes, count++) {
        const int32_t token = token_of(code_point(s, end, &bytes));
        if (count < most) tokens[count] = token;
    }
@empty    return count;
}
"""
)

READ_BYTES = """
/* The token of each byte. */
static const int32_t token_of[256] = {
@numbers
};

int32_t @{name}_read(const char *text, int32_t *tokens, int32_t most) {
    int32_t count = 0;
    for (; text[count]; count++)
        if (count < most) tokens[count] = token_of[(unsigned char)text[count]];
@empty    return count;
}
"""

ENTRIES = """
/* The words that are known, in the order of their bytes, and their numbers. */
static const struct { const char *text; int32_t number; } entries[@count] = {
@entries
};
"""

READ_TOKENS = (
    CODE_POINT
    + ENTRIES
    + """
static int is_space(uint32_t c) {
    return (c >= 9 && c <= 13) || c == 32 || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) ||
           c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

/* Below 0 where a word stands before an entry, 0 where it is the entry, above 0 behind it. */
static int compare(const unsigned char *s, const unsigned char *end, const char *entry) {
    for (; s < end && *s == (unsigned char)*entry; s++) entry++;
    return s == end ? -(*entry != 0) : (int)*s - (int)(unsigned char)*entry;
}

static int32_t token_of(const unsigned char *s, const unsigned char *end) {
    int32_t low = 0, high = @count;
    while (low < high) {
        const int32_t middle = (low + high) / 2;
        if (compare(s, end, entries[middle].text) > 0) low = middle + 1;
        else high = middle;
    }
    return low < @count && compare(s, end, entries[low].text) == 0 ? entries[low].number : @unknown;
}

int32_t @{name}_read(const char *text, int32_t *tokens, int32_t most) {
    const unsigned char *s = (const unsigned char *)text, *end = end_of(text), *word = s;
    int32_t count = 0, bytes = 0;
    for (;; s += bytes) {
        const uint32_t c = s < end ? code_point(s, end, &bytes) : 32;
        if (!is_space(c)) continue;
        if (word < s) {
            if (count < most) tokens[count] = token_of(word, s);
            count++;
        }
        if (s == end) break;
        if (c == 10) {
            if (count < most) tokens[count] = @end;
            count++;
        }
        word = s + bytes;
    }
@empty    return count;
}
"""
)

EMPTY_IS_START = """    if (count == 0 && most > 0) tokens[count] = @start;
    if (count == 0) count++;
"""

READ_WORDS = (
    CODE_POINT
    + ENTRIES
    + """
/* Where the flags of characters change: the code point, times 256, plus the flags. */
static const uint32_t kinds[@num_kinds] = {
@kinds
};

/* Characters with another lower case: the first and the last, how far apart they are, and what is added to each. */
static const struct { uint32_t first, last, step; int32_t shift; } lower_cases[@num_lower] = {
@lower
};

enum { CAPITAL = 1, DIGIT = 2, LETTER = 4, CASED = 8, IGNORED = 16, OF_WORD = 32, SPACE = 64 };

static uint32_t flags_of(uint32_t point) {
    int32_t low = 0, high = @num_kinds;  /* the last entry that begins at the point or before it */
    while (high - low > 1) {
        const int32_t middle = (low + high) / 2;
        if (kinds[middle] >> 8 <= point) low = middle;
        else high = middle;
    }
    return kinds[low] & 255u;
}

/* A character in lower case; İ has two, of which one is the second. */
static uint32_t lower_of(uint32_t point, uint32_t *second) {
    int32_t low = 0, high = @num_lower;
    *second = 0;
    switch (point) {
@longer        default: break;
    }
    while (low < high) {
        const int32_t middle = (low + high) / 2;
        if (lower_cases[middle].last < point) low = middle + 1;
        else high = middle;
    }
    if (low == @num_lower || point < lower_cases[low].first) return point;
    if ((point - lower_cases[low].first) % lower_cases[low].step) return point;
    return (uint32_t)((int32_t)point + lower_cases[low].shift);
}

/* A word, and how much of it was read. */
typedef struct { const unsigned char *begin, *end, *at; uint32_t second; int is_after_letter; } word_reader;

/* Whether a word ends behind a sigma, with nothing more that has a case. */
static int is_last(const unsigned char *s, const unsigned char *end) {
    int32_t bytes;
    for (; s < end; s += bytes) {
        const uint32_t flags = flags_of(code_point(s, end, &bytes));
        if (!(flags & IGNORED)) return !(flags & CASED);
    }
    return 1;
}

/* The next character in lower case, as Python has it; 0 at the end. */
static uint32_t next_lower(word_reader *r) {
    int32_t bytes;
    uint32_t point = r->second, flags;
    if (point) {
        r->second = 0;
        return point;
    }
    if (r->at == r->end) return 0;
    point = code_point(r->at, r->end, &bytes);
    r->at += bytes;
    if (point == 0x3a3 && r->is_after_letter && is_last(r->at, r->end)) return 0x3c2;
    flags = flags_of(point);
    if (!(flags & IGNORED)) r->is_after_letter = (flags & CASED) != 0;
    return lower_of(point, &r->second);
}

/* Of the letters of a long word the first and the last ones are kept. */
static void put(uint32_t *letters, int32_t k, uint32_t letter) {
    enum { MOST = (@{NAME}_INPUT - 1) / 2 };
    if (k >= MOST) {
        for (int32_t j = MOST / 2; j < MOST - 1; j++) letters[j] = letters[j + 1];
        k = MOST - 1;
    }
    letters[k] = letter;
}

static int32_t number_of(const unsigned char *s, const unsigned char *end) {
    int32_t low = 0, high = @count;
    while (low < high) {
        const int32_t middle = (low + high) / 2;
        const unsigned char *entry = (const unsigned char *)entries[middle].text, *stop = end_of(entries[middle].text);
        word_reader r = {s, end, s, 0, 0};
        uint32_t own, other;
        int32_t bytes = 0;
        do {
            own = next_lower(&r);
            other = entry < stop ? code_point(entry, stop, &bytes) : 0;
            entry += bytes;
        } while (own && own == other);
        if (own == other) return entries[middle].number;
        if (own > other) low = middle + 1;
        else high = middle;
    }
    return 0;
}

/* The row of a word: its number, the letters of its spelling, the letters of its shape. */
static void spell(const unsigned char *s, const unsigned char *end, uint32_t *row) {
    uint32_t *spelling = row + 1, *shape = row + 1 + (@{NAME}_INPUT - 1) / 2;
    word_reader r = {s, end, s, 0, 0};
    int32_t k = 0, bytes;
    for (int32_t j = 0; j < @{NAME}_INPUT; j++) row[j] = 0;
    row[0] = (uint32_t)number_of(s, end);
    for (uint32_t letter = next_lower(&r); letter; letter = next_lower(&r)) put(spelling, k++, letter);
    for (k = 0; s < end; s += bytes) {
        const uint32_t point = code_point(s, end, &bytes), flags = flags_of(point);
        put(shape, k++, flags & CAPITAL ? 'X' : flags & DIGIT ? 'D' : flags & LETTER ? 'L' : point);
    }
}

static uint32_t flags_at(const unsigned char *s, const unsigned char *end, int32_t *bytes) {
    *bytes = 0;
    return s < end ? flags_of(code_point(s, end, bytes)) : 0;
}
@next
int32_t @{name}_read(const char *text, uint32_t *words, int32_t most) {
    const unsigned char *s = (const unsigned char *)text, *end = end_of(text);
    int32_t count = 0, bytes;
    while (s < end) {
        const unsigned char *after = next_word(s, end);
        if (after > s) {
            if (count < most) spell(s, after, words + count * @{NAME}_INPUT);
            count++;
            s = after;
        } else {
            (void)flags_at(s, end, &bytes);
            s += bytes;
        }
    }
    if (count == 0 && most > 0) spell(end, end, words);
    return count ? count : 1;
}
"""
)

NEXT_SPACED = """
/* Where a word ends that begins here; here, if none does. */
static const unsigned char *next_word(const unsigned char *s, const unsigned char *end) {
    int32_t bytes;
    while (s < end && !(flags_at(s, end, &bytes) & SPACE)) s += bytes;
    return s;
}
"""

NEXT_WORD = """
/* Whether letters stand here, in either case, before the end of a word: behind them, or 0. */
static const unsigned char *spelt(const unsigned char *s, const unsigned char *end, const char *letters) {
    int32_t bytes;
    for (; *letters; letters++, s += bytes) {
        const uint32_t point = s < end ? code_point(s, end, &bytes) : 0;
        const uint32_t small = point == 0x17f ? 's' : point >= 'A' && point <= 'Z' ? point + 32 : point;
        if (small != (uint32_t)*letters) return 0;
    }
    return flags_at(s, end, &bytes) & OF_WORD ? 0 : s;
}

/* Where a word ends that begins here; here, if none does. */
static const unsigned char *next_word(const unsigned char *s, const unsigned char *end) {
    static const char *const ends[6] = {"s", "re", "ve", "ll", "d", "m"};
    const unsigned char *at = s, *after;
    int32_t bytes;
    while (flags_at(at, end, &bytes) & OF_WORD) {
        at += bytes;
        if (spelt(at, end, "n't")) return at;
    }
    after = spelt(s, end, "n't");
    if (after) return after;
    for (int32_t k = 0; *s == '\\'' && k < 6; k++) {
        after = spelt(s + 1, end, ends[k]);
        if (after) return after;
    }
    if (at > s) return at;
    return flags_at(s, end, &bytes) & SPACE ? s : s + bytes;
}
"""
