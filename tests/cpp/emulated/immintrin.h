// The intrinsics that cpp/kernels/simd.hpp uses on AVX-512, number by number, so that its kernels can be
// compiled for any CPU and their bits compared. The CMake option DENSEGRAD_EMULATED_AVX512 puts this header
// before the compiler's own.
#pragma once

#define DENSEGRAD_EMULATED inline __attribute__((always_inline))

typedef float __m128 __attribute__((vector_size(16)));
typedef float __m256 __attribute__((vector_size(32)));
typedef double __m256d __attribute__((vector_size(32)));
typedef float __m512 __attribute__((vector_size(64)));
typedef double __m512d __attribute__((vector_size(64)));
typedef long long __m512i __attribute__((vector_size(64)));

DENSEGRAD_EMULATED float emulated_fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
DENSEGRAD_EMULATED double emulated_fma(double a, double b, double c) { return __builtin_fma(a, b, c); }
DENSEGRAD_EMULATED float emulated_sqrt(float a) { return __builtin_sqrtf(a); }
DENSEGRAD_EMULATED double emulated_sqrt(double a) { return __builtin_sqrt(a); }

// Number by number.
template <class V> DENSEGRAD_EMULATED V each_fma(V a, V b, V c) {
    for (unsigned i = 0; i < sizeof(V) / sizeof(a[0]); ++i)
        c[i] = emulated_fma(a[i], b[i], c[i]);
    return c;
}
template <class V> DENSEGRAD_EMULATED V each_sqrt(V a) {
    for (unsigned i = 0; i < sizeof(V) / sizeof(a[0]); ++i)
        a[i] = emulated_sqrt(a[i]);
    return a;
}

#define DENSEGRAD_EMULATED_SET(Half, Whole, suffix)                                                          \
    DENSEGRAD_EMULATED Half _mm256_fmadd_##suffix(Half a, Half b, Half c) { return each_fma(a, b, c); }      \
    DENSEGRAD_EMULATED Whole _mm512_fmadd_##suffix(Whole a, Whole b, Whole c) { return each_fma(a, b, c); }  \
    DENSEGRAD_EMULATED Half _mm256_sqrt_##suffix(Half a) { return each_sqrt(a); }                            \
    DENSEGRAD_EMULATED Whole _mm512_maskz_sqrt_##suffix(unsigned, Whole a) { return each_sqrt(a); }          \
    DENSEGRAD_EMULATED Whole _mm512_maskz_max_##suffix(unsigned, Whole a, Whole b) { return a > b ? a : b; } \
    DENSEGRAD_EMULATED Whole _mm512_maskz_min_##suffix(unsigned, Whole a, Whole b) { return a < b ? a : b; }

DENSEGRAD_EMULATED_SET(__m256, __m512, ps)
DENSEGRAD_EMULATED_SET(__m256d, __m512d, pd)

DENSEGRAD_EMULATED __m512 _mm512_castps128_ps512(__m128 a) { return __m512{a[0], a[1], a[2], a[3]}; }
DENSEGRAD_EMULATED __m512 _mm512_insertf32x4(__m512 a, __m128 b, int part) {
    for (int i = 0; i < 4; ++i)
        a[4 * part + i] = b[i];
    return a;
}

DENSEGRAD_EMULATED unsigned _mm512_test_epi64_mask(__m512i a, __m512i b) {
    unsigned mask = 0;
    for (int i = 0; i < 8; ++i)
        mask |= static_cast<unsigned>((a[i] & b[i]) != 0) << i;
    return mask;
}
