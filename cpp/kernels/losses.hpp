// Losses whose value is a sum over the outputs of a function of one output and its target, and how they run
// over a group of rows.
//
// A group is kLane rows of the head in transposed form: line c holds output c of all its rows, so that sums
// over the outputs go line by line, in order, and no lane meets another. Losses that see all outputs of a row
// at once, and those that are stable only together with their head, are in joined_losses.hpp.
#pragma once

#include "activations.hpp"
#include "kernels.hpp"
#include "math.hpp"

namespace densegrad::DENSEGRAD_ISA {
namespace {

// Lines of a group; whatever a loss does not write keeps what it held.
template <class T> struct LossGroup {
    T *z;            // (n_out, kLane) in: z_(L), out: y_(L)
    T *target;       // (n_targets, kLane)
    T *delta;        // (n_out, kLane) out: row weight * dloss/dz
    T *gradient;     // (n_out, kLane) out: row weight * dloss/dy; null: not wanted
    T *local;        // (n_out, kLane) for use on the way
    const T *weight; // (kLane,)
    T *loss;         // (kLane,) out: the loss of each row
    Index n_out, n_targets;
};

// The lines' registers side by side: what a line of T is made of.
template <class T> struct Line {
    Vec<T> part[kVecs];

    DENSEGRAD_INLINE static Line of(T x) {
        Line line;
        for (int v = 0; v < kVecs; ++v)
            line.part[v] = broadcast<T>(x);
        return line;
    }
    DENSEGRAD_INLINE static Line at(const T *p) {
        Line line;
        for (int v = 0; v < kVecs; ++v)
            line.part[v] = load<T>(p + v * kVecLane<T>);
        return line;
    }
    DENSEGRAD_INLINE void store_at(T *p) const {
        for (int v = 0; v < kVecs; ++v)
            store<T>(p + v * kVecLane<T>, part[v]);
    }
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

// |y - t|; its derivative at zero is zero.
template <class T> struct LossFunctor<T, Loss::absolute_error> {
    explicit DENSEGRAD_INLINE LossFunctor(const LossArgs<T> &) {}
    DENSEGRAD_INLINE void operator()(Vec<T> y, Vec<T> t, Vec<T> &loss, Vec<T> &gradient) const {
        const Vec<T> r = y - t;
        loss = abs<T>(r);
        gradient = r == T(0) ? Vec<T>{} : copy_sign<T>(broadcast<T>(1), r);
    }
};

// 1/2 r^2 where |r| <= delta, else delta (|r| - delta / 2). Huber (1964).
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

// log cosh r = |r| + log(1 + exp(-2 |r|)) - log 2, and where that cancels log(1 + u), u = cosh r - 1.
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

// z to y in place: exp(z_c - max z) / sum.
template <class T> DENSEGRAD_INLINE void softmax_lines(T *z, Index n_out) {
    Line<T> greatest = Line<T>::at(z);
    for (Index c = 1; c < n_out; ++c)
        for (int v = 0; v < kVecs; ++v)
            greatest.part[v] = max(load<T>(z + c * kLane<T> + v * kVecLane<T>), greatest.part[v]);
    Line<T> sum = Line<T>::of(0);
    for (Index c = 0; c < n_out; ++c) {
        for (int v = 0; v < kVecs; ++v) {
            T *at = z + c * kLane<T> + v * kVecLane<T>;
            const Vec<T> e = exp_nonpositive<T>(load<T>(at) - greatest.part[v]);
            sum.part[v] = sum.part[v] + e;
            store<T>(at, e);
        }
    }
    for (int v = 0; v < kVecs; ++v)
        sum.part[v] = T(1) / sum.part[v];
    for (Index c = 0; c < n_out; ++c)
        for (int v = 0; v < kVecs; ++v) {
            T *at = z + c * kLane<T> + v * kVecLane<T>;
            store<T>(at, load<T>(at) * sum.part[v]);
        }
}

// delta = (diag(y) - y y^T) L', in place.
template <class T> DENSEGRAD_INLINE void softmax_delta_lines(const T *y, T *delta, Index n_out) {
    Line<T> sum = Line<T>::of(0);
    for (Index c = 0; c < n_out; ++c)
        for (int v = 0; v < kVecs; ++v) {
            const Index at = c * kLane<T> + v * kVecLane<T>;
            sum.part[v] = fma(load<T>(y + at), load<T>(delta + at), sum.part[v]);
        }
    for (Index c = 0; c < n_out; ++c)
        for (int v = 0; v < kVecs; ++v) {
            const Index at = c * kLane<T> + v * kVecLane<T>;
            store<T>(delta + at, load<T>(y + at) * (load<T>(delta + at) - sum.part[v]));
        }
}

// A loss of this file behind any head: y first, then the loss and dloss/dy, then delta through the head.
template <class T, class Functor>
DENSEGRAD_INLINE void loss_behind_head(const LossArgs<T> &args, const LossGroup<T> &group) {
    const bool plain = args.head == Activation::identity;
    const bool softmax = args.head == Activation::softmax;
    if (softmax)
        softmax_lines<T>(group.z, group.n_out);
    else if (!plain)
        activate<T>(args.head, group.z, group.local, group.n_out);
    const Functor functor(args);
    Line<T> total = Line<T>::of(0);
    for (Index c = 0; c < group.n_out; ++c) {
        for (int v = 0; v < kVecs; ++v) {
            const Index at = c * kLane<T> + v * kVecLane<T>;
            Vec<T> loss, gradient;
            functor(load<T>(group.z + at), load<T>(group.target + at), loss, gradient);
            total.part[v] = total.part[v] + loss;
            gradient = gradient * load<T>(group.weight + v * kVecLane<T>);
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

} // namespace
} // namespace densegrad::DENSEGRAD_ISA
