// The loss layer takes a group of rows at a time. It turns z_(L) into y_(L), the loss of each row and
// delta_(L).
#pragma once

#include "activations.hpp"
#include "contract.hpp"
#include "fused_losses.hpp"
#include "groups.hpp"
#include "losses.hpp"

namespace densegrad::DENSEGRAD_ISA {
namespace {

// The rows of a group are compared with these, in lines. Rows that are missing have the targets of the first
// one and no weight.
template <class T> struct GroupRows {
    Index number[kLanes<T>]; // of X
    int count;

    GroupRows(const LossLayerArgs<T> &args, Index row, int rows) : count(rows) {
        for (int i = 0; i < kLanes<T>; ++i) {
            const Index at = row + (i < rows ? i : 0);
            number[i] = args.order ? args.order[at] : args.first_row + at;
        }
    }
};

template <class T>
DENSEGRAD_INLINE void load_weights(const LossLayerArgs<T> &args, const GroupRows<T> &rows, T *weight) {
    const double *sample_weight = args.targets.sample_weight;
    for (int i = 0; i < kLanes<T>; ++i) {
        const double w =
            sample_weight ? sample_weight[rows.number[i]] * args.weight_scale : args.weight_scale;
        weight[i] = i < rows.count ? static_cast<T>(w) : T(0);
    }
}

// Class numbers become zeros and ones, one line a class. A single output is one for class 1.
template <class T>
DENSEGRAD_INLINE void load_classes(const LossLayerArgs<T> &args, const GroupRows<T> &rows, T *target) {
    alignas(kLineBytes) IntLane<T> number[kLanes<T>];
    for (int i = 0; i < kLanes<T>; ++i)
        number[i] = static_cast<IntLane<T>>(args.targets.classes[rows.number[i]]);
    const Index first_class = args.loss.n_out == 1 ? 1 : 0;
    for (int v = 0; v < kVecs; ++v) {
        Int<T> classes;
        __builtin_memcpy(&classes, number + v * kVecLanes<T>, sizeof(classes));
        for (Index c = 0; c < args.loss.n_out; ++c) {
            const Int<T> hit = classes == static_cast<IntLane<T>>(c + first_class);
            store<T>(target + c * kLanes<T> + v * kVecLanes<T>, hit ? broadcast<T>(1) : Vec<T>{});
        }
    }
}

template <class T>
DENSEGRAD_INLINE void load_values(const LossLayerArgs<T> &args, const GroupRows<T> &rows, T *target) {
    const Index n = args.loss.n_targets;
    for (int i = 0; i < kLanes<T>; ++i) {
        const T *values = static_cast<const T *>(args.targets.values) + rows.number[i] * n;
        for (Index c = 0; c < n; ++c)
            target[c * kLanes<T> + i] = values[c];
    }
}

// t becomes (1 - smoothing) t + smoothing / n, n the number of classes. Each logistic output is a choice of
// two.
template <class T> DENSEGRAD_INLINE void smooth_labels(const LossArgs<T> &loss, T *target) {
    const T n_classes = loss.head.activation == Activation::softmax ? static_cast<T>(loss.n_out) : T(2);
    const Vec<T> keep = broadcast<T>(T(1) - loss.label_smoothing);
    const Vec<T> share = broadcast<T>(loss.label_smoothing / n_classes);
    for (Index i = 0; i < loss.n_targets * kLanes<T>; i += kVecLanes<T>)
        store<T>(target + i, fma(load<T>(target + i), keep, share));
}

// A row without weight moves nothing, even if its derivatives are no numbers.
template <class T> DENSEGRAD_INLINE void drop_weightless_rows(const LossGroup<T> &group) {
    for (int v = 0; v < kVecs; ++v) {
        const Index part = v * kVecLanes<T>;
        const auto weightless = load<T>(group.weight + part) == T(0);
        for (Index at = part; at < group.n_out * kLanes<T>; at += kLanes<T>) {
            store<T>(group.delta + at, weightless ? Vec<T>{} : load<T>(group.delta + at));
            if (group.gradient)
                store<T>(group.gradient + at, weightless ? Vec<T>{} : load<T>(group.gradient + at));
        }
    }
}

// Calls the loss's own function, which it finds in its table.
template <class T, int kRow = 0>
DENSEGRAD_INLINE void loss_of_group(const LossArgs<T> &args, const LossGroup<T> &group) {
    if constexpr (kRow < kLossCount) {
        constexpr Loss kLoss = kLosses[kRow].id;
        if (args.loss == kLoss)
            return LossOfGroup<T, kLoss>::run(args, group);
        loss_of_group<T, kRow + 1>(args, group);
    }
}

template <class T> void loss_layer(const LossLayerArgs<T> &args, Index row_begin, Index row_end) {
    const Index n_out = args.loss.n_out;
    const Index area = n_out * kLanes<T>;
    alignas(kLineBytes) T weight[kLanes<T>];
    alignas(kLineBytes) T loss[kLanes<T>];
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
    for (Index row = row_begin; row < row_end; row += kLanes<T>) {
        const int count = static_cast<int>(min_index(row_end - row, kLanes<T>));
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
        for (Index i = 0; i < area; i += kVecLanes<T>)
            store<T>(group.delta + i, drop_negligible_delta<T>(load<T>(group.delta + i)));
        store_group<T>(group.z, n_out, args.output, args.stride, row, count);
        store_group<T>(group.delta, n_out, args.delta, args.stride, row, count);
        if (group.gradient)
            store_group<T>(group.gradient, n_out, args.loss_gradient, args.stride, row, count);
        if (args.local)
            store_group<T>(group.local, n_out, args.local, args.stride, row, count);
        for (int i = 0; i < count; ++i)
            args.row_loss[row + i] = static_cast<double>(loss[i]);
    }
}

} // namespace
} // namespace densegrad::DENSEGRAD_ISA
