// A step sums loss and weight gradient over its rows, and updates the weights. The rows come in leaves, whose
// sums are added in a tree (leaves.hpp). A pass holds the leaves of one piece, or a part of one leaf.
#pragma once

#include "densegrad/trainer.hpp"

#include "custom_loss.hpp"
#include "leaves.hpp"
#include "network_of.hpp"
#include "row_phase.hpp"
#include "sparse_steps.hpp"
#include "sums.hpp"
#include "weight_phase.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace densegrad {

// The rows of one step that are here, by their numbers in the order, and what they need in the passes.
struct StepRows {
    const Index *ends; // where those of each leaf end
    Index begin;
    Index first_number; // of the first one in the whole batch
    double scale;       // 1 / (sum of the sample weights of the whole batch)
    std::uint64_t dropout_key;
    double dropout_factor, smoothing_factor;

    Index begin_of(Index leaf) const { return leaf == 0 ? begin : ends[leaf - 1]; }
};

// What the steps of an epoch have in common.
template <class T> struct StepPlan {
    const EpochSpec &spec;
    const Index *order; // null: 0, 1, 2, ...
    const Pass<T> &pass;
    const LeafPlan &leaves;
    const WeightPhase<T> &weights;
    const std::vector<LayerState<T>> &states;
    const std::vector<T *> &buffers; // for the gradients of all layers; the first is the network's own
    bool stores;                     // the whole gradient is in its buffer before any weight changes
    bool skips_weights;              // of the first layer, if they have no gradient (sparse_steps.hpp)
    CustomLossExchange<T> *custom;   // null: a loss by name
};

