// The head and the loss layer, a group of kLane rows at a time.
//
// Lines of the head hold the outputs of one row. A group is brought into transposed form, where a line holds
// one output of all rows of the group, worked on there and brought back. Rows that the last group lacks count
// as zero and are never stored: they may belong to another thread.
#pragma once

#include "joined_losses.hpp"
#include "kernels.hpp"
#include "losses.hpp"
#include "parts.hpp"
#include "transpose.hpp"

namespace densegrad::DENSEGRAD_ISA {
namespace {

// The outputs of rows [row, row + rows) of the head become n_out lines of the group (room for a chunk more).
template <class T>
DENSEGRAD_INLINE void load_group(const T *head, Index stride, Index row, int rows, Index n_out, T *lines) {
    for (Index first = 0; first < n_out; first += kLane<T>) {
        const T *source = head + first / kLane<T> * stride + row * kLane<T>;
        const int columns = static_cast<int>(min_index(n_out - first, kLane<T>));
        T *destination = lines + first * kLane<T>;
        if (rows == kLane<T>)
            transpose_columns<T>(source, kLane<T>, destination, kLane<T>, columns);
        else
            transpose_columns<T>(source, kLane<T>, destination, kLane<T>, columns, rows);
    }
}

// The way back; lanes of the head beyond n_out become zero.
template <class T>
DENSEGRAD_INLINE void store_group(const T *lines, Index n_out, T *head, Index stride, Index row, int rows) {
    for (Index first = 0; first < n_out; first += kLane<T>) {
        T *destination = head + first / kLane<T> * stride + row * kLane<T>;
        const T *source = lines + first * kLane<T>;
        const int columns = static_cast<int>(min_index(n_out - first, kLane<T>));
        if (rows == kLane<T>) {
            if (columns == kLane<T>)
                transpose_block<T>(source, kLane<T>, destination, kLane<T>);
            else
                transpose_rows<T>(source, kLane<T>, destination, kLane<T>, columns);
            continue;
        }
        alignas(kLineBytes) T block[kLane<T> * kLane<T>];
        transpose_rows<T>(source, kLane<T>, block, kLane<T>, columns);
        __builtin_memcpy(destination, block, static_cast<std::size_t>(rows) * kLineBytes);
    }
}

// What the rows of a group are compared with, in lines; rows that are missing have the targets of the first
// one and no weight.
template <class T> struct GroupRows {
    Index number[kLane<T>]; // of X
    int count;

    GroupRows(const HeadArgs<T> &args, Index row, int rows) : count(rows) {
        for (int i = 0; i < kLane<T>; ++i) {
            const Index at = row + (i < rows ? i : 0);
            number[i] = args.order ? args.order[at] : args.first_row + at;
        }
    }
};

template <class T>
DENSEGRAD_INLINE void load_weights(const HeadArgs<T> &args, const GroupRows<T> &rows, T *weight) {
    const double *sample_weight = args.targets.sample_weight;
    for (int i = 0; i < kLane<T>; ++i) {
        const double w =
            sample_weight ? sample_weight[rows.number[i]] * args.weight_scale : args.weight_scale;
        weight[i] = i < rows.count ? static_cast<T>(w) : T(0);
    }
}

// Class numbers become zeros and ones, one line a class; a single output is one for class 1.
template <class T>
DENSEGRAD_INLINE void load_classes(const HeadArgs<T> &args, const GroupRows<T> &rows, T *target) {
    alignas(kLineBytes) IntLane<T> number[kLane<T>];
    for (int i = 0; i < kLane<T>; ++i)
        number[i] = static_cast<IntLane<T>>(args.targets.classes[rows.number[i]]);
    const Index first_class = args.loss.n_out == 1 ? 1 : 0;
    for (int v = 0; v < kVecs; ++v) {
        Int<T> classes;
        __builtin_memcpy(&classes, number + v * kVecLane<T>, sizeof(classes));
        for (Index c = 0; c < args.loss.n_out; ++c) {
            const Int<T> hit = classes == static_cast<IntLane<T>>(c + first_class);
            store<T>(target + c * kLane<T> + v * kVecLane<T>, hit ? broadcast<T>(1) : Vec<T>{});
        }
    }
}

template <class T>
DENSEGRAD_INLINE void load_values(const HeadArgs<T> &args, const GroupRows<T> &rows, T *target) {
    const Index n = args.loss.n_targets;
    for (int i = 0; i < kLane<T>; ++i) {
        const T *values = args.targets.values + rows.number[i] * n;
        for (Index c = 0; c < n; ++c)
            target[c * kLane<T> + i] = values[c];
    }
}

// t becomes (1 - smoothing) t + smoothing / n, n the number of classes: each logistic output is a choice of
// two.
template <class T> DENSEGRAD_INLINE void smooth_labels(const LossArgs<T> &loss, T *target) {
    const T n_classes = loss.head == Activation::softmax ? static_cast<T>(loss.n_out) : T(2);
    const Vec<T> keep = broadcast<T>(T(1) - loss.label_smoothing);
    const Vec<T> share = broadcast<T>(loss.label_smoothing / n_classes);
    for (Index i = 0; i < loss.n_targets * kLane<T>; i += kVecLane<T>)
        store<T>(target + i, fma(load<T>(target + i), keep, share));
}

// Deltas this small are as good as zero, and their products on the way down would be denormals, which are
// slow: a network that has learned its rows has nothing else.
template <class T> DENSEGRAD_INLINE void drop_negligible_deltas(T *delta, Index n_out) {
    constexpr T negligible = sizeof(T) == 4 ? T(0x1p-80) : T(0x1p-900);
    for (Index i = 0; i < n_out * kLane<T>; i += kVecLane<T>) {
        const Vec<T> d = load<T>(delta + i);
        store<T>(delta + i, abs<T>(d) < negligible ? Vec<T>{} : d);
    }
}

// A row without weight moves nothing, also where its derivatives are no numbers.
template <class T> DENSEGRAD_INLINE void drop_weightless_rows(const LossGroup<T> &group) {
    for (int v = 0; v < kVecs; ++v) {
        const Index part = v * kVecLane<T>;
        const auto weightless = load<T>(group.weight + part) == T(0);
        for (Index at = part; at < group.n_out * kLane<T>; at += kLane<T>) {
            store<T>(group.delta + at, weightless ? Vec<T>{} : load<T>(group.delta + at));
            if (group.gradient)
                store<T>(group.gradient + at, weightless ? Vec<T>{} : load<T>(group.gradient + at));
        }
    }
}

template <class T> void loss_of_group(const LossArgs<T> &args, const LossGroup<T> &group) {
    switch (args.loss) {
    case Loss::squared_error:
        return loss_behind_head<T, LossFunctor<T, Loss::squared_error>>(args, group);
    case Loss::absolute_error:
        return loss_behind_head<T, LossFunctor<T, Loss::absolute_error>>(args, group);
    case Loss::huber:
        return loss_behind_head<T, LossFunctor<T, Loss::huber>>(args, group);
    case Loss::log_cosh:
        return loss_behind_head<T, LossFunctor<T, Loss::log_cosh>>(args, group);
    case Loss::hinge:
        return loss_behind_head<T, LossFunctor<T, Loss::hinge>>(args, group);
    case Loss::squared_hinge:
        return loss_behind_head<T, LossFunctor<T, Loss::squared_hinge>>(args, group);
    case Loss::log_loss:
        if (args.head == Activation::softmax)
            return softmax_log_loss<T>(group);
        return joined_loss<T, LogisticLogLoss<T>>(args, group);
    case Loss::focal:
        if (args.head == Activation::softmax)
            return softmax_focal<T>(args, group);
        return joined_loss<T, LogisticFocal<T>>(args, group);
    case Loss::poisson:
        return joined_loss<T, PositivePoisson<T>>(args, group);
    case Loss::gamma:
        return joined_loss<T, PositiveGamma<T>>(args, group);
    case Loss::tweedie:
        return joined_loss<T, PositiveTweedie<T>>(args, group);
    case Loss::quantile:
        return quantile_loss<T>(args, group);
    case Loss::gaussian_nll:
        return gaussian_nll<T>(group);
    case Loss::custom:
        return;
    }
}

template <class T> void head_loss(const HeadArgs<T> &args, Index row_begin, Index row_end) {
    const Index n_out = args.loss.n_out;
    const Index area = n_out * kLane<T>;
    alignas(kLineBytes) T weight[kLane<T>];
    alignas(kLineBytes) T loss[kLane<T>];
    LossGroup<T> group;
    group.z = args.scratch;
    group.target = group.z + area;
    group.delta = group.target + area;
    group.local = group.delta + area;
    group.gradient = args.loss_gradient ? group.local + area : nullptr;
    group.weight = weight;
    group.loss = loss;
    group.n_out = n_out;
    group.n_targets = args.loss.n_targets;
    for (Index row = row_begin; row < row_end; row += kLane<T>) {
        const int count = static_cast<int>(min_index(row_end - row, kLane<T>));
        const GroupRows<T> rows(args, row, count);
        load_group<T>(args.output, args.stride, row, count, n_out, group.z);
        load_weights<T>(args, rows, weight);
        if (args.targets.classes)
            load_classes<T>(args, rows, group.target);
        else
            load_values<T>(args, rows, group.target);
        if (args.loss.label_smoothing != T(0))
            smooth_labels<T>(args.loss, group.target);
        loss_of_group<T>(args.loss, group);
        if (args.targets.sample_weight)
            drop_weightless_rows<T>(group);
        drop_negligible_deltas<T>(group.delta, n_out);
        store_group<T>(group.z, n_out, args.output, args.stride, row, count);
        store_group<T>(group.delta, n_out, args.delta, args.stride, row, count);
        if (group.gradient)
            store_group<T>(group.gradient, n_out, args.loss_gradient, args.stride, row, count);
        for (int i = 0; i < count; ++i)
            args.row_loss[row + i] = static_cast<double>(loss[i]);
    }
}

// y_(L) of the heads that are not elementwise: softmax, and several quantile levels of a target.
template <class T> void head_activate(const HeadOnlyArgs<T> &args, Index row_begin, Index row_end) {
    const bool softmax = args.head == Activation::softmax;
    if (!softmax && args.n_levels < 2)
        return;
    for (Index row = row_begin; row < row_end; row += kLane<T>) {
        const int count = static_cast<int>(min_index(row_end - row, kLane<T>));
        load_group<T>(args.output, args.stride, row, count, args.n_out, args.scratch);
        if (softmax)
            softmax_lines<T>(args.scratch, args.n_out);
        else
            quantile_lines<T>(args.scratch, args.n_out, args.n_levels);
        store_group<T>(args.scratch, args.n_out, args.output, args.stride, row, count);
    }
}

// delta_(L) from L'_(L) and y_(L).
template <class T> void head_delta(const HeadOnlyArgs<T> &args, Index row_begin, Index row_end) {
    const bool softmax = args.head == Activation::softmax;
    if (softmax || args.n_levels > 1) {
        T *y = args.scratch;
        T *delta = y + (args.n_out + kChunk<T>)*kLane<T>;
        for (Index row = row_begin; row < row_end; row += kLane<T>) {
            const int count = static_cast<int>(min_index(row_end - row, kLane<T>));
            load_group<T>(args.output, args.stride, row, count, args.n_out, y);
            load_group<T>(args.delta, args.stride, row, count, args.n_out, delta);
            if (softmax)
                softmax_delta_lines<T>(y, delta, args.n_out);
            else
                quantile_delta_lines<T>(y, delta, args.n_out, args.n_levels);
            store_group<T>(delta, args.n_out, args.delta, args.stride, row, count);
        }
        return;
    }
    for (Index column = 0; column < line_count<T>(args.n_out); ++column) {
        const Index at = column * args.stride + row_begin * kLane<T>;
        T *delta = args.delta + at;
        if (args.local) {
            for (Index i = 0; i < (row_end - row_begin) * kLane<T>; i += kVecLane<T>)
                store<T>(delta + i, load<T>(delta + i) * load<T>(args.local + at + i));
        } else {
            multiply_by_local<T>(args.head, args.output + at, delta, row_end - row_begin);
        }
    }
}

} // namespace
} // namespace densegrad::DENSEGRAD_ISA
