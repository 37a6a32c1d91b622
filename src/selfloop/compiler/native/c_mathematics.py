"""Functions of a real number in C99: float32, without branches, tables or calls, so that C compilers vectorise them.

They are those of `selfloop.compiler.cpu.emit.mathematics`, with the same coefficients, and differ from them by
roundings: a C compiler may contract a * b + c or not.
"""

from collections.abc import Sequence
from math import isnan, log, pi, sqrt

from selfloop.compiler.coefficients import COSINE, EXP, LN2, LOG, LOG1P, LOG2_E, MILLS, QUARTER, SINE, TANH

LANES = 16
"""Units whose products are summed side by side: a vector of AVX-512, two of AVX2, four of SSE, NEON and WebAssembly."""


def number(value: float) -> str:
    """A float32 as C writes it."""
    if isnan(value):
        return "sl_from_bits(0x7fc00000)"
    if value in (float("inf"), float("-inf")):
        return f"({'-' if value < 0 else ''}sl_from_bits(0x7f800000))"
    return f"{value!r}f" if "e" in repr(value) or "." in repr(value) else f"{value!r}.0f"


def horner(x: str, coefficients: Sequence[float]) -> str:
    """A polynomial by Horner's rule, the highest power first."""
    text = number(coefficients[0])
    for c in coefficients[1:]:
        text = f"({text} * {x} + {number(c)})"
    return text


_LN2 = [number(part) for part in LN2[32]]
_QUARTER = [number(part) for part in QUARTER[32]]
_MAGIC = number(1.5 * 2.0**23)

HELPERS = f"""
#if defined(__AVX512F__)
#define SL_BYTES 64
#elif defined(__AVX__)
#define SL_BYTES 32
#else
#define SL_BYTES 16
#endif
#if defined(__GNUC__) && !defined(SL_PLAIN)  /* sums of {LANES} units stay in registers */
typedef float sl_vector __attribute__((vector_size(SL_BYTES), aligned(4), may_alias));
typedef int8_t sl_bytes __attribute__((vector_size(SL_BYTES / 4), aligned(1), may_alias));
typedef uint16_t sl_halves __attribute__((vector_size(SL_BYTES / 2), aligned(2), may_alias));
typedef int16_t sl_shorts __attribute__((vector_size(SL_BYTES / 2), aligned(2), may_alias));
typedef int32_t sl_ints __attribute__((vector_size(SL_BYTES), aligned(4), may_alias));
typedef uint32_t sl_words __attribute__((vector_size(SL_BYTES), aligned(4), may_alias));
#define SL_SUM(s) sl_vector s[{4 * LANES} / SL_BYTES] = {{{{0.0f}}}}
#define SL_ALL for (int i = 0; i < {4 * LANES} / SL_BYTES; i++)
#define SL_f32(p) ((const sl_vector *)(p))[i]
#define SL_TO(v, kind) __builtin_convertvector(v, kind)  /* to twice the width: what is wider, GCC 12 does one by one */
#define SL_int8(p) SL_TO(SL_TO(SL_TO(((const sl_bytes *)(p))[i], sl_shorts), sl_ints), sl_vector)
#define SL_bf16(p) ((sl_vector)(SL_TO(((const sl_halves *)(p))[i], sl_words) << 16))
#else
#define SL_SUM(s) float s[{LANES}] = {{0.0f}}
#define SL_ALL for (int i = 0; i < {LANES}; i++)
#define SL_f32(p) (p)[i]
#define SL_int8(p) ((float)(p)[i])
#define SL_bf16(p) sl_from_bits((uint32_t)(p)[i] << 16)
#endif

typedef union {{ float f; int32_t i; uint32_t u; }} sl_word;
static inline float sl_from_bits(uint32_t u) {{ sl_word w; w.u = u; return w.f; }}
static inline uint32_t sl_bits(float f) {{ sl_word w; w.f = f; return w.u; }}
static inline float sl_power_of_two(int32_t n) {{ return sl_from_bits((uint32_t)(n + 127) << 23); }}
static inline int32_t sl_whole(float shifted) {{ return (int32_t)(sl_bits(shifted) - sl_bits({_MAGIC})); }}
static inline float sl_abs(float x) {{ return sl_from_bits(sl_bits(x) & 0x7fffffffu); }}
static inline float sl_copysign(float size, float sign) {{
    return sl_from_bits((sl_bits(size) & 0x7fffffffu) | (sl_bits(sign) & 0x80000000u));
}}
static inline float sl_at_most(float x, float high) {{ return x > high ? high : x; }}
static inline float sl_at_least(float x, float low) {{ return x < low ? low : x; }}
"""
"""What the functions are built of."""

