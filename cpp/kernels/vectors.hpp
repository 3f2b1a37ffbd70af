// L-BFGS is made of products and sums of whole vectors, and of their largest numbers.
#pragma once

#include "contract.hpp"
#include "simd.hpp"

namespace densegrad::DENSEGRAD_ISA {
namespace {

// Computes products of kVectors vectors with kWith others. All lanes of a line have a chain of their own;
// they are added up as a tree.
template <class T, int kVectors, int kWith>
__attribute__((noinline)) void product_tile(const ProductsArgs<T> &args, Index first, Index begin,
                                            Index end) {
    Vec<T> c[kVectors][kWith][kVecs] = {};
#pragma GCC unroll 1
    for (Index at = begin * kLanes<T>; at < end * kLanes<T>; at += kLanes<T>) {
#pragma GCC unroll 4
        for (int q = 0; q < kVecs; ++q) {
            Vec<T> with[kWith];
#pragma GCC unroll 2
            for (int j = 0; j < kWith; ++j)
                with[j] = load(args.with[j] + at + q * kVecLanes<T>);
#pragma GCC unroll 10
            for (int i = 0; i < kVectors; ++i) {
                const Vec<T> v = load(args.vectors[first + i] + at + q * kVecLanes<T>);
#pragma GCC unroll 2
                for (int j = 0; j < kWith; ++j)
                    c[i][j][q] = fma(v, with[j], c[i][j][q]);
            }
        }
    }
    for (int i = 0; i < kVectors; ++i)
        for (int j = 0; j < kWith; ++j) {
            T line[kLanes<T>];
            for (int q = 0; q < kVecs; ++q)
                store<T>(line + q * kVecLanes<T>, c[i][j][q]);
            for (int width = kLanes<T> / 2; width > 0; width /= 2)
                for (int k = 0; k < width; ++k)
                    line[k] = line[k] + line[k + width];
            args.products[j * args.count + first + i] = line[0];
        }
}

// Goes through the vectors from `first` on in tiles of kVectors, and of half as many for the rest.
template <class T, int kWith, int kVectors>
void product_tiles(const ProductsArgs<T> &args, Index first, Index line_begin, Index line_end) {
    for (; first + kVectors <= args.count; first += kVectors)
        product_tile<T, kVectors, kWith>(args, first, line_begin, line_end);
    if constexpr (kVectors > 1)
        product_tiles<T, kWith, kVectors / 2>(args, first, line_begin, line_end);
}

template <class T> void products(const ProductsArgs<T> &args, Index line_begin, Index line_end) {
    constexpr int kMost = kVecs == 1 ? 10 : 2; // so many sums fit the registers
    if (args.with[1])
        product_tiles<T, 2, kMost>(args, 0, line_begin, line_end);
    else
        product_tiles<T, 1, kMost>(args, 0, line_begin, line_end);
}

// Computes kLines lines of the sum, which is one chain for each number.
template <class T, int kLines> DENSEGRAD_INLINE void combine_lines(const CombinationArgs<T> &args, Index at) {
    Vec<T> sum[kLines * kVecs];
#pragma GCC unroll 16
    for (int i = 0; i < kLines * kVecs; ++i)
        sum[i] = broadcast(args.factors[0]) * load(args.vectors[0] + at + i * kVecLanes<T>);
#pragma GCC unroll 1
    for (Index k = 1; k < args.count; ++k) {
        const Vec<T> factor = broadcast(args.factors[k]);
        const T *vector = args.vectors[k] + at;
#pragma GCC unroll 16
        for (int i = 0; i < kLines * kVecs; ++i)
            sum[i] = fma(factor, load(vector + i * kVecLanes<T>), sum[i]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < kLines * kVecs; ++i)
        store<T>(args.out + at + i * kVecLanes<T>, sum[i]);
}

template <class T> void combine(const CombinationArgs<T> &args, Index line_begin, Index line_end) {
    constexpr int kLines = kVecs == 1 ? 16 : kVecs == 2 ? 4 : 2;
    Index line = line_begin;
    for (; line + kLines <= line_end; line += kLines)
        combine_lines<T, kLines>(args, line * kLanes<T>);
    for (; line < line_end; ++line)
        combine_lines<T, 1>(args, line * kLanes<T>);
}

template <class T> T largest(const T *vector, Index line_begin, Index line_end) {
    const Vec<T> finite = broadcast(Precision<T>::max_finite), infinite = finite + finite;
    Vec<T> most[kVecs] = {};
    for (Index line = line_begin; line < line_end; ++line)
        for (int q = 0; q < kVecs; ++q) {
            const Vec<T> size = abs<T>(load<T>(vector + line * kLanes<T> + q * kVecLanes<T>));
            most[q] = max(most[q], size <= finite ? size : infinite);
        }
    T numbers[kLanes<T>];
    for (int q = 0; q < kVecs; ++q)
        store<T>(numbers + q * kVecLanes<T>, most[q]);
    T result = 0;
    for (const T number : numbers)
        result = number > result ? number : result;
    return result;
}

} // namespace
} // namespace densegrad::DENSEGRAD_ISA
