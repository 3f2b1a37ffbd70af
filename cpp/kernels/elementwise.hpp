// Elementwise layers have one weight v a unit: scale, z = v x, and blend, z = x + v (a(x) - x).
//
//             dz/dx                  dz/dv
//     scale   v                      x
//     blend   1 + v (a'(x) - 1)      a(x) - x
//
// The forward pass keeps nothing of its own: both follow from x = y_(l-1) and v. The backward pass leaves
// delta dz/dv of each row as the layer's share. Its sum over the batch is the weight gradient, and is that of
// the bias row of a dense layer without inputs (gradient.hpp).
#pragma once

#include "activations.hpp"
#include "contract.hpp"
#include "dropout.hpp"
#include "product.hpp"
#include "simd.hpp"

namespace densegrad::DENSEGRAD_ISA {
namespace {

// Calls each(place, weights) for each part of the rows of a line, whose weights are v.
template <class T, class Each>
DENSEGRAD_INLINE void each_part(Index begin, Index end, const T *v, Each each) {
    for (Index r = begin; r < end; ++r)
        for (int q = 0; q < kVecs; ++q)
            each(r * kLanes<T> + q * kVecLanes<T>, load<T>(v + q * kVecLanes<T>));
}

// a(x), and a'(x).
template <class T, Activation A>
DENSEGRAD_INLINE void value_and_slope(Vec<T> x, Vec<T> &value, Vec<T> &slope) {
    if constexpr (local_gradient_of<A>() == LocalGradient::one) {
        value = x;
        slope = broadcast<T>(1);
    } else if constexpr (local_gradient_of<A>() == LocalGradient::buffer) {
        ActivationFunctor<T, A>::output_and_local(x, value, slope);
    } else {
        value = ActivationFunctor<T, A>::output(x);
        slope = ActivationFunctor<T, A>::local_from_output(value);
    }
}

template <class T>
void elementwise_forward(const ForwardArgs<T> &args, const Elementwise<T> &layer, Index row_begin,
                         Index row_end) {
    for (Index line = 0; line < line_count<T>(args.n_out); ++line) {
        const T *v = args.weights + line * kLanes<T>;
        const T *x = args.input + line * args.input_stride;
        T *y = args.output + line * args.output_stride;
        if (layer.kind == LayerKind::scale)
            each_part<T>(row_begin, row_end, v,
                         [=](Index at, Vec<T> w) { store<T>(y + at, load<T>(x + at) * w); });
        else
            visit_elementwise(layer.activation, [=]<Activation A>() {
                each_part<T>(row_begin, row_end, v, [=](Index at, Vec<T> w) {
                    const Vec<T> in = load<T>(x + at);
                    store<T>(y + at, fma(w, ActivationFunctor<T, A>::output(in) - in, in));
                });
            });
        if (args.dropout.threshold == 0 && !args.local)
            continue;
        const Index first = row_begin * kLanes<T>;
        T *local = args.local ? args.local + line * args.output_stride : nullptr;
        for (Index at = first; local && at < row_end * kLanes<T>; at += kVecLanes<T>)
            store<T>(local + at, broadcast<T>(1));
        if (args.dropout.threshold != 0)
            dropout<T>(args.dropout, y + first, local ? local + first : nullptr, args.first_row + row_begin,
                       row_end - row_begin, line * kLanes<T>);
    }
}

// delta_(l-1) as `backward` computes it, if it is wanted, and the share.
template <class T>
void elementwise_backward(const BackwardArgs<T> &args, const Elementwise<T> &layer, Index row_begin,
                          Index row_end) {
    for (Index line = 0; line < line_count<T>(args.n_out); ++line) {
        const T *v = layer.weights + line * kLanes<T>;
        const T *x = args.output + line * args.input_stride;
        const T *delta = args.delta + line * args.delta_stride;
        T *share = layer.share + line * args.delta_stride;
        T *below = args.input_delta ? args.input_delta + line * args.input_stride : nullptr;
        const auto leave = [=](Index at, Vec<T> by_input, Vec<T> by_weight) {
            const Vec<T> d = load<T>(delta + at);
            store<T>(share + at, drop_negligible_delta<T>(d * by_weight));
            if (below)
                store<T>(below + at, d * by_input);
        };
        if (layer.kind == LayerKind::scale)
            each_part<T>(row_begin, row_end, v, [=](Index at, Vec<T> w) { leave(at, w, load<T>(x + at)); });
        else
            visit_elementwise(layer.activation, [=]<Activation A>() {
                each_part<T>(row_begin, row_end, v, [=](Index at, Vec<T> w) {
                    const Vec<T> in = load<T>(x + at);
                    Vec<T> value, slope;
                    value_and_slope<T, A>(in, value, slope);
                    leave(at, fma(w, slope - T(1), broadcast<T>(1)), value - in);
                });
            });
        if (below)
            finish_input_gradient<T>(args, line, row_begin, row_end);
    }
}

} // namespace
} // namespace densegrad::DENSEGRAD_ISA
