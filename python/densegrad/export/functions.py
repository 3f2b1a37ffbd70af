"""The numbers of the core's elementary functions, and the functions in C.

They do the same operations in the same order as cpp/kernels/math.hpp and activations.hpp. The tests compare
the bits.
"""

from __future__ import annotations

from typing import Final

from densegrad._tables import activations
from densegrad.layers import Layer

#: The standard normal distribution's cdf(-a) is exp(-a² / 2) P(a) / Q(a) for a ≥ 0, highest powers first.
NORMAL: Final = {
    "float32": (
        (0.00401985878, 0.0399822965, 0.181301609, 0.43568024, 0.5),
        (0.0100761503, 0.100228108, 0.464366704, 1.19446421, 1.66924536, 1.0),
    ),
    "float64": (
        (
            2.2212901185439621e-07,
            6.921454567188955e-06,
            0.00010586195232484197,
            0.0010338338638403476,
            0.0070891079858076836,
            0.035528839672816857,
            0.13163636309783569,
            0.35650654780939611,
            0.67851925503093102,
            0.82722409104241812,
            0.5,
        ),
        (
            5.567948617299298e-07,
            1.7349513719722746e-05,
            0.00026591335776336413,
            0.002608786708312973,
            0.018034001482698805,
            0.091614332563977982,
            0.34720803549380708,
            0.97767775371479837,
            1.9978295521812506,
            2.8137169435632949,
            2.4523327428877018,
            1.0,
        ),
    ),
}
LEAKY_SLOPE: Final = 0.01
SELU_SCALE: Final = 1.0507009873554804934
SELU_SCALE_ALPHA: Final = 1.0507009873554804934 * 1.6732632423543772848

#: q(r) of expm1(r) = r + r² q(r), |r| ≤ ln(2) / 2.
_EXPM1 = {
    "float32": (0.00139057857, 0.00836625975, 0.0416667722, 0.166665465, 0.5),
    "float64": (
        2.0899728870513243e-09,
        2.5109151125826286e-08,
        2.7557318992578859e-07,
        2.7557243858541099e-06,
        2.4801587277788305e-05,
        0.00019841269886509535,
        0.0013888888888903754,
        0.0083333333333214573,
        0.041666666666666644,
        0.16666666666666677,
        0.5,
    ),
}
#: P(z) of log1p(f) = f - s (f - z P(z)), s = f / (2 + f), z = s², 0 ≤ f ≤ 1.
_LOG1P = {
    "float32": (0.280258507, 0.27998817, 0.400217265, 0.666664124),
    "float64": (
        0.17017255783078725,
        0.08341061205781776,
        0.12105806496097386,
        0.13301017040368227,
        0.15386555954601228,
        0.18181744144463483,
        0.22222223962477447,
        0.28571428547988625,
        0.40000000000156016,
        0.66666666666666308,
    ),
}

#: Numbers that the functions in C name as $NAME, in float32 and in float64.
NUMBERS: Final = {
    "LOG2E": (1.44269504088896340736, 1.44269504088896340736),
    "LN2_HIGH": (0.693147182464599609375, 0.693147180559945286227),
    "LN2_LOW": (-1.904654299957768e-9, 2.319046813846299558e-17),
    "MAGIC": (12582912.0, 6755399441055744.0),
    "EXP_LOW": (-87.33654022, -708.39641853226408),
    "EXP_HIGH": (88.72283173, 709.78271289338397),
    "MAX": (3.402823466e38, 1.7976931348623157e308),
    "EXPM1_LOW": (-18.0, -38.0),
    "LOGISTIC_HIGH": (30.0, 50.0),
    "SILU_LOW": (-100.0, -750.0),
    "GELU_LOW": (-14.0, -40.0),
    "MISH_LOW": (-100.0, -750.0),
    "MISH_HIGH": (20.0, 40.0),
    "NORMAL_LOW": (-83.6, -703.8),
    "NORMAL_HIGH": (13.0, 38.0),
    "SLOPE": (LEAKY_SLOPE, LEAKY_SLOPE),
    "SELU_SCALE": (SELU_SCALE, SELU_SCALE),
    "SELU_SCALE_ALPHA": (SELU_SCALE_ALPHA, SELU_SCALE_ALPHA),
    "ZERO": (0.0, 0.0),
    "HALF": (0.5, 0.5),
    "ONE": (1.0, 1.0),
    "TWO": (2.0, 2.0),
    "FORTY": (40.0, 40.0),
}
#: Lists of coefficients that the functions in C name as $$NAME, and their lengths as $n_NAME.
LISTS: Final = {
    "EXPM1": _EXPM1,
    "LOG1P": _LOG1P,
    "NORMAL_P": {dtype: p for dtype, (p, _) in NORMAL.items()},
    "NORMAL_Q": {dtype: q for dtype, (_, q) in NORMAL.items()},
}

