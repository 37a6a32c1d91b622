"""The files of a model in C, with places for what differs from model to model."""

HEADER = """/* {title}, written by selfloop.

{about}

{care} */

#ifndef {NAME}_H
#define {NAME}_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

{sizes}

/* The weights, in the order in which a step reads them. The file {name}.weights holds the same bytes: a program may
   map it into memory and leave {name}_trained out. */
typedef struct {{
    uint32_t head[{head}];  /* {magic}; the hash of equations and sizes; the hash of the weights; the bytes of all */
{fields}
}} {name}_weights;
{state}
/* The weights of the trained model. */
extern const {name}_weights {name}_trained;
{words}{functions}
#ifdef __cplusplus
}}
#endif
#endif
"""

STATE = """
/* A session. */
typedef struct {{
{fields}
}} {name}_state;
"""

WORDS = {
    "tokens": """
/* What each token stands for, in UTF-8, and its bytes: a 0 may be among them. */
extern const char *const {name}_tokens[{count}];
extern const uint32_t {name}_token_bytes[{count}];
""",
    "labels": """
/* The label of each output, in UTF-8. The likeliest is that of the largest output. */
extern const char *const {name}_labels[{count}];
""",
}

CARE = """All memory is the caller's. Nothing is allocated, locked or called. {work}
Several sessions share the weights; each has a state of its own, which is plain data: copy it to branch a session."""

WORK = {
    "numbers": "A step does the same work whatever it reads.",
    "token": "A step does the same work whatever it reads.",
    "word": "A step takes longer for a longer word, up to the letters that are read.",
}
"""What a step costs, by what a model reads."""

UNITS = {
    "numbers": "floats that a step reads",
    "token": "number that a step reads, a token",
    "word": "numbers that a step reads, those of a word",
}

INPUTS = {
    "numbers": ("x[{}]", "x[steps][{}]"),
    "token": ("a token", "tokens[steps]"),
    "word": ("word[{}]", "words[steps][{}]"),
}
"""A step's input, and a sequence's."""

DOCUMENTED = {
    "reset": "Begin anew: before the first step of every sequence.",
    "step": "One step: {input} in, {output} out. Where `y` is 0, nothing is written there.",
    "run": "`steps` steps: {inputs} in, {outputs} out.",
    "run_two_way": "A whole sequence of `steps` steps: {inputs} in, {outputs} out.\n"
    "`room` is {NAME}_ROOM(steps) floats of yours.",
    "save": "The state as {NAME}_SAVED numbers, with the hash of its weights before it.",
    "load": "A state that `save` wrote: 0, or 1 where it belongs to other weights, and the state stays as it was.",
    "check": "Whether a file of so many bytes holds weights for this code: 0 if it does, and then it is a\n"
    "{name}_weights; 1 where they are of another model, 2 where it is too short, 3 where a byte of it has\n"
    "changed since it was written. It reads the whole file, whose address must be a multiple of 4.",
    "read": "A text in UTF-8 as inputs, of which the first `most` are written; gives how many there are.\n{reader}",
    "sample": "A token, drawn with the softmax of logits / temperature; 0 takes the likeliest. Only the `top_k`\n"
    "likeliest can be drawn, all of them with 0. `seed` is any number, and changes.",
}
"""What each function does."""

SOURCE = """#include "{name}.h"

#if defined __FAST_MATH__ || defined _M_FP_FAST
#error "Compile this file without -ffast-math (-Ofast, /fp:fast): it rounds by sums whose order counts."
#endif
{text}"""

WEIGHTS = """#include "{name}.h"

const {name}_weights {name}_trained = {{
    {{{head}}},
    {{
{floats}
    }},{codes}
}};
"""

