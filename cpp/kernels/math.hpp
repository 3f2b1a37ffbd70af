// These are elementary functions of vectors. They use the same additions, multiplications, divisions,
// comparisons and explicit fma for every instruction set, so their bits are the same everywhere. IEEE
// division and square root are correctly rounded on every CPU, and measured faster on AVX2 than Newton steps.
//
// The error beside each function is the largest one measured, float32 / float64. It is in units in the last
// place (ULP) of the exact result. Results nearer to zero than the smallest normal number are zero; NaN gives
// NaN. Polynomials and rationals are fitted to the smallest largest relative error over the interval given
// with them.
#pragma once

#include "simd.hpp"

namespace densegrad::DENSEGRAD_ISA {
namespace {

typedef std::uint32_t UIntF __attribute__((vector_size(kVecBytes)));
typedef std::uint64_t UIntD __attribute__((vector_size(kVecBytes)));
template <class T> struct UIntOf;
template <> struct UIntOf<float> {
    using UInt = UIntF;
};
template <> struct UIntOf<double> {
    using UInt = UIntD;
};
template <class T> using UInt = typename UIntOf<T>::UInt;
template <class T> using UIntLane = typename Precision<T>::UnsignedBits;

template <class T>
constexpr IntLane<T> kSignBit = static_cast<IntLane<T>>(UIntLane<T>(1) << (8 * sizeof(T) - 1));
template <class T> constexpr T kInfinity = static_cast<T>(__builtin_inff());
template <class T> constexpr T kLog2e = T(1.44269504088896340736);

// c[first] y^k + c[first + kStep] y^(k-1) + ... + the last coefficient of this step.
template <int kStep, class T, int N> DENSEGRAD_INLINE Vec<T> horner(Vec<T> y, const T (&c)[N], int first) {
    Vec<T> sum = broadcast<T>(c[first]);
    for (int i = first + kStep; i < N; i += kStep)
        sum = fma(sum, y, broadcast<T>(c[i]));
    return sum;
}

// c[0] x^(N-1) + ... + c[N-1]. It goes in two or four independent chains if one would be long, because the
// loops over vectors are bound by latency.
template <class T, int N> DENSEGRAD_INLINE Vec<T> polynomial(Vec<T> x, const T (&c)[N]) {
    if constexpr (N < 5) {
        return horner<1>(x, c, 0);
    } else if constexpr (N < 9) {
        const Vec<T> x2 = x * x;
        return fma(x, horner<2>(x2, c, N & 1), horner<2>(x2, c, (N + 1) & 1));
    } else {
        const Vec<T> x2 = x * x;
        const Vec<T> x4 = x2 * x2;
        const Vec<T> low = fma(x, horner<4>(x4, c, (N + 2) & 3), horner<4>(x4, c, (N + 3) & 3));
        const Vec<T> high = fma(x, horner<4>(x4, c, N & 3), horner<4>(x4, c, (N + 1) & 3));
        return fma(x2, high, low);
    }
}

// Gives the smaller or greater of x and a bound; NaN stays NaN.
template <class T> DENSEGRAD_INLINE Vec<T> at_most(Vec<T> x, T bound) { return min(broadcast<T>(bound), x); }
template <class T> DENSEGRAD_INLINE Vec<T> at_least(Vec<T> x, T bound) { return max(broadcast<T>(bound), x); }

template <class T> DENSEGRAD_INLINE Vec<T> copy_sign(Vec<T> magnitude, Vec<T> sign) {
    return from_bits(bits(magnitude) | (bits(sign) & kSignBit<T>));
}

// q(r), |r| <= ln(2) / 2, of expm1(r) = r + r^2 q(r): 2^-26 and 2^-61.
template <class T> DENSEGRAD_INLINE Vec<T> expm1_series(Vec<T> r) {
    if constexpr (kIsFloat<T>) {
        constexpr T q[] = {0.00139057857f, 0.00836625975f, 0.0416667722f, 0.166665465f, 0.5f};
        return polynomial<T>(r, q);
    } else {
        constexpr T q[] = {2.0899728870513243e-09,
                           2.5109151125826286e-08,
                           2.7557318992578859e-07,
                           2.7557243858541099e-06,
                           2.4801587277788305e-05,
                           0.00019841269886509535,
                           0.0013888888888903754,
                           0.0083333333333214573,
                           0.041666666666666644,
                           0.16666666666666677,
                           0.5};
        return polynomial<T>(r, q);
    }
}

template <class T> DENSEGRAD_INLINE Vec<T> expm1_reduced(Vec<T> r) {
    return fma(r * r, expm1_series<T>(r), r);
}

// x = n ln(2) + r, n the integer nearest to x / ln(2).
template <class T> struct ExpReduction {
    Int<T> n; // in the lowest bits; what stands above them vanishes when n is shifted into the exponent
    Vec<T> r;
};
template <class T> DENSEGRAD_INLINE ExpReduction<T> exp_reduction(Vec<T> x) {
    const Vec<T> shifted = fma(x, broadcast<T>(kLog2e<T>), broadcast<T>(Precision<T>::rounding_magic));
    const Vec<T> n = shifted - Precision<T>::rounding_magic;
    const Vec<T> r = fma(n, broadcast<T>(-Precision<T>::ln2_high), x);
    return {bits(shifted), fma(n, broadcast<T>(-Precision<T>::ln2_low), r)};
}

// 2^n for normal results.
template <class T> DENSEGRAD_INLINE Vec<T> power_of_two(Int<T> n) {
    return from_bits(
        (Int<T>)(((UInt<T>)n << Precision<T>::mantissa_bits) + UIntLane<T>(Precision<T>::one_bits)));
}

// exp(x), 1.06 / 1.00 ULP. Any x: 0 below kExpLow, infinity above kExpHigh.
template <class T> DENSEGRAD_INLINE Vec<T> exp(Vec<T> x) {
    const ExpReduction<T> e = exp_reduction<T>(x);
    const Vec<T> mantissa = T(1) + expm1_reduced<T>(e.r);
    const Vec<T> y =
        from_bits((Int<T>)((UInt<T>)bits(mantissa) + ((UInt<T>)e.n << Precision<T>::mantissa_bits)));
    const Vec<T> not_above = x <= Precision<T>::exp_high ? y : x * Precision<T>::max_finite;
    return x < Precision<T>::exp_low ? Vec<T>{} : not_above;
}

// exp(x) for x <= 0, 1.04 / 1.00 ULP; zero below kExpLow.
template <class T> DENSEGRAD_INLINE Vec<T> exp_nonpositive(Vec<T> x) {
    const ExpReduction<T> e = exp_reduction<T>(x);
    const Vec<T> scale = power_of_two<T>(e.n);
    return x < Precision<T>::exp_low ? Vec<T>{} : fma(scale, expm1_reduced<T>(e.r), scale);
}

// exp(x) - 1 for x <= 0, 1.00 / 1.20 ULP.
template <class T> DENSEGRAD_INLINE Vec<T> expm1_nonpositive(Vec<T> x) {
    const ExpReduction<T> e = exp_reduction<T>(at_least<T>(x, Precision<T>::expm1_low)); // lost in 1
    const Vec<T> scale = power_of_two<T>(e.n);
    return fma(scale, expm1_reduced<T>(e.r), scale - T(1));
}

// exp(x) - 1 - x, any x but infinity; it is x^2 / 2 if x is small. 5.5 / 3.2 ULP for |x| <= ln(2) / 2.
// Beyond, the subtraction costs some: 15 / 16 ULP.
template <class T> DENSEGRAD_INLINE Vec<T> exp_excess(Vec<T> x) {
    constexpr T half_ln2 = T(0.346573590279972654709);
    const Vec<T> r = at_most<T>(at_least<T>(x, -half_ln2), half_ln2);
    return abs<T>(x) <= half_ln2 ? r * r * expm1_series<T>(r) : exp<T>(x) - T(1) - x;
}

// log1p(f) = 2 atanh(s) = f - s (f - R), s = f / (2 + f), R = s^2 P(s^2) = 2 atanh(s) / s - 2.
template <class T, int N> DENSEGRAD_INLINE Vec<T> log1p_series(Vec<T> f, const T (&c)[N]) {
    const Vec<T> s = f / (f + T(2));
    const Vec<T> size = at_least<T>(abs<T>(s), T(0x1p-60)); // of less, the square is lost and may be denormal
    const Vec<T> z = size * size;
    return fma(-s, f - z * polynomial<T>(z, c), f);
}

// log(x) for x >= 0, 0.92 / 1.15 ULP; what is below the smallest normal number counts as zero.
template <class T> DENSEGRAD_INLINE Vec<T> log(Vec<T> x) {
    // x = 2^e m, sqrt(1/2) <= m < sqrt(2).
    constexpr UIntLane<T> sqrt_half = Precision<T>::sqrt_half_bits;
    constexpr UIntLane<T> one = static_cast<UIntLane<T>>(Precision<T>::one_bits);
    constexpr UIntLane<T> mantissa = (UIntLane<T>(1) << Precision<T>::mantissa_bits) - 1;
    constexpr T power = Precision<T>::mantissa_power;
    constexpr UIntLane<T> power_bits = Precision<T>::mantissa_power_bits;
    constexpr T bias = Precision<T>::exponent_bias;
    const UInt<T> shifted = (UInt<T>)bits(x) + (one - sqrt_half);
    const Vec<T> e =
        from_bits((Int<T>)((shifted >> Precision<T>::mantissa_bits) | power_bits)) - (power + bias);
    const Vec<T> f = from_bits((Int<T>)((shifted & mantissa) + sqrt_half)) - T(1);
    Vec<T> log_m;
    // |s| <= 0.1716: 2^-30 and 2^-59.
    if constexpr (kIsFloat<T>) {
        constexpr T c[] = {0.298708379f, 0.399775833f, 0.666667759f};
        log_m = log1p_series<T>(f, c);
    } else {
        constexpr T c[] = {0.14795550208130245, 0.15314096155589738, 0.1818356231265601, 0.22222198616561756,
                           0.28571428741917593, 0.39999999999417019, 0.6666666666666734};
        log_m = log1p_series<T>(f, c);
    }
    const Vec<T> y =
        fma(e, broadcast<T>(Precision<T>::ln2_high), fma(e, broadcast<T>(Precision<T>::ln2_low), log_m));
    const Vec<T> finite = x <= Precision<T>::max_finite ? y : x;
    return x < Precision<T>::min_normal ? broadcast<T>(-kInfinity<T>) : finite;
}

// log(1 + x) for 0 <= x <= 1, 1.08 / 1.03 ULP.
template <class T> DENSEGRAD_INLINE Vec<T> log1p_unit(Vec<T> x) {
    // s <= 1/3: 2^-28 and 2^-59.
    if constexpr (kIsFloat<T>) {
        constexpr T c[] = {0.280258507f, 0.27998817f, 0.400217265f, 0.666664124f};
        return log1p_series<T>(x, c);
    } else {
        constexpr T c[] = {0.17017255783078725, 0.08341061205781776, 0.12105806496097386, 0.13301017040368227,
                           0.15386555954601228, 0.18181744144463483, 0.22222223962477447, 0.28571428547988625,
                           0.40000000000156016, 0.66666666666666308};
        return log1p_series<T>(x, c);
    }
}

// tanh(x) = e / (e + 2), e = expm1(2 |x|); any x, 2.34 / 2.52 ULP.
template <class T> DENSEGRAD_INLINE Vec<T> tanh(Vec<T> x) {
    const Vec<T> a = abs<T>(x);
    const ExpReduction<T> e = exp_reduction<T>(at_most<T>(a + a, T(40)));
    const Vec<T> scale = power_of_two<T>(e.n);
    const Vec<T> expm1 = fma(scale, expm1_reduced<T>(e.r), scale - T(1));
    return copy_sign<T>(expm1 / (expm1 + T(2)), x);
}

// 1 / (1 + exp(-x)), any x, 2.23 / 2.26 ULP; zero below kExpLow.
template <class T> DENSEGRAD_INLINE Vec<T> logistic(Vec<T> x) {
    constexpr T high = Precision<T>::logistic_high; // exp(-x) is lost in 1
    const ExpReduction<T> e = exp_reduction<T>(-at_most<T>(at_least<T>(x, Precision<T>::exp_low), high));
    const Vec<T> scale = power_of_two<T>(e.n);
    const Vec<T> y = T(1) / (T(1) + fma(scale, expm1_reduced<T>(e.r), scale));
    return x < Precision<T>::exp_low ? Vec<T>{} : y;
}

// log(1 + exp(x)), any x, 1.64 / 1.55 ULP; zero below kExpLow.
template <class T> DENSEGRAD_INLINE Vec<T> softplus(Vec<T> x) {
    return max(x, Vec<T>{}) + log1p_unit<T>(exp_nonpositive<T>(-abs<T>(x)));
}

// The two sides of the logistic function: s = 1 / (1 + exp(-x)) and t = 1 - s, each within 3 ULP.
template <class T> struct LogisticPair {
    Vec<T> s, t;
};
template <class T> DENSEGRAD_INLINE LogisticPair<T> logistic_pair(Vec<T> x) {
    const Vec<T> e = exp_nonpositive<T>(-abs<T>(x));
    const Vec<T> greater = T(1) / (T(1) + e);
    const Vec<T> smaller = e * greater;
    return {x < T(0) ? smaller : greater, x < T(0) ? greater : smaller};
}

// The standard normal distribution: cdf(x), 4.4 / 5.3 ULP, and density exp(-x^2 / 2) / sqrt(2 pi). Any x.
template <class T> struct Normal {
    Vec<T> cdf, density;
};
template <class T> DENSEGRAD_INLINE Normal<T> normal(Vec<T> x) {
    // cdf(-a) = exp(-a^2 / 2) P(a) / Q(a). The rounding of a^2 is carried along, since exp would magnify it.
    constexpr T low = Precision<T>::normal_exponent_low;
    const Vec<T> a = at_most<T>(abs<T>(x), Precision<T>::normal_high);
    const Vec<T> square = a * a;
    const Vec<T> square_low = fma(a, a, -square);
    const ExpReduction<T> reduction = exp_reduction<T>(square * T(-0.5));
    const Vec<T> scale = power_of_two<T>(reduction.n);
    const Vec<T> r = fma(square_low, broadcast<T>(-0.5), reduction.r);
    const Vec<T> e = square * T(-0.5) < low ? Vec<T>{} : fma(scale, expm1_reduced<T>(r), scale);
    Vec<T> ratio;
    if constexpr (kIsFloat<T>) {
        // a <= 13.3: 2^-26.
        constexpr T p[] = {0.00401985878f, 0.0399822965f, 0.181301609f, 0.43568024f, 0.5f};
        constexpr T q[] = {0.0100761503f, 0.100228108f, 0.464366704f, 1.19446421f, 1.66924536f, 1.0f};
        ratio = polynomial<T>(a, p) / polynomial<T>(a, q);
    } else {
        // a <= 37.8: 2^-55.8.
        constexpr T p[] = {2.2212901185439621e-07,
                           6.921454567188955e-06,
                           0.00010586195232484197,
                           0.0010338338638403476,
                           0.0070891079858076836,
                           0.035528839672816857,
                           0.13163636309783569,
                           0.35650654780939611,
                           0.67851925503093102,
                           0.82722409104241812,
                           0.5};
        constexpr T q[] = {5.567948617299298e-07, 1.7349513719722746e-05, 0.00026591335776336413,
                           0.002608786708312973,  0.018034001482698805,   0.091614332563977982,
                           0.34720803549380708,   0.97767775371479837,    1.9978295521812506,
                           2.8137169435632949,    2.4523327428877018,     1.0};
        ratio = polynomial<T>(a, p) / polynomial<T>(a, q);
    }
    const Vec<T> tail = e * ratio;
    return {x < T(0) ? tail : T(1) - tail, e * T(0.398942280401432678)};
}

} // namespace
} // namespace densegrad::DENSEGRAD_ISA
