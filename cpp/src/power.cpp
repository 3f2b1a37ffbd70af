#include "densegrad/power.hpp"

#include <cmath>
#include <limits>

namespace densegrad {
namespace {

// The C library picks its logarithm and exponential by the CPU. These use its exact functions alone: fma,
// sqrt, frexp, ldexp and nearbyint.

// high + low, about 106 bits: high is the double nearest to the sum.
struct Double2 {
    double high, low;
};

// Needs |a| >= |b| or a = 0.
Double2 fast_sum(double a, double b) {
    const double sum = a + b;
    return {sum, b - (sum - a)};
}

// Needs |a| >= |b.high|.
Double2 sum(double a, Double2 b) {
    const Double2 s = fast_sum(a, b.high);
    return fast_sum(s.high, s.low + b.low);
}

Double2 sum(Double2 a, Double2 b) {
    const double s = a.high + b.high;
    const double part = s - a.high;
    const double error = (a.high - (s - part)) + (b.high - part);
    return fast_sum(s, error + (a.low + b.low));
}

Double2 product(Double2 a, Double2 b) {
    const double high = a.high * b.high;
    const double error = std::fma(a.high, b.high, -high);
    return fast_sum(high, error + (a.high * b.low + a.low * b.high));
}

Double2 product(Double2 a, double b) { return product(a, Double2{b, 0.0}); }

Double2 quotient(Double2 a, double b) {
    const double high = a.high / b;
    return fast_sum(high, (std::fma(-high, b, a.high) + a.low) / b);
}

constexpr Double2 kLn2 = {0x1.62e42fefa39efp-1, 0x1.abc9e3b39803fp-56};

// log(x), x >= 1: k ln(2) + 2 atanh(s), s = (m - 1) / (m + 1), |s| < 0.172. A relative error of 2^-68 at
// most.
Double2 log(double x) {
    int k = 0;
    double m = std::frexp(x, &k);
    if (m < 0x1.6a09e667f3bcdp-1) { // sqrt(1/2)
        m *= 2;
        --k;
    }
    const double numerator = m - 1; // exact
    const Double2 denominator = fast_sum(m > 1 ? m : 1.0, m > 1 ? 1.0 : m);
    const double s_high = numerator / denominator.high;
    const double rest = std::fma(-s_high, denominator.high, numerator) - s_high * denominator.low;
    const Double2 s = fast_sum(s_high, rest / denominator.high);
    const Double2 square = product(s, s);
    // atanh(s) / s = 1 + s^2 / 3 + s^4 / 5 + ...: from s^10 on, a double's bits are enough.
    double tail = 0.0;
    for (int n = 31; n >= 11; n -= 2)
        tail = std::fma(tail, square.high, 1.0 / n);
    Double2 series = {tail, 0.0};
    for (int n = 9; n >= 1; n -= 2)
        series = sum(quotient({1.0, 0.0}, n), product(series, square));
    return sum(product(kLn2, k), product(product(s, series), 2.0));
}

// exp(y), y >= 0, rounded once: 2^k (1 + r (1 + r/2 (1 + r/3 (...)))), |r| < 0.347.
double exp(Double2 y) {
    constexpr double kBeyond = 710; // log of the greatest double: 709.78
    if (y.high > kBeyond)
        return std::numeric_limits<double>::infinity();
    const double k = std::nearbyint(y.high * 0x1.71547652b82fep0);
    const Double2 r = sum(y, product(kLn2, -k));
    double tail = 1.0;
    for (int n = 18; n >= 7; --n)
        tail = std::fma(tail, r.high / n, 1.0);
    Double2 series = {tail, 0.0};
    for (int n = 6; n >= 1; --n)
        series = sum(1.0, product(series, quotient(r, n)));
    return std::ldexp(series.high, static_cast<int>(k));
}

} // namespace

double power(double base, double exponent) {
    if (!(base > 1))
        return 1.0;
    return exponent == 0.5 ? std::sqrt(base) : exp(product(log(base), exponent));
}

} // namespace densegrad