CHECK = """/* Runs the model on {cases} sequences, and compares what it says of them with what selfloop says. */

#include <stdio.h>
#include <time.h>
#include "{name}.h"

#define CASES {cases}
#define IS_POOLED {is_pooled}  /* one answer for a sequence, not one for each step */

static const int32_t lengths[CASES] = {{
{lengths}
}};
static const {element} inputs[{all_steps} * {NAME}_INPUT] = {{
{x}
}};
static const float expected[{answers} * {NAME}_OUTPUT] = {{
{y}
}};
static float y[{longest} * {NAME}_OUTPUT];
{memory}
static void run(const {element} *x, int32_t steps) {{
    const {name}_weights *w = &{name}_trained;
{run}
}}

static float size(float value) {{ return value < 0.0f ? -value : value; }}

static double seconds(void) {{ return (double)clock() / CLOCKS_PER_SEC; }}

int main(void) {{
    const {element} *x = inputs;
    const float *truth = expected;
    float worst = 0.0f;
    for (int k = 0; k < CASES; k++) {{
        const int count = (IS_POOLED ? 1 : lengths[k]) * {NAME}_OUTPUT;
        float largest = 1e-30f;
        run(x, lengths[k]);
        for (int j = 0; j < count; j++)
            if (size(truth[j]) > largest) largest = size(truth[j]);
        for (int j = 0; j < count; j++)
            if (worst == worst && !(size(y[j] - truth[j]) / largest <= worst))
                worst = size(y[j] - truth[j]) / largest;
        x += lengths[k] * {NAME}_INPUT;
        truth += count;
    }}
    printf("difference %.3e of the largest output\\n", (double)worst);

    double steps = 0.0;
    const double start = seconds();
    do {{
        run(inputs, lengths[0]);
        steps += lengths[0];
    }} while (seconds() - start < 0.05);
    printf("step %.4f us\\n", (seconds() - start) * 1e6 / steps);
    return !(worst <= {tolerance}f);
}}
"""

MAKEFILE = """# make: the model gives selfloop's numbers.{targets}
CC = {compiler}
RUN = {runner}
CFLAGS = {flags}
PARTS = {parts}

run-check: check
	$(RUN) ./check

check: check.c $(PARTS) {name}.h
	$(CC) $(CFLAGS) check.c $(PARTS) -o $@
{example}{library}
.PHONY: run-check
"""

EXAMPLE = """
example: example.c $(PARTS) {name}.h
	$(CC) $(CFLAGS) example.c $(PARTS) -o $@
"""

LIBRARY = """
lib{name}.so: $(PARTS) {name}.h
	$(CC) $(CFLAGS) -shared -fPIC $(PARTS) -o $@
"""

CORTEX_M_STARTUP = """/* What runs before main on a Cortex-M: the table of vectors, the FPU, the variables. */

#include <stdint.h>
#include <stdlib.h>

extern uint32_t data_start[], data_end[], data_stored[], bss_start[], bss_end[], stack_top[];
extern void initialise_monitor_handles(void);  /* of newlib: printf by the debugger's semihosting */
extern int main(void);

static void start(void) {
    *(volatile uint32_t *)0xE000ED88 |= 0xFu << 20;  /* CPACR: the FPU, and the vectors of Helium */
    __asm volatile("dsb\\n isb");
    for (uint32_t *to = data_start, *from = data_stored; to < data_end;) *to++ = *from++;
    for (uint32_t *to = bss_start; to < bss_end;) *to++ = 0;
    initialise_monitor_handles();
    exit(main());
}

static void fault(void) {
    _Exit(3);
}

__attribute__((section(".vectors"), used)) const void *const vectors[16] = {
    stack_top, start, fault, fault, fault, fault, fault,
};

void _init(void) {}
void _fini(void) {}
"""

CORTEX_M_LINK = """/* Code and constants from ROM on, variables from RAM on; give both by --defsym. */
ENTRY(vectors)
SECTIONS {
    . = ROM;
    .text : { KEEP(*(.vectors)) *(.text .text.*) *(.rodata .rodata.*) . = ALIGN(64); }
    .ARM.exidx : { *(.ARM.exidx .ARM.exidx.*) . = ALIGN(8); }
    data_stored = .;
    . = RAM;
    .data : AT(data_stored) { data_start = .; *(.data .data.*) . = ALIGN(8); data_end = .; }
    .bss (NOLOAD) : { bss_start = .; *(.bss .bss.* COMMON) . = ALIGN(8); bss_end = .; }
    end = .;
    stack_top = RAM + RAM_BYTES;
}
"""
