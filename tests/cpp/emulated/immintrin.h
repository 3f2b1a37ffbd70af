// The 512-bit intrinsics that cpp/kernels/simd.hpp uses, number by number, so that the AVX-512 kernels can be
// compiled for any CPU and their bits compared. The CMake option DENSEGRAD_EMULATED_AVX512 puts this header before the
// compiler's own.
#pragma once

typedef float __m512 __attribute__((vector_size(64)));
typedef double __m512d __attribute__((vector_size(64)));

#define DENSEGRAD_EMULATED(Vector, lanes, suffix, builtin)                                                   \
    inline __attribute__((always_inline)) Vector _mm512_fmadd_##suffix(Vector a, Vector b, Vector c) {       \
        for (int i = 0; i < lanes; ++i)                                                                      \
            c[i] = __builtin_fma##builtin(a[i], b[i], c[i]);                                                 \
        return c;                                                                                            \
    }                                                                                                        \
    inline __attribute__((always_inline)) Vector _mm512_maskz_sqrt_##suffix(unsigned, Vector a) {            \
        for (int i = 0; i < lanes; ++i)                                                                      \
            a[i] = __builtin_sqrt##builtin(a[i]);                                                            \
        return a;                                                                                            \
    }                                                                                                        \
    inline __attribute__((always_inline)) Vector _mm512_maskz_max_##suffix(unsigned, Vector a, Vector b) {   \
        return a > b ? a : b;                                                                                \
    }                                                                                                        \
    inline __attribute__((always_inline)) Vector _mm512_maskz_min_##suffix(unsigned, Vector a, Vector b) {   \
        return a < b ? a : b;                                                                                \
    }

DENSEGRAD_EMULATED(__m512, 16, ps, f)
DENSEGRAD_EMULATED(__m512d, 8, pd, )
