"""The files of a stack in C, with places for what differs from stack to stack."""

HEADER = """/* {title}, written by selfloop.

{equations}

   All memory is the caller's. Nothing is allocated, locked or called. A step does the same work whatever it reads.
   Several sessions share the weights; each has a state of its own, which is plain data: copy it to branch a session. */

#ifndef {NAME}_H
#define {NAME}_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

#define {NAME}_INPUT {input}   /* floats that a step reads */
#define {NAME}_OUTPUT {output}  /* floats that a step writes */
#define {NAME}_HASH {hash}  /* of the equations and the weights */

typedef struct {{
    float w[{weights}];  /* in the order in which a step reads them */
}} {name}_weights;

typedef struct {{
{fields}
}} {name}_state;

extern const {name}_weights {name}_trained;

/* Begin anew. */
void {name}_reset({name}_state *s);

/* One step: x[{input}] in, y[{output}] out. */
void {name}_step(const {name}_weights *w, {name}_state *s, const float *x, float *y);

/* `steps` steps: x[steps][{input}] in, y[steps][{output}] out. */
void {name}_run(const {name}_weights *w, {name}_state *s, const float *x, float *y, int steps);

#ifdef __cplusplus
}}
#endif
#endif
"""

SOURCE = """#include "{name}.h"
{functions}
{steps}
static void {name}_keep(float *s, const float *v, int n) {{
    for (int k = 0; k < n; k++) s[k] = v[k] < 1e-30f && v[k] > -1e-30f ? 0.0f : v[k];  /* denormals are slow */
}}

void {name}_reset({name}_state *s) {{
    const volatile float zero = 0.0f;  /* read once, so that no compiler makes this a call of memset */
    const float z = zero;
    float *f = (float *)s;
    for (int k = 0; k < {floats}; k++) f[k] = z;
}}

static void {name}_advance(const {name}_weights *w, {name}_state *s, const float *x) {{
{calls}
}}

void {name}_step(const {name}_weights *w, {name}_state *s, const float *x, float *y) {{
    {name}_advance(w, s, x);
    for (int k = 0; k < {NAME}_OUTPUT; k++) y[k] = s->{last}[k];
}}

void {name}_run(const {name}_weights *w, {name}_state *s, const float *x, float *y, int steps) {{
    for (int t = 0; t < steps; t++) {name}_step(w, s, x + t * {NAME}_INPUT, y + t * {NAME}_OUTPUT);
}}
"""

WEIGHTS = """#include "{name}.h"

const {name}_weights {name}_trained = {{{{
{lines}
}}}};
"""

CHECK = """#include <stdio.h>
#include "{name}.h"

static const float given[{steps}][{NAME}_INPUT] = {{
{x}
}};
static const float expected[{steps}][{NAME}_OUTPUT] = {{
{y}
}};

int main(void) {{
    static {name}_state state;
    float worst = 0.0f, y[{NAME}_OUTPUT];
    {name}_reset(&state);
    for (int t = 0; t < {steps}; t++) {{
        {name}_step(&{name}_trained, &state, given[t], y);
        for (int k = 0; k < {NAME}_OUTPUT; k++) {{
            const float far = y[k] > expected[t][k] ? y[k] - expected[t][k] : expected[t][k] - y[k];
            if (!(far <= worst)) worst = far;
        }}
    }}
    printf("difference %.3e of the largest output\\n", worst / {scale});
    return !(worst <= {tolerance}f * {scale});
}}
"""

MAKEFILE = """CFLAGS = -std=c99 -O3 -march=native -ffp-contract=fast -fno-math-errno -fno-trapping-math

check: check.c {name}.c {name}_weights.c {name}.h
	$(CC) $(CFLAGS) check.c {name}.c {name}_weights.c -o $@
	./check

.PHONY: check
"""
