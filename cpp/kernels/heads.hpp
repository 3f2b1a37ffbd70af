// Heads give the last layer's outputs if one output depends on several z of its row: softmax, and several
// quantile levels of a target. Every head also has its way back here, from L'_(L) to delta_(L).
#pragma once

#include "activations.hpp"
#include "contract.hpp"
#include "groups.hpp"
#include "math.hpp"

namespace densegrad::DENSEGRAD_ISA {
namespace {

// Turns z into y in place: exp(z_c - max z) / sum.
template <class T> DENSEGRAD_INLINE void softmax_lines(T *z, Index n_out) {
    Line<T> greatest = Line<T>::at(z);
    for (Index c = 1; c < n_out; ++c)
        for (int v = 0; v < kVecs; ++v)
            greatest.part[v] = max(load<T>(z + c * kLanes<T> + v * kVecLanes<T>), greatest.part[v]);
    Line<T> sum = Line<T>::of(0);
    for (Index c = 0; c < n_out; ++c) {
        for (int v = 0; v < kVecs; ++v) {
            T *at = z + c * kLanes<T> + v * kVecLanes<T>;
            const Vec<T> e = exp_nonpositive<T>(load<T>(at) - greatest.part[v]);
            sum.part[v] = sum.part[v] + e;
            store<T>(at, e);
        }
    }
    for (int v = 0; v < kVecs; ++v)
        sum.part[v] = T(1) / sum.part[v];
    for (Index c = 0; c < n_out; ++c)
        for (int v = 0; v < kVecs; ++v) {
            T *at = z + c * kLanes<T> + v * kVecLanes<T>;
            store<T>(at, load<T>(at) * sum.part[v]);
        }
}

// Computes delta = (diag(y) - y y^T) L', in place.
template <class T> DENSEGRAD_INLINE void softmax_delta_lines(const T *y, T *delta, Index n_out) {
    Line<T> sum = Line<T>::of(0);
    for (Index c = 0; c < n_out; ++c)
        for (int v = 0; v < kVecs; ++v) {
            const Index at = c * kLanes<T> + v * kVecLanes<T>;
            sum.part[v] = fma(load<T>(y + at), load<T>(delta + at), sum.part[v]);
        }
    for (Index c = 0; c < n_out; ++c)
        for (int v = 0; v < kVecs; ++v) {
            const Index at = c * kLanes<T> + v * kVecLanes<T>;
            store<T>(delta + at, load<T>(y + at) * (load<T>(delta + at) - sum.part[v]));
        }
}

// Computes outputs of several quantile levels of a target that never cross:
// q_0 = z_0, q_k = q_(k-1) + softplus(z_k).
template <class T> DENSEGRAD_INLINE void quantile_lines(T *z, Index n_out, Index n_levels) {
    for (Index c = 0; c < n_out; ++c)
        if (c % n_levels != 0)
            for (int v = 0; v < kVecs; ++v) {
                T *at = z + c * kLanes<T> + v * kVecLanes<T>;
                store<T>(at, load<T>(at - kLanes<T>) + softplus<T>(load<T>(at)));
            }
}

// Turns L'_(L) into delta in place, for outputs q. dq_i/dz_k = softplus'(z_k) for i >= k of the same target,
// and this follows from softplus(z_k) = q_k - q_(k-1).
template <class T>
DENSEGRAD_INLINE void quantile_delta_lines(const T *q, T *delta, Index n_out, Index n_levels) {
    for (Index c = n_out - 1; c >= 0; --c)
        for (int v = 0; v < kVecs; ++v) {
            const Index at = c * kLanes<T> + v * kVecLanes<T>;
            Vec<T> sum = load<T>(delta + at);
            if (c % n_levels != 0) {
                T *below = delta + at - kLanes<T>;
                store<T>(below, load<T>(below) + sum);
                sum = sum * (Vec<T>{} - expm1_nonpositive<T>(load<T>(q + at - kLanes<T>) - load<T>(q + at)));
            }
            store<T>(delta + at, sum);
        }
}

// Computes y_(L) of the heads whose Jacobian is not diagonal.
template <class T> void head_activate(const HeadArgs<T> &args, Index row_begin, Index row_end) {
    const Jacobian jacobian = args.head.jacobian();
    if (jacobian == Jacobian::diagonal)
        return;
    for (Index row = row_begin; row < row_end; row += kLanes<T>) {
        const int count = static_cast<int>(min_index(row_end - row, kLanes<T>));
        load_group<T>(args.output, args.stride, row, count, args.n_out, args.scratch);
        if (jacobian == Jacobian::softmax)
            softmax_lines<T>(args.scratch, args.n_out);
        else
            quantile_lines<T>(args.scratch, args.n_out, args.head.n_levels);
        store_group<T>(args.scratch, args.n_out, args.output, args.stride, row, count);
    }
}

// Computes delta_(L) from L'_(L) and y_(L).
template <class T> void head_delta(const HeadArgs<T> &args, Index row_begin, Index row_end) {
    const Jacobian jacobian = args.head.jacobian();
    if (jacobian != Jacobian::diagonal) {
        T *y = args.scratch;
        T *delta = y + (args.n_out + kCell<T>)*kLanes<T>;
        for (Index row = row_begin; row < row_end; row += kLanes<T>) {
            const int count = static_cast<int>(min_index(row_end - row, kLanes<T>));
            load_group<T>(args.output, args.stride, row, count, args.n_out, y);
            load_group<T>(args.delta, args.stride, row, count, args.n_out, delta);
            if (jacobian == Jacobian::softmax)
                softmax_delta_lines<T>(y, delta, args.n_out);
            else
                quantile_delta_lines<T>(y, delta, args.n_out, args.head.n_levels);
            store_group<T>(delta, args.n_out, args.delta, args.stride, row, count);
        }
        return;
    }
    for (Index column = 0; column < line_count<T>(args.n_out); ++column) {
        const Index at = column * args.stride + row_begin * kLanes<T>;
        T *delta = args.delta + at;
        if (args.local) {
            for (Index i = 0; i < (row_end - row_begin) * kLanes<T>; i += kVecLanes<T>)
                store<T>(delta + i, load<T>(delta + i) * load<T>(args.local + at + i));
        } else {
            multiply_by_local<T, false>(args.head.activation, args.output + at, delta, row_end - row_begin);
        }
    }
}

} // namespace
} // namespace densegrad::DENSEGRAD_ISA