template <class T> class Steps {
  public:
    Steps(NetworkOf<T> &network, const StepPlan<T> &plan, StopWatch &watch)
        : network_(network), plan_(plan), watch_(watch),
          leaf_losses_(static_cast<std::size_t>(plan.spec.shards.count)),
          node_losses_(plan.leaves.nodes.size()), leaf_ends_(leaf_losses_.size()) {
        if (plan.spec.shards.exchange)
            partials_.assign(plan.buffers.begin(),
                             plan.buffers.begin() + static_cast<std::ptrdiff_t>(plan.leaves.nodes.size()));
    }

    // Makes the next one. Returns false if it was stopped before any weight changed.
    bool run(const StepRows &rows, const std::vector<LayerStep<T>> &steps, bool last, Team &team) {
        const Shards &shards = plan_.spec.shards;
        bool done = !watch_.stopped();
        for (std::size_t i = 0; i < plan_.leaves.pieces.size() && done; ++i)
            done = run_piece(plan_.leaves.pieces[i], rows, steps, last, team);
        sum_nodes(plan_.leaves, leaf_losses_, shards.first, node_losses_);
        if (shards.exchange) {
            done = shards.exchange(shards.context, !done, node_losses_.data(), partials_.data(),
                                   static_cast<std::int64_t>(partials_.size()), network_.weight_count());
            if (done)
                plan_.weights.update_from_stored(steps, team);
            else
                refused_ = true;
        }
        done_ += done ? 1 : 0;
        return done;
    }

    // Of the last step: the weighted sum of the losses of its rows.
    double loss() const { return node_losses_[0]; }
    Index done() const { return done_; }
    // Whether the custom loss or the exchange has ended the steps.
    bool refused() const { return refused_; }

  private:
    // Runs the first phase of a pass, and notes the losses of its leaves. Returns false if it was stopped on
    // the way.
    bool sum_losses(const Piece &piece, const StepRows &rows, Index first, Index count, Team &team) {
        if (count == 0) {
            std::fill(leaf_losses_.begin() + piece.begin, leaf_losses_.begin() + piece.end, 0.0);
            std::fill(leaf_ends_.begin(), leaf_ends_.end(), 0);
            return true;
        }
        const Pass<T> &pass = plan_.pass;
        const Batch<T> batch{.rows = &plan_.spec.rows,
                             .targets = plan_.spec.targets,
                             .order = plan_.order ? plan_.order + first : nullptr,
                             .first_row = first,
                             .first_in_batch = rows.first_number + first - rows.begin,
                             .weight_scale = rows.scale,
                             .dropout_key = rows.dropout_key,
                             .dropout_factor = rows.dropout_factor};
        batch.place(pass, count);
        if (!go_over_rows(batch, rows.smoothing_factor, count, team))
            return false;
        if (pass.sparse && network_.layers()[0].trainable)
            pass.sparse->transpose();
        const bool continues = first > rows.begin_of(piece.begin);
        for (Index leaf = piece.begin; leaf < piece.end; ++leaf) {
            double &loss = leaf_losses_[static_cast<std::size_t>(leaf)];
            const Index begin = continues ? 0 : rows.begin_of(leaf) - first;
            const Index end = std::min(rows.ends[leaf] - first, count);
            loss = add_weighted_losses(continues ? loss : 0.0, pass.row_loss + begin, batch.from(begin),
                                       end - begin);
            leaf_ends_[static_cast<std::size_t>(leaf - piece.begin)] = end;
        }
        return true;
    }

    bool go_over_rows(const Batch<T> &batch, double smoothing_factor, Index count, Team &team) {
        const std::vector<Layer<T>> &layers = network_.layers();
        if (!plan_.custom)
            return row_phase(layers, network_.loss_args(smoothing_factor), plan_.pass, batch, count, false,
                             network_.kernels(), watch_, team);
        const auto find_gradient = [&] {
            const bool found = plan_.custom->run(plan_.pass, batch, count);
            refused_ = refused_ || !found;
            return found;
        };
        return row_phase_with(find_gradient, layers, plan_.pass, batch, count, network_.kernels(), watch_,
                              team);
    }

    // Sums over the rows of a piece, pass by pass. With the last piece it updates, unless other processes
    // have sums, too. Returns false if it was stopped before any weight changed.
    bool run_piece(const Piece &piece, const StepRows &rows, const std::vector<LayerStep<T>> &steps,
                   bool last_step, Team &team) {
        const auto buffer = [&](Index i) {
            return i < static_cast<Index>(plan_.buffers.size()) ? plan_.buffers[static_cast<std::size_t>(i)]
                                                                : nullptr;
        };
        const Pass<T> &pass = plan_.pass;
        const bool updates = &piece == &plan_.leaves.pieces.back() && !plan_.spec.shards.exchange;
        const Index begin = rows.begin_of(piece.begin), end = rows.ends[piece.end - 1];
        Index first = begin;
        for (; end - first > pass.rows; first += pass.rows) {
            if (!sum_losses(piece, rows, first, pass.rows, team))
                return false;
            PartOfSum<T> part;
            part.start = part.store = buffer(piece.scratch());
            plan_.weights.sum(pass, pass.rows,
                              first > begin ? GradientMode::accumulate : GradientMode::overwrite, part,
                              watch_, team);
        }
        if (!sum_losses(piece, rows, first, end - first, team))
            return false;
        PartOfSum<T> part;
        part.start = buffer(piece.scratch());
        part.store = buffer(piece.buffer);
        part.merges = plan_.buffers.data() + piece.buffer;
        part.n_merges = piece.n_merges;
        if (piece.end - piece.begin > 1 || begin == end) {
            part.leaf_ends = leaf_ends_.data();
            part.n_leaves = piece.end - piece.begin;
        }
        if (updates && !plan_.stores) {
            update(end - first, first > begin ? GradientMode::consume : GradientMode::none, part, steps,
                   last_step, team);
            return true;
        }
        if (!plan_.weights.sum(pass, end - first,
                               first > begin ? GradientMode::accumulate : GradientMode::overwrite, part,
                               watch_, team))
            return false;
        if (updates)
            plan_.weights.update_from_stored(steps, team);
        return true;
    }

    // Runs the second phase of the last pass. `mode` tells whether earlier rows of the leaf are in the
    // buffer.
    void update(Index count, GradientMode mode, const PartOfSum<T> &part,
                const std::vector<LayerStep<T>> &steps, bool last_step, Team &team) {
        const bool skips = plan_.skips_weights && done_ > 0;
        if (skips)
            step_with_entries(network_.layers()[0], plan_.states[0], plan_.pass, count, steps[0], done_,
                              last_step, network_.kernels(), team);
        plan_.weights.sum_and_update(plan_.pass, count, mode, part, steps, skips ? 2 : 1, team);
    }

    NetworkOf<T> &network_;
    const StepPlan<T> &plan_;
    StopWatch &watch_;
    // Of the step under way: weighted sums over the rows of each leaf, and of each node; of the pass under
    // way: where the rows of its leaves end.
    std::vector<double> leaf_losses_, node_losses_;
    std::vector<Index> leaf_ends_;
    std::vector<void *> partials_; // the sums of the nodes, which an exchange takes
    Index done_ = 0;
    bool refused_ = false;
};

} // namespace densegrad
