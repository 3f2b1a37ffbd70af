// These losses are fused with their heads: delta = dloss/dz in the form that is stable, straight from z.
//
// First come those of one output at a time (logistic, exp and softplus heads). Then come those that see a
// whole row (softmax, several quantiles of one target, mean and variance).
#pragma once

#include "losses.hpp"

namespace densegrad::DENSEGRAD_ISA {
namespace {

// A functor gives this for one vector. `gradient` is dloss/dy, used only if it is wanted.
template <class T> struct FusedLoss {
    Vec<T> y, loss, delta;
};

// -t log y - (1 - t) log(1 - y), y = 1 / (1 + exp(-z)): softplus(z) - t z.
template <class T> struct LogisticLogLoss {
    explicit DENSEGRAD_INLINE LogisticLogLoss(const LossArgs<T> &) {}
    DENSEGRAD_INLINE FusedLoss<T> operator()(Vec<T> z, Vec<T> t) const {
        const LogisticPair<T> side = logistic_pair<T>(z);
        // (1 - t) y - t (1 - y), which keeps its relative accuracy if y is nearly 0 or 1.
        const Vec<T> delta = fma(T(1) - t, side.s, -(t * side.t));
        const Vec<T> tail = log1p_unit<T>(exp_nonpositive<T>(-abs<T>(z)));
        // softplus(z) - t z = tail + (z > 0 ? (1 - t) z : -t z), each term not negative for t in [0, 1].
        const Vec<T> loss = fma(z > T(0) ? T(1) - t : -t, z, tail);
        return {side.s, loss, delta};
    }
    DENSEGRAD_INLINE Vec<T> gradient(Vec<T> z, Vec<T> t, const FusedLoss<T> &) const {
        const LogisticPair<T> side = logistic_pair<T>(z);
        const Vec<T> wrong = t == T(1) ? Vec<T>{} : (T(1) - t) / side.t;
        return t == T(0) ? wrong : wrong - t / side.s;
    }
};

// t f(y) + (1 - t) f(1 - y), f(p) = -(1 - p)^gamma log p. Lin et al., Focal Loss (2017).
template <class T> struct LogisticFocal {
    T gamma;
    explicit DENSEGRAD_INLINE LogisticFocal(const LossArgs<T> &args) : gamma(args.parameter) {}

    // Computes f(p) and df/dz from p, q = 1 - p and their logarithms, with dp/dz = p q.
    DENSEGRAD_INLINE void one_side(Vec<T> p, Vec<T> q, Vec<T> log_p, Vec<T> log_q, Vec<T> &f,
                                   Vec<T> &slope) const {
        const Vec<T> power = exp_nonpositive<T>(log_q * gamma);
        f = Vec<T>{} - power * log_p;
        slope = power * fma(p * gamma, log_p, -q);
    }
    DENSEGRAD_INLINE FusedLoss<T> operator()(Vec<T> z, Vec<T> t) const {
        const LogisticPair<T> side = logistic_pair<T>(z);
        const Vec<T> tail = log1p_unit<T>(exp_nonpositive<T>(-abs<T>(z)));
        const Vec<T> log_s = at_most<T>(z, T(0)) - tail;
        const Vec<T> log_t = at_most<T>(-z, T(0)) - tail;
        Vec<T> right, right_slope, wrong, wrong_slope;
        one_side(side.s, side.t, log_s, log_t, right, right_slope);
        one_side(side.t, side.s, log_t, log_s, wrong, wrong_slope);
        const Vec<T> rest = T(1) - t;
        return {side.s, fma(t, right, rest * wrong), fma(t, right_slope, -(rest * wrong_slope))};
    }
    DENSEGRAD_INLINE Vec<T> gradient(Vec<T> z, Vec<T>, const FusedLoss<T> &loss) const {
        const LogisticPair<T> side = logistic_pair<T>(z);
        return loss.delta == T(0) ? Vec<T>{} : loss.delta / (side.s * side.t);
    }
};

// A positive output has y, log y and dy/dz / y. The deviances are sums of exp_excess(c d), d = log y - log t.
// Their terms are never negative, so nothing cancels if y is close to t.
template <class T> struct Positive {
    Vec<T> y, log_y, ratio;
};
template <class T> DENSEGRAD_INLINE Positive<T> positive_output(Vec<T> z, Activation head) {
    if (head == Activation::exp)
        return {exp<T>(z), z, broadcast<T>(1)};
    // softplus(z) is exp(z) to the last place for z below this.
    constexpr T low = Precision<T>::softplus_low;
    const Vec<T> y = softplus<T>(z);
    const Vec<T> ratio = (Vec<T>{} - expm1_nonpositive<T>(-y)) / y;
    return {y, z < low ? z : log<T>(y), z < low ? broadcast<T>(1) : ratio};
}

// y - t + t log(t / y) = t exp_excess(d), half of the Poisson deviance; dloss/dy = 1 - t / y.
template <class T> struct PositivePoisson {
    Activation head;
    explicit DENSEGRAD_INLINE PositivePoisson(const LossArgs<T> &args) : head(args.head.activation) {}
    DENSEGRAD_INLINE FusedLoss<T> operator()(Vec<T> z, Vec<T> t) const {
        const Positive<T> out = positive_output<T>(z, head);
        // Far below t, exp(d) is lost in d. Far above, t exp(d) would overflow although y does not.
        const Vec<T> d = out.log_y - log<T>(t);
        const Vec<T> near = t * exp_excess<T>(at_most<T>(d, T(1)));
        const Vec<T> loss = d <= T(1) ? near : fma(-t, d, out.y - t);
        return {out.y, t < Precision<T>::min_normal ? out.y : loss, (out.y - t) * out.ratio};
    }
    DENSEGRAD_INLINE Vec<T> gradient(Vec<T>, Vec<T> t, const FusedLoss<T> &loss) const {
        return t == T(0) ? broadcast<T>(1) : T(1) - t / loss.y;
    }
};

// t / y - log(t / y) - 1 = exp_excess(-d), half of the gamma deviance; dloss/dy = (1 - t / y) / y.
template <class T> struct PositiveGamma {
    Activation head;
    explicit DENSEGRAD_INLINE PositiveGamma(const LossArgs<T> &args) : head(args.head.activation) {}
    DENSEGRAD_INLINE FusedLoss<T> operator()(Vec<T> z, Vec<T> t) const {
        const Positive<T> out = positive_output<T>(z, head);
        const Vec<T> u = t * exp<T>(-out.log_y);
        return {out.y, exp_excess<T>(log<T>(at_least<T>(t, Precision<T>::min_normal)) - out.log_y),
                (T(1) - u) * out.ratio};
    }
    DENSEGRAD_INLINE Vec<T> gradient(Vec<T>, Vec<T> t, const FusedLoss<T> &loss) const {
        return (T(1) - t / loss.y) / loss.y;
    }
};

// t^(2-p) / ((1-p) (2-p)) - t y^(1-p) / (1-p) + y^(2-p) / (2-p), half of the Tweedie deviance of power p in
// (1, 2): with a = 2 - p and b = p - 1, t^a (exp_excess(a d) / a + exp_excess(-b d) / b).
// dloss/dy = (y - t) y^-p.
template <class T> struct PositiveTweedie {
    Activation head;
    T above, below; // 2 - p and 1 - p
    explicit DENSEGRAD_INLINE PositiveTweedie(const LossArgs<T> &args)
        : head(args.head.activation), above(T(2) - args.parameter), below(T(1) - args.parameter) {}
    DENSEGRAD_INLINE FusedLoss<T> operator()(Vec<T> z, Vec<T> t) const {
        const Positive<T> out = positive_output<T>(z, head);
        const Vec<T> y_part = exp<T>(out.log_y * above);
        const Vec<T> mixed = t == T(0) ? Vec<T>{} : t * exp<T>(out.log_y * below);
        const Vec<T> log_t = log<T>(t);
        const Vec<T> d = out.log_y - log_t;
        const Vec<T> excess = exp_excess<T>(d * above) / above - exp_excess<T>(d * below) / below;
        const Vec<T> loss = t < Precision<T>::min_normal ? y_part / above : exp<T>(log_t * above) * excess;
        return {out.y, loss, (y_part - mixed) * out.ratio};
    }
    DENSEGRAD_INLINE Vec<T> gradient(Vec<T> z, Vec<T> t, const FusedLoss<T> &loss) const {
        const Vec<T> log_y = positive_output<T>(z, head).log_y;
        return (loss.y - t) * exp<T>(log_y * (below - T(1)));
    }
};

template <class T, class Functor>
DENSEGRAD_INLINE void fused_loss(const LossArgs<T> &args, const LossGroup<T> &group) {
    const Functor functor(args);
    Line<T> total = Line<T>::of(0);
    for (Index c = 0; c < group.n_out; ++c) {
        for (int v = 0; v < kVecs; ++v) {
            const Index at = c * kLanes<T> + v * kVecLanes<T>;
            const Vec<T> weight = load<T>(group.weight + v * kVecLanes<T>);
            const Vec<T> z = load<T>(group.z + at);
            const Vec<T> t = load<T>(group.target + at);
            const FusedLoss<T> loss = functor(z, t);
            total.part[v] = total.part[v] + loss.loss;
            if (group.gradient)
                store<T>(group.gradient + at, functor.gradient(z, t, loss) * weight);
            store<T>(group.delta + at, loss.delta * weight);
            store<T>(group.z + at, loss.y);
        }
    }
    total.store_at(group.loss);
}

// Gives max z of each row, for the lanes from `part` on.
template <class T> DENSEGRAD_INLINE Vec<T> greatest_output(const LossGroup<T> &group, Index part) {
    Vec<T> greatest = load<T>(group.z + part);
    for (Index c = 1; c < group.n_out; ++c)
        greatest = max(load<T>(group.z + c * kLanes<T> + part), greatest);
    return greatest;
}

// -sum t log y, y = softmax(z); delta = y sum(t) - t, dloss/dy = -t / y.
//
// Let r be the sum of exp(z - max z) without the term of the greatest output (the first if there are
// several). Then log sum = log(1 + r), and for that output y = 1 - r / (1 + r). Both keep what is lost in 1
// once a network is sure of itself.
template <class T> DENSEGRAD_INLINE void softmax_log_loss(const LossGroup<T> &group) {
    for (int v = 0; v < kVecs; ++v) {
        const Index part = v * kVecLanes<T>;
        const Vec<T> greatest = greatest_output<T>(group, part);
        Vec<T> rest{}, mass{}, dot{}; // sums of exp(z - max) but for the greatest, of t, of t (z - max)
        Int<T> seen{};                // lanes whose greatest output has been
        for (Index c = 0; c < group.n_out; ++c) {
            const Index at = c * kLanes<T> + part;
            const Vec<T> t = load<T>(group.target + at);
            const Vec<T> shifted = load<T>(group.z + at) - greatest;
            const Vec<T> e = exp_nonpositive<T>(shifted);
            const Int<T> first = (shifted == T(0)) & ~seen;
            seen = seen | first;
            rest = rest + (first ? Vec<T>{} : e);
            mass = mass + t;
            dot = fma(t, shifted, dot);
            store<T>(group.z + at, e);
        }
        const Vec<T> sum = rest + T(1);
        const Vec<T> log_sum = rest <= T(1) ? log1p_unit<T>(at_most<T>(rest, T(1))) : log<T>(sum);
        store<T>(group.loss + part, fma(mass, log_sum, -dot));
        const Vec<T> inverse = T(1) / sum;
        const Vec<T> missing = rest * inverse; // 1 - y of the greatest
        const Vec<T> weight = load<T>(group.weight + part);
        seen = Int<T>{};
        for (Index c = 0; c < group.n_out; ++c) {
            const Index at = c * kLanes<T> + part;
            const Vec<T> t = load<T>(group.target + at);
            const Vec<T> e = load<T>(group.z + at);
            const Int<T> first = (e == T(1)) & ~seen;
            seen = seen | first;
            const Vec<T> y = e * inverse;
            store<T>(group.z + at, y);
            const Vec<T> delta = first ? fma(-missing, mass, mass - t) : fma(y, mass, -t);
            store<T>(group.delta + at, delta * weight);
            if (group.gradient)
                store<T>(group.gradient + at, t == T(0) ? Vec<T>{} : -t / y * weight);
        }
    }
}

// -sum t (1 - y)^gamma log y; with h_c = y_c dloss/dy_c: delta_c = h_c - y_c sum(h).
template <class T> DENSEGRAD_INLINE void softmax_focal(const LossArgs<T> &args, const LossGroup<T> &group) {
    const T gamma = args.parameter;
    for (int v = 0; v < kVecs; ++v) {
        const Index part = v * kVecLanes<T>;
        const Vec<T> greatest = greatest_output<T>(group, part);
        Vec<T> sum{};
        for (Index c = 0; c < group.n_out; ++c)
            sum = sum + exp_nonpositive<T>(load<T>(group.z + c * kLanes<T> + part) - greatest);
        const Vec<T> log_sum = log<T>(sum);
        const Vec<T> weight = load<T>(group.weight + part);
        Vec<T> total{}, all{};
        for (Index c = 0; c < group.n_out; ++c) {
            const Index at = c * kLanes<T> + part;
            const Vec<T> t = load<T>(group.target + at);
            const Vec<T> log_y = at_most<T>(load<T>(group.z + at) - greatest - log_sum, T(0));
            const Vec<T> y = exp_nonpositive<T>(log_y);
            const Vec<T> rest = Vec<T>{} - expm1_nonpositive<T>(log_y);
            const Vec<T> power = exp_nonpositive<T>(log<T>(rest) * gamma);
            const Vec<T> ratio = rest == T(0) ? broadcast<T>(-1) : log_y / rest; // towards -1 as y goes to 1
            total = fma(t * power, -log_y, total);
            const Vec<T> h = t * power * fma(ratio * gamma, y, broadcast<T>(-1));
            all = all + h;
            store<T>(group.z + at, y);
            store<T>(group.delta + at, h);
            if (group.gradient)
                store<T>(group.gradient + at, t == T(0) ? Vec<T>{} : h / y * weight);
        }
        for (Index c = 0; c < group.n_out; ++c) {
            const Index at = c * kLanes<T> + part;
            const Vec<T> y = load<T>(group.z + at);
            store<T>(group.delta + at, fma(-y, all, load<T>(group.delta + at)) * weight);
        }
        store<T>(group.loss + part, total);
    }
}

// The loss is the sum over targets and levels of max(level r, (level - 1) r), r = t - q (Koenker and Bassett
// 1978). Outputs are ordered by target, then by level. dloss/dz_k = dq_k/dz_k times the sum of dloss/dq_i
// over i >= k.
template <class T> DENSEGRAD_INLINE void quantile_loss(const LossArgs<T> &args, const LossGroup<T> &group) {
    const Index n_levels = args.head.n_levels;
    for (Index c = 0; c < group.n_out; ++c) // the slope of q_k; that of q_0 is one
        for (int v = 0; v < kVecs; ++v) {
            const Index at = c * kLanes<T> + v * kVecLanes<T>;
            store<T>(group.local + at,
                     c % n_levels == 0 ? broadcast<T>(1) : logistic<T>(load<T>(group.z + at)));
        }
    quantile_lines<T>(group.z, group.n_out, n_levels);
    for (int v = 0; v < kVecs; ++v) {
        const Index part = v * kVecLanes<T>;
        const Vec<T> weight = load<T>(group.weight + part);
        Vec<T> total{};
        for (Index target = 0; target < group.n_targets; ++target) {
            const Vec<T> t = load<T>(group.target + target * kLanes<T> + part);
            for (Index k = 0; k < n_levels; ++k) {
                const Index at = (target * n_levels + k) * kLanes<T> + part;
                const T level = args.levels[k];
                const Vec<T> r = t - load<T>(group.z + at);
                total = total + max(r * level, r * (level - T(1)));
                const Vec<T> gradient = r > T(0)   ? broadcast<T>(-level)
                                        : r < T(0) ? broadcast<T>(T(1) - level)
                                                   : r * T(0); // zero; NaN stays
                store<T>(group.delta + at, gradient * weight);
                if (group.gradient)
                    store<T>(group.gradient + at, gradient * weight);
            }
            Vec<T> above{};
            for (Index k = n_levels - 1; k >= 0; --k) {
                const Index at = (target * n_levels + k) * kLanes<T> + part;
                above = above + load<T>(group.delta + at);
                store<T>(group.delta + at, above * load<T>(group.local + at));
            }
        }
        store<T>(group.loss + part, total);
    }
}

// 1/2 (s + (t - mean)^2 exp(-s) + log 2 pi), and the variance is exp(s). Outputs are all means, then all s.
template <class T> DENSEGRAD_INLINE void gaussian_nll(const LossGroup<T> &group) {
    constexpr T half_log_2_pi = T(0.918938533204672741780);
    const Index m = group.n_targets;
    for (int v = 0; v < kVecs; ++v) {
        const Index part = v * kVecLanes<T>;
        const Vec<T> weight = load<T>(group.weight + part);
        Vec<T> total{};
        for (Index c = 0; c < m; ++c) {
            const Index at_mean = c * kLanes<T> + part;
            const Index at_s = (m + c) * kLanes<T> + part;
            const Vec<T> s = load<T>(group.z + at_s);
            const Vec<T> r = load<T>(group.z + at_mean) - load<T>(group.target + at_mean);
            // This is bounded: if r is 0, so is r times this.
            const Vec<T> scaled = r * exp<T>(at_most<T>(-s, Precision<T>::exp_high));
            const Vec<T> square = r * scaled;
            total = total + ((s + square) * T(0.5) + half_log_2_pi);
            const Vec<T> delta_mean = scaled * weight;
            const Vec<T> delta_s = (T(1) - square) * T(0.5) * weight;
            store<T>(group.delta + at_mean, delta_mean);
            store<T>(group.delta + at_s, delta_s);
            if (group.gradient) {
                store<T>(group.gradient + at_mean, delta_mean);
                store<T>(group.gradient + at_s, delta_s);
            }
        }
        store<T>(group.loss + part, total);
    }
}

template <class T> struct LossOfGroup<T, Loss::log_loss> {
    static DENSEGRAD_INLINE void run(const LossArgs<T> &args, const LossGroup<T> &group) {
        if (args.head.activation == Activation::softmax)
            softmax_log_loss<T>(group);
        else
            fused_loss<T, LogisticLogLoss<T>>(args, group);
    }
};
template <class T> struct LossOfGroup<T, Loss::focal> {
    static DENSEGRAD_INLINE void run(const LossArgs<T> &args, const LossGroup<T> &group) {
        if (args.head.activation == Activation::softmax)
            softmax_focal<T>(args, group);
        else
            fused_loss<T, LogisticFocal<T>>(args, group);
    }
};
template <class T> struct LossOfGroup<T, Loss::poisson> {
    static DENSEGRAD_INLINE void run(const LossArgs<T> &args, const LossGroup<T> &group) {
        fused_loss<T, PositivePoisson<T>>(args, group);
    }
};
template <class T> struct LossOfGroup<T, Loss::gamma> {
    static DENSEGRAD_INLINE void run(const LossArgs<T> &args, const LossGroup<T> &group) {
        fused_loss<T, PositiveGamma<T>>(args, group);
    }
};
template <class T> struct LossOfGroup<T, Loss::tweedie> {
    static DENSEGRAD_INLINE void run(const LossArgs<T> &args, const LossGroup<T> &group) {
        fused_loss<T, PositiveTweedie<T>>(args, group);
    }
};
template <class T> struct LossOfGroup<T, Loss::quantile> {
    static DENSEGRAD_INLINE void run(const LossArgs<T> &args, const LossGroup<T> &group) {
        quantile_loss<T>(args, group);
    }
};
template <class T> struct LossOfGroup<T, Loss::gaussian_nll> {
    static DENSEGRAD_INLINE void run(const LossArgs<T> &, const LossGroup<T> &group) {
        gaussian_nll<T>(group);
    }
};

} // namespace
} // namespace densegrad::DENSEGRAD_ISA