FUNCTIONS = {
    "neg": "static inline float sl_neg(float x) { return -x; }",
    "abs": "",
    "relu": "static inline float sl_relu(float x) { return x < 0.0f ? 0.0f : x; }",
    "exp": f"""static inline float sl_exp(float x) {{
    x = sl_at_most(sl_at_least(x, -104.0f), 104.0f);
    const float shifted = x * {number(LOG2_E)} + {_MAGIC}, n = shifted - {_MAGIC};
    const float r = (x - n * {_LN2[0]}) - n * {_LN2[1]};
    const float p = {horner("r", EXP[32])} * r + 1.0f;
    const int32_t whole = sl_whole(shifted), half = whole >> 1;
    return p * sl_power_of_two(half) * sl_power_of_two(whole - half);
}}""",
    "sigmoid": "static inline float sl_sigmoid(float x) { return 1.0f / (1.0f + sl_exp(-x)); }",
    "tanh": f"""static inline float sl_tanh(float x) {{
    const float c = sl_at_most(sl_at_least(x, -9.02f), 9.02f);
    const float shifted = c * {number(2 * LOG2_E)} + {_MAGIC}, n = shifted - {_MAGIC};
    const float r = c - n * {number(log(2) / 2)}, z = r * r;
    const float w = r + r * z * {horner("z", TANH[32])};
    const float s = sl_power_of_two(sl_whole(shifted));
    const float value = ((s - 1.0f) + (s + 1.0f) * w) / ((s + 1.0f) + (s - 1.0f) * w);
    return x != x ? x : sl_copysign(value, x);
}}""",
    "log": f"""static inline float sl_log(float x) {{
    const int small = x < {number(2.0**-126)};
    const float lifted = small ? x * 8388608.0f : x;
    const int32_t n = (int32_t)(sl_bits(lifted) - sl_bits({number(sqrt(0.5))})) >> 23;
    const float m = sl_from_bits(sl_bits(lifted) - ((uint32_t)n << 23));
    const float e = (float)n - (small ? 23.0f : 0.0f);
    const float f = m - 1.0f, s = f / (m + 1.0f), z = s * s, half = 0.5f * f * f;
    const float value = (f - (half - (s * (half + z * {horner("z", LOG[32])}) + e * {_LN2[1]}))) + e * {_LN2[0]};
    const float infinity = sl_from_bits(0x7f800000);
    return x < 0.0f || x != x ? sl_from_bits(0x7fc00000) : x == 0.0f ? -infinity : x == infinity ? x : value;
}}""",
    "softplus": f"""static inline float sl_softplus(float x) {{
    const float e = sl_exp(-sl_abs(x));
    return (x < 0.0f ? 0.0f : x) + (e - e * e * {horner("e", LOG1P[0])} / {horner("e", LOG1P[1])});
}}""",
    "sqrt": """static inline float sl_sqrt(float x) {
    float y = sl_from_bits(0x5f3759dfu - (sl_bits(x) >> 1));  /* 1 / sqrt(x), then three steps of Newton's */
    y = y * (1.5f - 0.5f * x * y * y);
    y = y * (1.5f - 0.5f * x * y * y);
    y = y * (1.5f - 0.5f * x * y * y);
    const float root = x * y;
    return x == 0.0f || x > 3.4e38f ? x : x < 0.0f ? sl_from_bits(0x7fc00000) : root + 0.5f * y * (x - root * root);
}""",
    "floor": """static inline float sl_floor(float x) {
    const float cut = sl_abs(x) < 8388608.0f ? (float)(int32_t)x : x;
    return cut > x ? cut - 1.0f : sl_copysign(cut, x);
}""",
    "sin": f"""static inline float sl_turn(float x, int32_t ahead) {{
    const float shifted = x * {number(2 / pi)} + {_MAGIC}, n = shifted - {_MAGIC};
    const float r = ((x - n * {_QUARTER[0]}) - n * {_QUARTER[1]}) - n * {_QUARTER[2]}, z = r * r;
    const float sine = r + r * z * {horner("z", SINE[32])};
    const float cosine = 1.0f - 0.5f * z + z * z * {horner("z", COSINE[32])};
    const int32_t quarter = sl_whole(shifted) + ahead;
    return sl_from_bits(sl_bits(quarter & 1 ? cosine : sine) ^ ((uint32_t)(quarter & 2) << 30));
}}
static inline float sl_sin(float x) {{ return sl_turn(x, 0); }}""",
    "cos": "static inline float sl_cos(float x) { return sl_turn(x, 1); }",
    "erf": f"""static inline float sl_tail(float size) {{  /* the normal distribution beyond `size` */
    const float a = sl_at_most(size, 14.5f), high = sl_from_bits(sl_bits(a) & 0xfffff000u);
    const float rest = (a - high) * (a + high) * -0.5f;
    return sl_exp(high * high * -0.5f) * sl_exp(rest) * {horner("a", MILLS[0])} / {horner("a", MILLS[1])};
}}
static inline float sl_erf(float x) {{
    const float size = sl_abs(x);
    return sl_copysign(1.0f - 2.0f * sl_tail(size * {number(sqrt(2))}), x);
}}""",
    "dot": f"""static inline float sl_dot(const float *a, const float *b, int32_t size) {{
    SL_SUM(s);
    float total = 0.0f;
    int32_t k = 0;
    for (; k + {LANES} <= size; k += {LANES}) SL_ALL s[i] += SL_f32(a + k) * SL_f32(b + k);
    for (int i = 0; i < {LANES}; i++) total += ((const float *)s)[i];
    for (; k < size; k++) total += a[k] * b[k];
    return total;
}}""",
    "gelu": """static inline float sl_gelu(float x) {
    const float size = sl_abs(x);
    return 0.5f * (x + size) - size * sl_tail(size);
}""",
}
"""The definition of each; some need others, see `NEEDS`."""

NEEDS = {
    "sigmoid": ("exp",),
    "softplus": ("exp",),
    "cos": ("sin",),
    "erf": ("exp",),
    "gelu": ("erf",),
}


def definitions(used: set[str]) -> str:
    """The definitions of these functions, and of those that they need."""
    needed: dict[str, None] = {}

    def visit(name: str) -> None:
        for other in NEEDS.get(name, ()):
            visit(other)
        needed[name] = None

    for name in FUNCTIONS:
        if name in used:
            visit(name)
    return HELPERS + "\n" + "\n".join(FUNCTIONS[name] for name in needed if FUNCTIONS[name]) + "\n"
