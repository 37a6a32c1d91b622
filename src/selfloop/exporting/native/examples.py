"""``example.c``: a short program that uses a model, as a template for each of the things that models do."""

from dataclasses import dataclass

from selfloop.compiler.native import Model
from selfloop.exporting.native.text_templates import C
from selfloop.exporting.native.texts import Meaning

WRITES = """/* Writes text.

   ./example [temperature [seed [tokens [@prompt]]]] */

#include <stdio.h>
#include <stdlib.h>
#include "@name.h"

static @{name}_state state;
static float logits[@{NAME}_OUTPUT];
@memory
int main(int count, char **given) {
    const float temperature = count > 1 ? (float)atof(given[1]) : 0.8f;
    uint32_t seed = count > 2 ? (uint32_t)strtoul(given[2], 0, 10) : 1;
    const int tokens = count > 3 ? atoi(given[3]) : 500;

    @{name}_reset(&@{name}_trained, &state);
    @{name}_step(&@{name}_trained, &state, @{NAME}_START, logits);
@begin
    for (int k = 0; k < tokens; k++) {
        const int32_t token = @{name}_sample(logits, temperature, 0, &seed);
@write
        @{name}_step(&@{name}_trained, &state, token, logits);
    }
    putchar('\\n');
    return 0;
}
"""

PROMPT_OF_TEXT = """    const int32_t read = count > 4 ? @{name}_read(given[4], prompt, 4096) : 0;
    for (int k = 0; k < read && k < 4096; k++)
        @{name}_step(&@{name}_trained, &state, prompt[k], logits);
    if (count > 4) fputs(given[4], stdout);
"""

PROMPT_OF_NUMBERS = """    for (int k = 4; k < count; k++) {
        const int32_t token = atoi(given[k]);
        if (token < 0 || token >= @{NAME}_VOCABULARY) return fprintf(stderr, "%s is no token\\n", given[k]), 2;
        fwrite(@{name}_tokens[token], 1, @{name}_token_bytes[token], stdout);
        @{name}_step(&@{name}_trained, &state, token, logits);
    }
"""

WRITE = "        fwrite(@{name}_tokens[token], 1, @{name}_token_bytes[token], stdout);"
WRITE_SPACED = """        const char *text = @{name}_tokens[token];
        if (is_word && *text != '\\n') putchar(' ');
        fwrite(text, 1, @{name}_token_bytes[token], stdout);
        is_word = *text != '\\n';"""
BEFORE_SPACED = """    int is_word = read > 0 && prompt[read < 4096 ? read - 1 : 4095] != @{NAME}_START;
"""

LARGEST = """
static int largest(const float *answer) {
    int best = 0;
    for (int k = 1; k < @{NAME}_OUTPUT; k++)
        if (answer[k] > answer[best]) best = k;
    return best;
}
"""

PUT_LABEL = "puts(@{name}_labels[largest(@y)]);"
PUT_NUMBERS = """for (int k = 0; k < @{NAME}_OUTPUT; k++)
@{indent}    printf("%g%c", (double)@y[k], k < @{NAME}_OUTPUT - 1 ? ',' : '\\n');"""

READ_STEP = """
static char line[32 * @{NAME}_INPUT + 256];

/* The numbers of a step, from the next line that is not empty; 0 at the end of the input. */
static int read_step(float *step) {
    static int number = 0;
    char *at = line, *end;
    int k = 0;
    do {
        if (!fgets(line, sizeof line, stdin)) return 0;
        number++;
        at = line + strspn(line, " \\t\\r\\n");
    } while (!*at);
    for (; k < @{NAME}_INPUT; k++) {
        step[k] = strtof(at, &end);
        if (end == at || !(step[k] - step[k] == 0.0f)) break;  /* no number, or one that is not finite */
        at = end + strspn(end, " \\t\\r\\n");
        if (*at == ',' || *at == ';') at++;
    }
    if (k == @{NAME}_INPUT && !at[strspn(at, " \\t\\r\\n")]) return 1;
    fprintf(stderr, "Line %d must hold @numbers.\\n", number);
    exit(1);
}
"""

