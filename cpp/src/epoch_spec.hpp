// What an epoch is asked for: checks of it, and how many rows and entries its steps have.
#pragma once

#include "densegrad/trainer.hpp"

#include "leaves.hpp"
#include "sparse_batch.hpp"

#include <algorithm>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <vector>

namespace densegrad {

inline Index step_count(const EpochSpec &spec) {
    return spec.shards.ends ? spec.shards.n_steps : (spec.n_order - 1) / spec.batch_size + 1;
}

// Leaves out what depends on the network.
inline void check_epoch(const EpochSpec &spec) {
    if (spec.n_order < 1 || (!spec.order && spec.n_order > spec.rows.n_rows))
        throw std::invalid_argument("an epoch needs at least one row, and no more than X has");
    if (spec.batch_size < 1)
        throw std::invalid_argument("batch_size must be positive, got " + std::to_string(spec.batch_size));
    check_shards(spec.shards, spec.n_order);
    if (!spec.learning_rates)
        throw std::invalid_argument("an epoch needs a learning rate for each step");
    for (const double *factors : {spec.dropout_factors, spec.smoothing_factors})
        for (Index s = 0; factors && s < step_count(spec); ++s)
            if (!(factors[s] >= 0.0 && factors[s] <= 1.0))
                throw std::invalid_argument("factors of dropout and of label smoothing must be in [0, 1]");
}

// The caller may write to its own order while the epoch runs, so each number is read once, checked and
// copied. Without an order, the copy is empty.
inline void copy_order(const EpochSpec &spec, std::vector<Index> &copy) {
    const volatile Index *const order = spec.order;
    copy.resize(order ? static_cast<std::size_t>(spec.n_order) : 0);
    for (std::size_t i = 0; order && i < copy.size(); ++i) {
        const Index row = order[i];
        if (row < 0 || row >= spec.rows.n_rows)
            throw std::invalid_argument("order names row " + std::to_string(row) + ", X has " +
                                        std::to_string(spec.rows.n_rows));
        copy[i] = row;
    }
}

// Gives the most rows of a leaf in a step.
inline Index largest_leaf(const EpochSpec &spec) {
    const Shards &shards = spec.shards;
    if (!shards.ends)
        return std::min(spec.batch_size, spec.n_order);
    Index largest = 1;
    for (Index i = 0; i < shards.n_steps * shards.count; ++i)
        largest = std::max(largest, shards.ends[i] - (i == 0 ? 0 : shards.ends[i - 1]));
    return largest;
}

// Gives the most entries of a pass, `piece` rows of a leaf or fewer.
inline Index entries_of_pass(const EpochSpec &spec, const Index *order, Index piece) {
    const auto row_number = [order](Index r) { return order ? order[r] : r; };
    const Shards &shards = spec.shards;
    if (!shards.ends)
        return most_entries(spec.rows, spec.n_order, spec.batch_size, piece, row_number);
    Index most = 0, begin = 0;
    for (Index i = 0; i < shards.n_steps * shards.count; ++i) {
        const Index rows = shards.ends[i] - begin;
        most = std::max(most, most_entries(spec.rows, rows, std::max<Index>(rows, 1), piece,
                                           [&](Index r) { return row_number(begin + r); }));
        begin = shards.ends[i];
    }
    return most;
}

// Gives the sum of the sample weights of some rows, by their numbers in the order.
inline double sum_of_weights(const EpochSpec &spec, const Index *order, Index first, Index rows) {
    const double *sample_weight = spec.targets.sample_weight;
    if (!sample_weight)
        return static_cast<double>(rows);
    double weight = 0.0;
    for (Index r = first; r < first + rows; ++r)
        weight += sample_weight[order ? order[r] : r];
    return weight;
}

} // namespace densegrad
