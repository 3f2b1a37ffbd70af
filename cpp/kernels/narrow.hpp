// If a layer has few outputs, a line of outputs would be mostly padding. The lanes are then rows (forward) or
// inputs (weight gradient), and the outputs are broadcast. Every number is the same chain of fused
// multiply-adds as in the tiles, so it does not matter which of the two is used.
#pragma once

#include "contract.hpp"
#include "simd.hpp"
#include "tiles.hpp"
#include "transpose.hpp"

namespace densegrad::DENSEGRAD_ISA {
namespace {

// Adds the terms of n_inputs <= kCell inputs of kLanes rows. `input` and `weights` are those of the first
// one.
template <class T, int kOutputs>
DENSEGRAD_INLINE void add_narrow_terms(const T *input, const T *weights, int n_inputs,
                                       Vec<T> (&sum)[kOutputs][kVecs]) {
    Vec<T> columns[kVecs][kCell<T>];
    for (int q = 0; q < kVecs; ++q)
        load_columns<T>(input, kLanes<T>, q * kVecLanes<T>, kLanes<T>, columns[q]);
#pragma GCC unroll 4
    for (int i = 0; i < n_inputs; ++i)
        for (int j = 0; j < kOutputs; ++j) {
            const Vec<T> w = broadcast<T>(weights[i * kLanes<T> + j]);
            for (int q = 0; q < kVecs; ++q)
                sum[j][q] = fma(columns[q][i], w, sum[j][q]);
        }
}

// Computes z = [x, 1] W for rows [row, row + kLanes).
template <class T, int kOutputs>
__attribute__((noinline)) void narrow_forward_group(const ForwardArgs<T> &args, Index row) {
    Vec<T> sum[kOutputs][kVecs];
    for (int j = 0; j < kOutputs; ++j)
        for (int q = 0; q < kVecs; ++q)
            sum[j][q] = broadcast<T>(args.weights[args.n_in * kLanes<T> + j]);
    const T *input = args.input + row * kLanes<T>;
    const T *weights = args.weights;
    Index left = args.n_in;
    for (;; input += args.input_stride) {
        const T *cell = input;
        const T *end = input + (left < kLanes<T> ? left / kCell<T> * kCell<T> : kLanes<T>);
        for (; cell != end; cell += kCell<T>, weights += kCell<T> * kLanes<T>)
            add_narrow_terms<T, kOutputs>(cell, weights, kCell<T>, sum);
        if (left <= kLanes<T>) {
            if (const int rest = static_cast<int>(left % kCell<T>))
                add_narrow_terms<T, kOutputs>(cell, weights, rest, sum);
            break;
        }
        left -= kLanes<T>;
    }
    alignas(kLineBytes) T lines[kOutputs * kLanes<T>];
    for (int j = 0; j < kOutputs; ++j)
        for (int q = 0; q < kVecs; ++q)
            store<T>(lines + j * kLanes<T> + q * kVecLanes<T>, sum[j][q]);
    transpose_rows<T>(lines, kLanes<T>, args.output + row * kLanes<T>, kLanes<T>, kOutputs);
}

// Computes z of as many whole groups of kLanes rows as there are from row_begin on. Returns the row behind
// them.
template <class T, int kOutputs = 1>
DENSEGRAD_INLINE Index narrow_forward(const ForwardArgs<T> &args, Index row_begin, Index row_end) {
    if constexpr (kOutputs <= Precision<T>::max_narrow_outputs) {
        if (args.n_out != kOutputs)
            return narrow_forward<T, kOutputs + 1>(args, row_begin, row_end);
        for (; row_begin + kLanes<T> <= row_end; row_begin += kLanes<T>)
            narrow_forward_group<T, kOutputs>(args, row_begin);
    }
    return row_begin;
}

// sum[j] = sum over r of y[r] * delta[r][j], one slice of the batch. y[r] is a line of inputs. This is the
// transposed form of gradient_tile (gradient.hpp).
template <class T, int kOutputs>
__attribute__((noinline)) void narrow_gradient_tile(const T *y, const T *delta, Index n_rows, T *sum,
                                                    bool add) {
    Vec<T> c[kOutputs][kVecs];
    // It is unrolled for the reason told in gradient_tile.
#pragma GCC unroll 8
    for (int j = 0; j < kOutputs; ++j)
#pragma GCC unroll 4
        for (int q = 0; q < kVecs; ++q)
            c[j][q] = Vec<T>{};
#pragma GCC unroll 1
    for (Index r = 0; r < n_rows; ++r) {
        Vec<T> line[kVecs];
#pragma GCC unroll 4
        for (int q = 0; q < kVecs; ++q)
            line[q] = load<T>(y + r * kLanes<T> + q * kVecLanes<T>);
#pragma GCC unroll 8
        for (int j = 0; j < kOutputs; ++j) {
            const Vec<T> d = broadcast<T>(delta[r * kLanes<T> + j]);
#pragma GCC unroll 4
            for (int q = 0; q < kVecs; ++q)
                c[j][q] = fma(line[q], d, c[j][q]);
        }
    }
#pragma GCC unroll 8
    for (int j = 0; j < kOutputs; ++j)
#pragma GCC unroll 4
        for (int q = 0; q < kVecs; ++q) {
            T *s = sum + j * kLanes<T> + q * kVecLanes<T>;
            store<T>(s, add ? load<T>(s) + c[j][q] : c[j][q]);
        }
}

template <class T, int kOutputs = 1>
DENSEGRAD_INLINE void run_narrow_gradient_tile(int outputs, const T *y, const T *delta, Index n_rows, T *sum,
                                               bool add) {
    if constexpr (kOutputs <= kMaxNarrowTile) {
        if (outputs != kOutputs)
            return run_narrow_gradient_tile<T, kOutputs + 1>(outputs, y, delta, n_rows, sum, add);
        narrow_gradient_tile<T, kOutputs>(y, delta, n_rows, sum, add);
    }
}

} // namespace
} // namespace densegrad::DENSEGRAD_ISA