STEPS = """/* Reads numbers, and prints @what.

   A line of standard input is a step: @numbers. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "@name.h"

static @{name}_state state;
static float x[@{NAME}_INPUT], y[@{NAME}_OUTPUT];
@largest@read_step
int main(void) {
    int32_t steps = 0;
    @{name}_reset(&@{name}_trained, &state);
    for (; read_step(x); steps++) {
        @{name}_step(&@{name}_trained, &state, x, y);@put_each
    }
    if (steps == 0) return fputs("There is not one step of @count.\\n", stderr), 1;@put_last
    return 0;
}
"""

SEQUENCE = """/* Reads numbers, and prints @what.

   A line of standard input is a step: @numbers. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "@name.h"
@largest@read_step
int main(void) {
    float *x = 0, *y, *room;
    int32_t steps = 0, most = 0;
    for (;; steps++) {
        if (steps == most) {
            most = 2 * most + 16;
            x = (float *)realloc(x, sizeof(float) * @{NAME}_INPUT * (size_t)most);
            if (!x) return 1;
        }
        if (!read_step(x + @{NAME}_INPUT * steps)) break;
    }
    if (steps == 0) return fputs("There is not one step of @count.\\n", stderr), 1;
    y = (float *)malloc(sizeof(float) * @{NAME}_OUTPUT * (size_t)(steps + 1));
    room = (float *)malloc(sizeof(float) * (size_t)(@{NAME}_ROOM(steps) + 1));
    if (!y || !room) return 1;
    @{name}_run(&@{name}_trained, room, x, y, steps);
@put_all
    return 0;
}
"""

LINES = """/* Reads texts, a line each, and prints @what.@cut */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "@name.h"

enum { MOST = 1024 };  /* @{items} of a text that are read */

static char line[16 * MOST];
static @element given[MOST@row];
static float y[@answers@{NAME}_OUTPUT];
@memory@largest@read_tokens
/* The next text that is not empty; 0 at the end of the input. */
static int read_line(int *number) {
    size_t length;
    do {
        if (!fgets(line, sizeof line, stdin)) return 0;
        ++*number;
        length = strlen(line);
        if (length == sizeof line - 1 && line[length - 1] != '\\n') {
            fprintf(stderr, "Line %d is longer than %d bytes.\\n", *number, (int)sizeof line - 1);
            exit(1);
        }
        while (length > 0 && strchr("\\r\\n", line[length - 1])) line[--length] = 0;
    } while (strspn(line, " \\t") == length);
    return 1;
}

int main(void) {
    int number = 0;
    while (read_line(&number)) {
        int32_t steps = @read;
        if (steps > MOST) {
            fprintf(stderr, "Of line %d, %d of %d @items are read.\\n", number, (int)MOST, (int)steps);
            steps = MOST;
        }
@run
@put_all
    }
    return 0;
}
"""

READ_NUMBERS = """
/* Tokens, written as numbers. */
static int32_t read_tokens(const char *text, int number) {
    int32_t count = 0;
    for (;; count++) {
        char *end;
        const long token = strtol(text, &end, 10);
        if (end == text && !text[strspn(text, " \\t,")]) return count;
        if (end == text || token < 0 || token >= @{NAME}_VOCABULARY) {
            fprintf(stderr, "Line %d must hold tokens, numbers from 0 to %d.\\n", number, @{NAME}_VOCABULARY - 1);
            exit(1);
        }
        if (count < MOST) given[count] = (int32_t)token;
        text = end + strspn(end, " \\t,");
    }
}
"""


def example(model: Model, meaning: Meaning) -> str | None:
    """The program; None of a language model whose tokens are not known."""
    names = {"name": model.name, "NAME": model.name.upper()}
    if model.samples:
        return None if meaning.words is None else _filled(_writes(model, meaning), names)
    if model.reads == "numbers":
        return _filled(_numbers(model, meaning), names)
    return _filled(_lines(model, meaning), names)


