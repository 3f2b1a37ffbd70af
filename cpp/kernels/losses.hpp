// The value of these losses is a sum over the outputs of a function of one output and its target. They run
// over a group of rows behind any head. Other losses are in fused_losses.hpp: those that see all outputs of a
// row at once, and those that are stable only together with their head.
#pragma once

#include "activations.hpp"
#include "contract.hpp"
#include "heads.hpp"
#include "math.hpp"

namespace densegrad::DENSEGRAD_ISA {
namespace {

// These are lines of a group. Whatever a loss does not write keeps what it held.
template <class T> struct LossGroup {
    T *z;            // (n_out, kLanes) in: z_(L), out: y_(L)
    T *target;       // (n_targets, kLanes)
    T *delta;        // (n_out, kLanes) out: row weight * dloss/dz
    T *gradient;     // (n_out, kLanes) out: row weight * dloss/dy; null: not wanted
    T *local;        // (n_out, kLanes) for use on the way
    const T *weight; // (kLanes,)
    T *loss;         // (kLanes,) out: the loss of each row
    Index n_out, n_targets;
};

// A functor gives, for one vector, the loss and its derivative dloss/dy.
template <class T, Loss L> struct LossFunctor;

// 1/2 (y - t)^2.
template <class T> struct LossFunctor<T, Loss::squared_error> {
    explicit DENSEGRAD_INLINE LossFunctor(const LossArgs<T> &) {}
    DENSEGRAD_INLINE void operator()(Vec<T> y, Vec<T> t, Vec<T> &loss, Vec<T> &gradient) const {
        gradient = y - t;
        loss = gradient * gradient * T(0.5);
    }
};

// |y - t|; its derivative at zero is zero, and that of NaN is NaN, whose sign is not the same on all CPUs.
template <class T> struct LossFunctor<T, Loss::absolute_error> {
    explicit DENSEGRAD_INLINE LossFunctor(const LossArgs<T> &) {}
    DENSEGRAD_INLINE void operator()(Vec<T> y, Vec<T> t, Vec<T> &loss, Vec<T> &gradient) const {
        const Vec<T> r = y - t;
        loss = abs<T>(r);
        gradient = r > T(0) ? broadcast<T>(1) : r < T(0) ? broadcast<T>(-1) : r - r;
    }
};

// 1/2 r^2 if |r| <= delta, else delta (|r| - delta / 2). Huber (1964).
template <class T> struct LossFunctor<T, Loss::huber> {
    T bound;
    explicit DENSEGRAD_INLINE LossFunctor(const LossArgs<T> &args) : bound(args.parameter) {}
    DENSEGRAD_INLINE void operator()(Vec<T> y, Vec<T> t, Vec<T> &loss, Vec<T> &gradient) const {
        const Vec<T> r = y - t;
        const Vec<T> size = abs<T>(r);
        gradient = clamp_magnitude<T>(r, bound);
        loss = size <= bound ? r * r * T(0.5) : (size - bound * T(0.5)) * bound;
    }
};

// log cosh r = |r| + log(1 + exp(-2 |r|)) - log 2, or, if that cancels, log(1 + u), u = cosh r - 1.
template <class T> struct LossFunctor<T, Loss::log_cosh> {
    explicit DENSEGRAD_INLINE LossFunctor(const LossArgs<T> &) {}
    DENSEGRAD_INLINE void operator()(Vec<T> y, Vec<T> t, Vec<T> &loss, Vec<T> &gradient) const {
        const Vec<T> r = y - t;
        const Vec<T> size = abs<T>(r);
        const Vec<T> e = expm1_nonpositive<T>(-size);
        const Vec<T> w = e + T(1);
        const auto small = size < T(1);
        const Vec<T> log1p = log1p_unit<T>(small ? e * e / (w + w) : w * w);
        loss = small ? log1p : size - T(0.693147180559945309417) + log1p;
        gradient = tanh<T>(r);
    }
};

// max(0, 1 - s y), s = 2 t - 1 one of -1, 1.
template <class T> struct LossFunctor<T, Loss::hinge> {
    explicit DENSEGRAD_INLINE LossFunctor(const LossArgs<T> &) {}
    DENSEGRAD_INLINE void operator()(Vec<T> y, Vec<T> t, Vec<T> &loss, Vec<T> &gradient) const {
        const Vec<T> s = t + t - T(1);
        const Vec<T> margin = fma(-s, y, broadcast<T>(1));
        loss = at_least<T>(margin, T(0));
        gradient = margin > T(0) ? -s : Vec<T>{};
    }
};

// max(0, 1 - s y)^2.
template <class T> struct LossFunctor<T, Loss::squared_hinge> {
    explicit DENSEGRAD_INLINE LossFunctor(const LossArgs<T> &) {}
    DENSEGRAD_INLINE void operator()(Vec<T> y, Vec<T> t, Vec<T> &loss, Vec<T> &gradient) const {
        const Vec<T> s = t + t - T(1);
        const Vec<T> margin = at_least<T>(fma(-s, y, broadcast<T>(1)), T(0));
        loss = margin * margin;
        gradient = s * margin * T(-2);
    }
};

// Runs a loss of this file behind any head: y first, then the loss and dloss/dy, then delta through the head.
template <class T, class Functor>
DENSEGRAD_INLINE void loss_behind_head(const LossArgs<T> &args, const LossGroup<T> &group) {
    const bool plain = args.head.activation == Activation::identity;
    const bool softmax = args.head.activation == Activation::softmax;
    if (softmax)
        softmax_lines<T>(group.z, group.n_out);
    else if (!plain)
        activate<T>(args.head.activation, group.z, group.local, group.n_out);
    const Functor functor(args);
    Line<T> total = Line<T>::of(0);
    for (Index c = 0; c < group.n_out; ++c) {
        for (int v = 0; v < kVecs; ++v) {
            const Index at = c * kLanes<T> + v * kVecLanes<T>;
            Vec<T> loss, gradient;
            functor(load<T>(group.z + at), load<T>(group.target + at), loss, gradient);
            total.part[v] = total.part[v] + loss;
            gradient = gradient * load<T>(group.weight + v * kVecLanes<T>);
            if (group.gradient)
                store<T>(group.gradient + at, gradient);
            if (!plain && !softmax)
                gradient = gradient * load<T>(group.local + at);
            store<T>(group.delta + at, gradient);
        }
    }
    if (softmax)
        softmax_delta_lines<T>(group.z, group.delta, group.n_out);
    total.store_at(group.loss);
}

// LossOfGroup says what a loss does with a group. The losses that are fused with their heads have their own
// (fused_losses.hpp).
template <class T, Loss L> struct LossOfGroup {
    static DENSEGRAD_INLINE void run(const LossArgs<T> &args, const LossGroup<T> &group) {
        loss_behind_head<T, LossFunctor<T, L>>(args, group);
    }
};

// Its derivatives come from the caller (head_delta).
template <class T> struct LossOfGroup<T, Loss::custom> {
    static DENSEGRAD_INLINE void run(const LossArgs<T> &, const LossGroup<T> &) {}
};

} // namespace
} // namespace densegrad::DENSEGRAD_ISA