#: The functions in C, each below those that it calls. `@` stands for the prefix of all names, and REAL for
#: float or double. BITS is an unsigned integer of that width. MANTISSA and ONE_BITS give the numbers' layout.
C_FUNCTIONS: Final = {
    "rounded": """
/* x, rounded: keeps the compiler from fusing the product x with a sum behind it. */
static REAL @rounded(REAL x)
{
    const volatile REAL stored = x;
    return stored;
}
""",
    "absolute": """
static REAL @absolute(REAL x)
{
    BITS b;
    memcpy(&b, &x, sizeof b);
    b = b << 1 >> 1;
    memcpy(&x, &b, sizeof x);
    return x;
}
""",
    "at_most": """
/* The smaller of x and a bound; NaN stays NaN. */
static REAL @at_most(REAL x, REAL bound) { return bound < x ? bound : x; }
""",
    "at_least": """
/* The greater of x and a bound; NaN stays NaN. */
static REAL @at_least(REAL x, REAL bound) { return bound > x ? bound : x; }
""",
    "horner": """
static REAL @horner(REAL y, const REAL *c, int n, int first, int step)
{
    REAL sum = c[first];
    for (int i = first + step; i < n; i += step)
        sum = @fma(sum, y, c[i]);
    return sum;
}
""",
    "polynomial": """
/* c[0] x^(n-1) + ... + c[n-1], in one, two or four chains. */
static REAL @polynomial(REAL x, const REAL *c, int n)
{
    const REAL x2 = x * x;
    const REAL x4 = x2 * x2;
    if (n < 5)
        return @horner(x, c, n, 0, 1);
    if (n < 9)
        return @fma(x, @horner(x2, c, n, n & 1, 2), @horner(x2, c, n, (n + 1) & 1, 2));
    return @fma(x2,
                @fma(x, @horner(x4, c, n, n & 3, 4), @horner(x4, c, n, (n + 1) & 3, 4)),
                @fma(x, @horner(x4, c, n, (n + 2) & 3, 4), @horner(x4, c, n, (n + 3) & 3, 4)));
}
""",
    "reduced": """
/* x = n ln(2) + r, n the nearest integer: returns r, and in *n the lowest bits of n. */
static REAL @reduced(REAL x, BITS *n)
{
    const REAL shifted = @fma(x, $LOG2E, $MAGIC);
    const REAL whole = shifted - $MAGIC;
    memcpy(n, &shifted, sizeof *n);
    return @fma(whole, -$LN2_LOW, @fma(whole, -$LN2_HIGH, x));
}
""",
    "expm1_reduced": """
/* expm1(r), |r| <= ln(2) / 2. */
static REAL @expm1_reduced(REAL r)
{
    static const REAL q[] = {$$EXPM1};
    return @fma(r * r, @polynomial(r, q, $n_EXPM1), r);
}
""",
    "power_of_two": """
static REAL @power_of_two(BITS n)
{
    REAL y;
    n = (n << MANTISSA) + ONE_BITS;
    memcpy(&y, &n, sizeof y);
    return y;
}
""",
    "exp": """
static REAL @exp(REAL x)
{
    BITS n, b;
    const REAL r = @reduced(x, &n);
    REAL y = $ONE + @expm1_reduced(r);
    memcpy(&b, &y, sizeof b);
    b += n << MANTISSA;
    memcpy(&y, &b, sizeof y);
    if (!(x <= $EXP_HIGH))
        y = x * $MAX;
    return x < $EXP_LOW ? $ZERO : y;
}
""",
    "exp_nonpositive": """
static REAL @exp_nonpositive(REAL x)
{
    BITS n;
    const REAL r = @reduced(x, &n);
    const REAL scale = @power_of_two(n);
    return x < $EXP_LOW ? $ZERO : @fma(scale, @expm1_reduced(r), scale);
}
""",
    "expm1_nonpositive": """
static REAL @expm1_nonpositive(REAL x)
{
    BITS n;
    const REAL r = @reduced(@at_least(x, $EXPM1_LOW), &n);
    const REAL scale = @power_of_two(n);
    return @fma(scale, @expm1_reduced(r), scale - $ONE);
}
""",
    "log1p_unit": """
/* log(1 + f), 0 <= f <= 1. */
static REAL @log1p_unit(REAL f)
{
    static const REAL c[] = {$$LOG1P};
    const REAL s = f / (f + $TWO);
    const REAL z = s * s;
    return @fma(-s, f - @rounded(z * @polynomial(z, c, $n_LOG1P)), f);
}
""",
    "relu": "static REAL @relu(REAL z) { return z < $ZERO ? $ZERO : z; }\n",
    "leaky_relu": "static REAL @leaky_relu(REAL z) { return z < $ZERO ? z * $SLOPE : z; }\n",
    "tanh": """
static REAL @tanh(REAL x)
{
    BITS n;
    const REAL a = @absolute(x);
    const REAL r = @reduced(@at_most(a + a, $FORTY), &n);
    const REAL scale = @power_of_two(n);
    const REAL expm1 = @fma(scale, @expm1_reduced(r), scale - $ONE);
    const REAL y = expm1 / (expm1 + $TWO);
    BITS sign, magnitude;
    memcpy(&sign, &x, sizeof sign);
    memcpy(&magnitude, &y, sizeof magnitude);
    magnitude |= sign & ~((BITS)-1 >> 1);
    memcpy(&x, &magnitude, sizeof x);
    return x;
}
""",
    "logistic": """
static REAL @logistic(REAL x)
{
    BITS n;
    const REAL r = @reduced(-@at_most(@at_least(x, $EXP_LOW), $LOGISTIC_HIGH), &n);
    const REAL scale = @power_of_two(n);
    const REAL y = $ONE / ($ONE + @fma(scale, @expm1_reduced(r), scale));
    return x < $EXP_LOW ? $ZERO : y;
}
""",
    "softplus": """
static REAL @softplus(REAL x)
{
    return (x > $ZERO ? x : $ZERO) + @log1p_unit(@exp_nonpositive(-@absolute(x)));
}
""",
    "elu": "static REAL @elu(REAL z) { return z > $ZERO ? z : @expm1_nonpositive(z); }\n",
    "selu": """
static REAL @selu(REAL z)
{
    return z > $ZERO ? z * $SELU_SCALE : @expm1_nonpositive(z) * $SELU_SCALE_ALPHA;
}
""",
    "silu": """
static REAL @silu(REAL z)
{
    const REAL e = @exp_nonpositive(-@absolute(z));
    const REAL greater = $ONE / ($ONE + e);
    return @at_least(z, $SILU_LOW) * (z < $ZERO ? e * greater : greater);
}
""",
    "gelu": """
/* z cdf(z) of the standard normal distribution; cdf(-a) = exp(-a^2 / 2) P(a) / Q(a). */
static REAL @gelu(REAL z)
{
    static const REAL p[] = {$$NORMAL_P};
    static const REAL q[] = {$$NORMAL_Q};
    BITS n;
    const REAL a = @at_most(@absolute(z), $NORMAL_HIGH);
    const REAL square = a * a;
    const REAL square_low = @fma(a, a, -square);
    const REAL exponent = square * -$HALF;
    const REAL r = @fma(square_low, -$HALF, @reduced(exponent, &n));
    const REAL scale = @power_of_two(n);
    const REAL e = exponent < $NORMAL_LOW ? $ZERO : @fma(scale, @expm1_reduced(r), scale);
    const REAL ratio = @polynomial(a, p, $n_NORMAL_P) / @polynomial(a, q, $n_NORMAL_Q);
    const REAL tail = @rounded(e * ratio);
    return @at_least(z, $GELU_LOW) * (z < $ZERO ? tail : $ONE - tail);
}
""",
    "mish": """
/* z n / (n + 2), n = e (e + 2), e = exp(z). */
static REAL @mish(REAL z)
{
    const REAL e = @exp(@at_most(z, $MISH_HIGH));
    const REAL n = @fma(e, e, e + e);
    return @at_least(z, $MISH_LOW) * (n / (n + $TWO));
}
""",
    "softmax": """
static void @softmax(REAL *y, size_t n)
{
    REAL greatest = y[0], sum = $ZERO;
    for (size_t j = 1; j < n; ++j)
        greatest = y[j] > greatest ? y[j] : greatest;
    for (size_t j = 0; j < n; ++j) {
        y[j] = @exp_nonpositive(y[j] - greatest);
        sum = sum + y[j];
    }
    sum = $ONE / sum;
    for (size_t j = 0; j < n; ++j)
        y[j] = y[j] * sum;
}
""",
    "quantiles": """
/* Levels of a target that never cross: each adds a softplus to the one below. */
static void @quantiles(REAL *y, size_t n, size_t n_levels)
{
    for (size_t j = 0; j < n; ++j)
        if (j % n_levels != 0)
            y[j] = y[j - 1] + @softplus(y[j]);
}
""",
}


def no_form(l: int, layer: Layer, language: str) -> ValueError:
    """Return the error of a layer whose activation cannot be exported."""
    return ValueError(
        f"the activation {layer.activation_name!r} of layer {l} has no form in {language}; only"
        f" {', '.join(activations())} have one. Put one of them in its place, or use `Network.predict`"
    )
