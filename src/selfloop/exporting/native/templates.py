"""The files of a model in C, with places for what differs from model to model."""

HEADER = """/* {title}, written by selfloop.

{about}

   All memory is the caller's. Nothing is allocated, locked or called. A step does the same work whatever it reads.
   Several sessions share the weights; each has a state of its own, which is plain data: copy it to branch a session. */

#ifndef {NAME}_H
#define {NAME}_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

{sizes}

/* The weights, in the order in which a step reads them. A file NAME.weights holds the same bytes, to be mapped. */
typedef struct {{
    uint32_t head[{head}];  /* {magic}, the hash of the equations and sizes, that of the weights, the bytes of all */
{fields}
}} {name}_weights;
{state}
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

WORDS = """
/* What the numbers of {title} stand for, in UTF-8. */
extern const char *const {name}_{title}[{count}];
"""

DOCUMENTED = {
    "reset": "Begin anew.",
    "step": "One step: {input} in, {output} out. Where `y` is 0, nothing is written there.",
    "run": "`steps` steps: {inputs} in, {outputs} out.",
    "run_two_way": "A whole sequence of `steps` steps: {inputs} in, {outputs} out.\n"
    "`room` is {NAME}_ROOM(steps) floats of yours.",
    "save": "The state as {NAME}_SAVED words, with the hash of its weights before it.",
    "load": "A state that `save` wrote: 0, or 1 where it belongs to other weights, and the state stays as it was.",
    "check": "Whether a file of so many bytes holds weights for this code: 0 if it does, and then it is a\n"
    "{name}_weights; 1 where they are of another model, 2 where it is too short. Its address must be a multiple of 4.",
    "sample": "A token, drawn with the softmax of logits / temperature; 0 takes the likeliest. Only the `top_k`\n"
    "likeliest can be drawn, all of them with 0. `seed` is any number, and changes.",
}
"""What each function does."""

SOURCE = """#include "{name}.h"
{text}"""

WEIGHTS = """#include "{name}.h"

const {name}_weights {name}_trained = {{
    {{{head}}},
    {{
{floats}
    }},{codes}
}};
"""

CHECK = """/* Runs the model on {steps} steps of input, and compares what it gives with what selfloop gives. */

#include <stdio.h>
#include <time.h>
#include "{name}.h"

#define STEPS {steps}
#define ANSWERS {answers}

static const {element} given[STEPS * {numbers}] = {{
{x}
}};
static const float expected[ANSWERS * {NAME}_OUTPUT] = {{
{y}
}};
static float y[ANSWERS * {NAME}_OUTPUT];
{memory}
static double seconds(void) {{ return (double)clock() / CLOCKS_PER_SEC; }}

int main(void) {{
    const {name}_weights *w = &{name}_trained;
    float worst = 0.0f;
    long steps = 0;
{run}
    for (int k = 0; k < ANSWERS * {NAME}_OUTPUT; k++) {{
        const float far = y[k] > expected[k] ? y[k] - expected[k] : expected[k] - y[k];
        if (!(far <= worst)) worst = far;
    }}
    printf("difference %.3e of the largest output\\n", worst / {scale});
    const double start = seconds();
    do {{
{again}
        steps += STEPS;
    }} while (seconds() - start < 0.05);
    printf("step %.4f us\\n", (seconds() - start) * 1e6 / (double)steps);
    return !(worst <= {tolerance}f * {scale});
}}
"""

MAKEFILE = """# make: the model gives selfloop's numbers. make example. {library_help}
CC = {compiler}
RUN = {runner}
CFLAGS = {flags}
PARTS = {parts}

run-check: check
	$(RUN) ./check

check: check.c $(PARTS) {name}.h
	$(CC) $(CFLAGS) check.c $(PARTS) -o $@

example: example.c $(PARTS) {name}.h
	$(CC) $(CFLAGS) example.c $(PARTS) -o $@
{library}
.PHONY: run-check
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
