// This file has what one instruction set offers, as GNU vectors. It is the only file with intrinsics.
//
// A Vec<T> is one register; a line of 64 bytes is kVecs of them. Operators +, -, *, comparisons and ?: are
// the compiler's own on GNU vectors. They go lane by lane and are correctly rounded, so they give the same
// bits on every set. The fused multiply-add is spelled fma(), because the compiler must neither form nor
// split it by itself (-ffp-contract=off).
#pragma once

#include "precision.hpp"

#include <cstddef>
#include <cstdint>

#if defined(DENSEGRAD_ISA_AVX512) || defined(DENSEGRAD_ISA_AVX2)
#include <immintrin.h>
#elif defined(DENSEGRAD_ISA_NEON)
#include <arm_neon.h>
#endif

#define DENSEGRAD_INLINE inline __attribute__((always_inline))

namespace densegrad::DENSEGRAD_ISA {
namespace {

#if defined(DENSEGRAD_ISA_AVX512)
constexpr int kVecBytes = 64;
#elif defined(DENSEGRAD_ISA_AVX2)
constexpr int kVecBytes = 32;
#else
constexpr int kVecBytes = 16;
#endif

typedef float VecF __attribute__((vector_size(kVecBytes)));
typedef double VecD __attribute__((vector_size(kVecBytes)));
typedef std::int32_t IntF __attribute__((vector_size(kVecBytes)));
typedef std::int64_t IntD __attribute__((vector_size(kVecBytes)));

template <class T> struct VecOf;
template <> struct VecOf<float> {
    using Vec = VecF;
    using Int = IntF; // the result of a comparison, and the bits of a Vec
};
template <> struct VecOf<double> {
    using Vec = VecD;
    using Int = IntD;
};
template <class T> using Vec = typename VecOf<T>::Vec;
template <class T> using Int = typename VecOf<T>::Int;
template <class T> using IntLane = typename Precision<T>::Bits;

template <class T> constexpr int kVecLanes = kVecBytes / static_cast<int>(sizeof(T)); // numbers in a register
constexpr int kVecs = kLineBytes / kVecBytes;                                         // registers in a line

// The work is on all of a line, or only on its first part if the rest is padding. That part is one register,
// or half of one if a register is a whole line.
template <class T> struct FullLine {
    using Part = Vec<T>;
    static constexpr int kParts = kVecs;
};
template <class T> struct ShortLine {
    typedef T Part __attribute__((vector_size(kVecs == 1 ? kVecBytes / 2 : kVecBytes)));
    static constexpr int kParts = 1;
};
// Numbers in the part of a short line.
template <class T> constexpr int kShortLanes = kLanes<T> / (kVecs == 1 ? 2 : kVecs);

// The numbers from p on, as a vector V.
template <class V, class T> DENSEGRAD_INLINE V load_as(const T *p) {
    V v;
    static_assert(sizeof(v[0]) == sizeof(T));
    __builtin_memcpy(&v, p, sizeof(v));
    return v;
}
template <class T> DENSEGRAD_INLINE Vec<T> load(const T *p) { return load_as<Vec<T>>(p); }
template <class T, class V> DENSEGRAD_INLINE void store(T *p, V v) {
    static_assert(sizeof(v[0]) == sizeof(T));
    __builtin_memcpy(p, &v, sizeof(v));
}

// x in all lanes of a vector V. x - (+0) is x, also for -0.
template <class V, class T> DENSEGRAD_INLINE V splat(T x) { return x - V{}; }
template <class T> DENSEGRAD_INLINE Vec<T> broadcast(T x) { return splat<Vec<T>>(x); }

// 0, 1, 2, ...
template <class T> DENSEGRAD_INLINE Int<T> lane_numbers() {
    Int<T> numbers;
    for (int i = 0; i < kVecLanes<T>; ++i)
        numbers[i] = i;
    return numbers;
}

// a * b + c, rounded once.
#if defined(DENSEGRAD_ISA_AVX512)
DENSEGRAD_INLINE VecF fma(VecF a, VecF b, VecF c) {
    return (VecF)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
DENSEGRAD_INLINE VecD fma(VecD a, VecD b, VecD c) {
    return (VecD)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
}
using ShortVecF = ShortLine<float>::Part;
using ShortVecD = ShortLine<double>::Part;
DENSEGRAD_INLINE ShortVecF fma(ShortVecF a, ShortVecF b, ShortVecF c) {
    return (ShortVecF)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
DENSEGRAD_INLINE ShortVecD fma(ShortVecD a, ShortVecD b, ShortVecD c) {
    return (ShortVecD)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
}
#elif defined(DENSEGRAD_ISA_AVX2)
DENSEGRAD_INLINE VecF fma(VecF a, VecF b, VecF c) {
    return (VecF)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
DENSEGRAD_INLINE VecD fma(VecD a, VecD b, VecD c) {
    return (VecD)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
}
#elif defined(DENSEGRAD_ISA_NEON)
DENSEGRAD_INLINE VecF fma(VecF a, VecF b, VecF c) {
    return (VecF)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}
DENSEGRAD_INLINE VecD fma(VecD a, VecD b, VecD c) {
    return (VecD)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
}
#else
DENSEGRAD_INLINE VecF fma(VecF a, VecF b, VecF c) {
    for (int i = 0; i < kVecLanes<float>; ++i)
        c[i] = __builtin_fmaf(a[i], b[i], c[i]);
    return c;
}
DENSEGRAD_INLINE VecD fma(VecD a, VecD b, VecD c) {
    for (int i = 0; i < kVecLanes<double>; ++i)
        c[i] = __builtin_fma(a[i], b[i], c[i]);
    return c;
}
#endif

DENSEGRAD_INLINE IntF bits(VecF v) { return (IntF)v; }
DENSEGRAD_INLINE IntD bits(VecD v) { return (IntD)v; }
DENSEGRAD_INLINE VecF from_bits(IntF v) { return (VecF)v; }
DENSEGRAD_INLINE VecD from_bits(IntD v) { return (VecD)v; }

// max and min give the greater and the smaller, but b if either is NaN or both are zero. The square root is
// correctly rounded.
#if defined(DENSEGRAD_ISA_AVX512)
// They are spelled with a full mask, which costs nothing: GCC 12 warns of its own header in the plain forms.
DENSEGRAD_INLINE VecF max(VecF a, VecF b) { return (VecF)_mm512_maskz_max_ps(0xffff, (__m512)a, (__m512)b); }
DENSEGRAD_INLINE VecD max(VecD a, VecD b) { return (VecD)_mm512_maskz_max_pd(0xff, (__m512d)a, (__m512d)b); }
DENSEGRAD_INLINE VecF min(VecF a, VecF b) { return (VecF)_mm512_maskz_min_ps(0xffff, (__m512)a, (__m512)b); }
DENSEGRAD_INLINE VecD min(VecD a, VecD b) { return (VecD)_mm512_maskz_min_pd(0xff, (__m512d)a, (__m512d)b); }
DENSEGRAD_INLINE VecF sqrt(VecF a) { return (VecF)_mm512_maskz_sqrt_ps(0xffff, (__m512)a); }
DENSEGRAD_INLINE VecD sqrt(VecD a) { return (VecD)_mm512_maskz_sqrt_pd(0xff, (__m512d)a); }
DENSEGRAD_INLINE ShortVecF sqrt(ShortVecF a) { return (ShortVecF)_mm256_sqrt_ps((__m256)a); }
DENSEGRAD_INLINE ShortVecD sqrt(ShortVecD a) { return (ShortVecD)_mm256_sqrt_pd((__m256d)a); }
#elif defined(DENSEGRAD_ISA_AVX2)
DENSEGRAD_INLINE VecF max(VecF a, VecF b) { return (VecF)_mm256_max_ps((__m256)a, (__m256)b); }
DENSEGRAD_INLINE VecD max(VecD a, VecD b) { return (VecD)_mm256_max_pd((__m256d)a, (__m256d)b); }
DENSEGRAD_INLINE VecF min(VecF a, VecF b) { return (VecF)_mm256_min_ps((__m256)a, (__m256)b); }
DENSEGRAD_INLINE VecD min(VecD a, VecD b) { return (VecD)_mm256_min_pd((__m256d)a, (__m256d)b); }
DENSEGRAD_INLINE VecF sqrt(VecF a) { return (VecF)_mm256_sqrt_ps((__m256)a); }
DENSEGRAD_INLINE VecD sqrt(VecD a) { return (VecD)_mm256_sqrt_pd((__m256d)a); }
#else
template <class V> DENSEGRAD_INLINE V max(V a, V b) { return a > b ? a : b; }
template <class V> DENSEGRAD_INLINE V min(V a, V b) { return a < b ? a : b; }
#if defined(DENSEGRAD_ISA_NEON)
DENSEGRAD_INLINE VecF sqrt(VecF a) { return (VecF)vsqrtq_f32((float32x4_t)a); }
DENSEGRAD_INLINE VecD sqrt(VecD a) { return (VecD)vsqrtq_f64((float64x2_t)a); }
#else
DENSEGRAD_INLINE VecF sqrt(VecF a) {
    for (int i = 0; i < kVecLanes<float>; ++i)
        a[i] = __builtin_sqrtf(a[i]);
    return a;
}
DENSEGRAD_INLINE VecD sqrt(VecD a) {
    for (int i = 0; i < kVecLanes<double>; ++i)
        a[i] = __builtin_sqrt(a[i]);
    return a;
}
#endif
#endif

// Tells whether a lane of the result of a comparison is true.
template <class IntVec> DENSEGRAD_INLINE bool any_lane(IntVec lanes) {
#if defined(DENSEGRAD_ISA_AVX512)
    return _mm512_test_epi64_mask((__m512i)lanes, (__m512i)lanes) != 0;
#elif defined(DENSEGRAD_ISA_AVX2)
    return !_mm256_testz_si256((__m256i)lanes, (__m256i)lanes);
#else
    std::uint64_t words[kVecBytes / 8];
    __builtin_memcpy(words, &lanes, sizeof(words));
    return (words[0] | words[1]) != 0;
#endif
}

// A cell is 16 bytes of a line or a register. A transposition moves it as a whole.
constexpr int kCellBytes = 16;
constexpr int kVecCells = kVecBytes / kCellBytes;

// Loads cells from several places, side by side.
template <class T> DENSEGRAD_INLINE Vec<T> load_cells(const T *const (&p)[kVecCells]) {
    typedef T Cell __attribute__((vector_size(kCellBytes)));
#if defined(DENSEGRAD_ISA_AVX512)
    // These are insertions. GCC 12 puts anything else together in memory, where the load waits for all
    // stores.
    __m512 v = _mm512_castps128_ps512((__m128)load_as<Cell>(p[0]));
    v = _mm512_insertf32x4(v, (__m128)load_as<Cell>(p[1]), 1);
    v = _mm512_insertf32x4(v, (__m128)load_as<Cell>(p[2]), 2);
    return (Vec<T>)_mm512_insertf32x4(v, (__m128)load_as<Cell>(p[3]), 3);
#elif defined(DENSEGRAD_ISA_AVX2)
    typedef float Bits __attribute__((vector_size(kCellBytes)));
    return (Vec<T>)__builtin_shufflevector((Bits)load_as<Cell>(p[0]), (Bits)load_as<Cell>(p[1]), 0, 1, 2, 3,
                                           4, 5, 6, 7);
#else
    return load_as<Cell>(p[0]);
#endif
}

template <class T, class V> DENSEGRAD_INLINE V abs(V v) {
    constexpr IntLane<T> mask = static_cast<IntLane<T>>(~(std::uint64_t(1) << (8 * sizeof(T) - 1)));
    using Bits = decltype(v < v);
    static_assert(sizeof(v[0]) == sizeof(T));
    return (V)((Bits)v & mask);
}

} // namespace
} // namespace densegrad::DENSEGRAD_ISA
