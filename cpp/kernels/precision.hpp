// Every number and type that depends on the precision is here: a new precision is one more column.
#pragma once

#include "densegrad/data.hpp"

#include <cstdint>

namespace densegrad {

// A line is 64 bytes, whatever it holds: kLanes<T> numbers of T.
inline constexpr int kLineBytes = 64;
template <class T> inline constexpr int kLanes = kLineBytes / static_cast<int>(sizeof(T));

template <class T> struct Precision;

template <> struct Precision<float> {
    static constexpr Scalar scalar = Scalar::float32;
    using Bits = std::int32_t; // as wide as T: its bits, and a lane of the result of a comparison
    using UnsignedBits = std::uint32_t;

    static constexpr int mantissa_bits = 23;
    static constexpr Bits one_bits = 0x3f800000;
    static constexpr UnsignedBits sqrt_half_bits = 0x3f3504f3;
    static constexpr UnsignedBits mantissa_power_bits = 0x4b000000; // of mantissa_power
    static constexpr float mantissa_power = 8388608.0f;             // 2^mantissa_bits
    static constexpr float exponent_bias = 127.0f;

    // This is the smallest positive normal number. What is nearer to zero is flushed if it would otherwise
    // stay: a denormal operand costs about a hundred times a normal one.
    static constexpr float min_normal = 1.17549435e-38f;
    static constexpr float max_finite = 3.402823466e38f;
    static constexpr float negligible = 0x1p-100f;      // of an optimizer's state (optimizers.hpp)
    static constexpr float negligible_delta = 0x1p-80f; // (activations.hpp)

    // Adding it rounds a number of moderate size to an integer, which the lowest bits of the sum then hold.
    static constexpr float rounding_magic = 12582912.0f; // 1.5 * 2^mantissa_bits
    static constexpr float ln2_high = 0.693147182464599609375f;
    static constexpr float ln2_low = -1.904654299957768e-9f;
    static constexpr float exp_low = -87.33654022f; // exp(x) is a normal number from here ...
    static constexpr float exp_high = 88.72283173f; // ... to here

    // From these arguments on, a function is its asymptote to the last place, or its products would overflow.
    static constexpr float logistic_high = 30.0f;
    static constexpr float expm1_low = -18.0f;
    static constexpr float softplus_low = -18.0f; // softplus(x) is exp(x) below
    static constexpr float normal_high = 13.0f;
    static constexpr float normal_exponent_low = -83.6f; // cdf(-a) is normal above this -a^2 / 2
    static constexpr float silu_bound = 100.0f;
    static constexpr float gelu_bound = 14.0f;
    static constexpr float mish_low = -100.0f;
    static constexpr float mish_high = 20.0f;

    // Up to so many outputs, it is cheaper to transpose the input of a layer than to compute the padding
    // (narrow.hpp).
    static constexpr int max_narrow_outputs = 3;
};

template <> struct Precision<double> {
    static constexpr Scalar scalar = Scalar::float64;
    using Bits = std::int64_t;
    using UnsignedBits = std::uint64_t;

    static constexpr int mantissa_bits = 52;
    static constexpr Bits one_bits = 0x3ff0000000000000;
    static constexpr UnsignedBits sqrt_half_bits = 0x3fe6a09e667f3bcd;
    static constexpr UnsignedBits mantissa_power_bits = 0x4330000000000000;
    static constexpr double mantissa_power = 4503599627370496.0;
    static constexpr double exponent_bias = 1023.0;

    static constexpr double min_normal = 2.2250738585072014e-308;
    static constexpr double max_finite = 1.7976931348623157e308;
    static constexpr double negligible = 0x1p-900;
    static constexpr double negligible_delta = 0x1p-900;

    static constexpr double rounding_magic = 6755399441055744.0;
    static constexpr double ln2_high = 0.693147180559945286227;
    static constexpr double ln2_low = 2.319046813846299558e-17;
    static constexpr double exp_low = -708.39641853226408;
    static constexpr double exp_high = 709.78271289338397;

    static constexpr double logistic_high = 50.0;
    static constexpr double expm1_low = -38.0;
    static constexpr double softplus_low = -38.0;
    static constexpr double normal_high = 38.0;
    static constexpr double normal_exponent_low = -703.8;
    static constexpr double silu_bound = 750.0;
    static constexpr double gelu_bound = 40.0;
    static constexpr double mish_low = -750.0;
    static constexpr double mish_high = 40.0;

    static constexpr int max_narrow_outputs = 1;
};

// Converts a number of the caller's. A denormal number becomes zero of its sign, before it is converted: it
// would make every product slow that it is a factor of. There is no branch, so that loops are vectorised.
template <class T, class S> __attribute__((always_inline)) inline T read_number(S x) {
    constexpr S least = static_cast<S>(Precision<T>::min_normal); // 0 if S has no number so small
    if constexpr (least > S(0)) {
        using Bits = typename Precision<S>::UnsignedBits;
        constexpr Bits kSign = Bits(1) << (8 * sizeof(S) - 1);
        const Bits bits = __builtin_bit_cast(Bits, x);
        const Bits is_denormal = (bits & ~kSign) < __builtin_bit_cast(Bits, least) ? 1 : 0;
        x = __builtin_bit_cast(S, bits & (kSign | (is_denormal - 1)));
    }
    return static_cast<T>(x);
}

// This says which of the two lists of coefficients a polynomial takes (math.hpp).
template <class T> inline constexpr bool kIsFloat = Precision<T>::scalar == Scalar::float32;

} // namespace densegrad