@dataclass(frozen=True)
class _Program:
    text: str
    values: dict[str, str]


def _filled(program: _Program, names: dict[str, str]) -> str:
    """Places in what stands in a place are filled, too."""
    text = program.text
    for _ in range(3):
        text = C(text).safe_substitute(program.values | names)
    return text


def _writes(model: Model, meaning: Meaning) -> _Program:
    is_read = meaning.reader is not None
    is_spaced = meaning.words is not None and meaning.words.are_spaced
    return _Program(
        WRITES,
        {
            "prompt": "prompt" if is_read else "numbers of tokens that it begins with",
            "memory": "static int32_t prompt[4096];\n" if is_read else "",
            "begin": (PROMPT_OF_TEXT if is_read else PROMPT_OF_NUMBERS) + (BEFORE_SPACED if is_spaced else ""),
            "write": WRITE_SPACED if is_spaced else WRITE,
        },
    )


def _put(model: Model, meaning: Meaning, y: str, indent: str) -> str:
    put = PUT_NUMBERS if meaning.words is None else PUT_LABEL
    return C(put).safe_substitute(y=y, indent=indent)


def _what(model: Model, meaning: Meaning) -> str:
    answer = "answer" if meaning.words is None else "label"
    return f"the {answer} of them all" if model.pooling else f"the {answer} of each step"


def _put_all(model: Model, meaning: Meaning, indent: str) -> str:
    """What is printed of a whole sequence."""
    if model.pooling:
        return indent + _put(model, meaning, "y", indent)
    each = _put(model, meaning, "(y + t * @{NAME}_OUTPUT)", indent + "    ")
    return f"{indent}for (int32_t t = 0; t < steps; t++)\n{indent}    {each}"


def _numbers(model: Model, meaning: Meaning) -> _Program:
    count = f"{model.numbers} number{'s' if model.numbers > 1 else ''}"
    values = {
        "what": _what(model, meaning),
        "numbers": f"{count}, with commas between them" if model.numbers > 1 else count,
        "count": count,
        "largest": "" if meaning.words is None else LARGEST,
        "read_step": READ_STEP,
    }
    if model.is_two_way:
        return _Program(SEQUENCE, values | {"put_all": _put_all(model, meaning, "    ")})
    put = _put(model, meaning, "y", "        " if not model.pooling else "    ")
    return _Program(
        STEPS,
        values
        | {
            "put_each": "" if model.pooling else f"\n        {put}",
            "put_last": f"\n    {put}" if model.pooling else "",
        },
    )


def _lines(model: Model, meaning: Meaning) -> _Program:
    answer = "answer" if meaning.words is None else "label"
    is_word, is_read = model.reads == "word", meaning.reader is not None
    if model.is_two_way:
        memory = "static float room[@{NAME}_ROOM(MOST)];\n"
        run = "        @{name}_run(&@{name}_trained, room, given, y, steps);"
    else:
        memory = "static @{name}_state state;\n"
        run = (
            "        @{name}_reset(&@{name}_trained, &state);\n"
            "        @{name}_run(&@{name}_trained, &state, given, y, steps);"
        )
    return _Program(
        LINES,
        {
            "what": f"the {answer} of each"
            if model.pooling
            else f"the {answer} of each {'word' if is_word else 'step'}, a line each",
            "cut": "" if is_read else " A text is the numbers of its tokens, with spaces between them.",
            "read": "@{name}_read(line, given, MOST)" if is_read else "read_tokens(line, number)",
            "read_tokens": "" if is_read else READ_NUMBERS,
            "items": "words" if is_word else "tokens",
            "element": "uint32_t" if is_word else "int32_t",
            "row": " * @{NAME}_INPUT" if is_word else "",
            "answers": "" if model.pooling else "MOST * ",
            "memory": memory,
            "largest": "" if meaning.words is None else LARGEST,
            "run": run,
            "put_all": _put_all(model, meaning, "        "),
        },
    )
