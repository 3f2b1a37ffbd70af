// The Mersenne Twister of Matsumoto and Nishimura, "Mersenne twister: a 623-dimensionally equidistributed
// uniform pseudo-random number generator", 1998, as NumPy draws from it. All loops are on many words at a
// time.
#pragma once

#include "contract.hpp"
#include "simd.hpp"

namespace densegrad::DENSEGRAD_ISA {
namespace {

constexpr int kFarWord = 397;
constexpr int kLag = kTwisterWords - kFarWord;

DENSEGRAD_INLINE std::uint32_t twisted(std::uint32_t word, std::uint32_t next, std::uint32_t far) {
    const std::uint32_t y = (word & 0x80000000u) | (next & 0x7fffffffu);
    return far ^ (y >> 1) ^ ((0u - (y & 1u)) & 0x9908b0dfu);
}

// Makes the next words of the key.
__attribute__((noinline)) void twist(std::uint32_t *key) {
    for (int i = 0; i < kLag; ++i)
        key[i] = twisted(key[i], key[i + 1], key[i + kFarWord]);
    for (int i = kLag; i < kTwisterWords - 1; ++i)
        key[i] = twisted(key[i], key[i + 1], key[i - kLag]);
    key[kTwisterWords - 1] = twisted(key[kTwisterWords - 1], key[0], key[kFarWord - 1]);
}

DENSEGRAD_INLINE std::uint32_t tempered(std::uint32_t y) {
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
}

// Draws a number of 53 bits from [0, 1) and stretches it to ± bound.
DENSEGRAD_INLINE double uniform_of(std::uint32_t high, std::uint32_t low, double bound) {
    const double a = static_cast<std::int32_t>(tempered(high) >> 5);
    const double b = static_cast<std::int32_t>(tempered(low) >> 6);
    return (a * 0x1p26 + b) * 0x1p-53 * (2.0 * bound) - bound;
}

__attribute__((noinline)) void draw_pairs(const std::uint32_t *words, double bound, double *out,
                                          Index count) {
    for (Index i = 0; i < count; ++i)
        out[i] = uniform_of(words[2 * i], words[2 * i + 1], bound);
}

inline Index draw_uniform(std::uint32_t *key, Index position, double bound, double *out, Index count) {
    for (const double *const end = out + count; out < end;) {
        if (position == kTwisterWords) {
            twist(key);
            position = 0;
        }
        if (position == kTwisterWords - 1) { // a pair with a word of the next key
            const std::uint32_t high = key[position];
            twist(key);
            *out++ = uniform_of(high, key[0], bound);
            position = 1;
        }
        const Index pairs = min_index((kTwisterWords - position) / 2, end - out);
        draw_pairs(key + position, bound, out, pairs);
        position += 2 * pairs;
        out += pairs;
    }
    return position;
}

} // namespace
} // namespace densegrad::DENSEGRAD_ISA
