// The second phase of a step goes by blocks of the weights. It sums the weight gradient over the rows of a
// pass, and the optimizer updates the weights.
#pragma once

#include "densegrad/trainer.hpp"

#include "blocks.hpp"
#include "norms.hpp"
#include "stop_watch.hpp"
#include "team.hpp"
#include "updates.hpp"

#include <cstddef>
#include <vector>

namespace densegrad {

template <class T> class WeightPhase {
  public:
    WeightPhase(const std::vector<Layer<T>> &layers, const std::vector<LayerState<T>> &states,
                const Kernels<T> &kernels, const Regularisation &regularisation, const SharedBlocks &blocks)
        : layers_(layers), states_(states), kernels_(kernels), regularisation_(regularisation),
          blocks_(blocks) {}

    // Sums the weight gradient into a buffer. Returns false if it was stopped on the way.
    bool sum(const Pass<T> &pass, Index count, GradientMode mode, const PartOfSum<T> &part, StopWatch &watch,
             Team &team) const {
        blocks_.share(team, [&](const BlockRange &range) {
            const Layer<T> &layer = layers_[range.l - 1];
            WeightArgs<T> args = sum_and_store(layer, pass, range.l, count, mode);
            part.place(args, layer.first_weight);
            watch.run(range.begin, range.end, block_work<T>(count),
                      [&](Index begin, Index end) { kernels_.update_weights(args, begin, end); });
        });
        return !watch.stopped();
    }

    // Sums the weight gradient and updates the weights of layers from `first_layer` on. `mode` tells whether
    // earlier rows of the leaf are in the buffer.
    void sum_and_update(const Pass<T> &pass, Index count, GradientMode mode, const PartOfSum<T> &part,
                        const std::vector<LayerStep<T>> &steps, std::size_t first_layer, Team &team) const {
        blocks_.share(team, [&](const BlockRange &range) {
            if (range.l < first_layer)
                return;
            const Layer<T> &layer = layers_[range.l - 1];
            WeightArgs<T> args = densegrad::sum_and_update(layer, states_[range.l - 1], pass, range.l, count,
                                                           mode, steps[range.l - 1], has_penalty());
            part.place(args, layer.first_weight);
            kernels_.update_weights(args, range.begin, range.end);
        });
        limit(team);
    }

    // Updates all weights by the gradient that is in the layers' buffers.
    void update_from_stored(const std::vector<LayerStep<T>> &steps, Team &team) const {
        const double most = regularisation_.clip_norm;
        const T factor = most > 0.0 ? clipping_factor(layers_, states_, most, blocks_, team) : T(1);
        blocks_.share(team, [&](const BlockRange &range) {
            const WeightArgs<T> args =
                densegrad::update_from_stored(layers_[range.l - 1], states_[range.l - 1], range.l,
                                              steps[range.l - 1], factor, has_penalty());
            kernels_.update_weights(args, range.begin, range.end);
        });
        limit(team);
    }

    bool has_penalty() const { return regularisation_.l2 > 0.0 || regularisation_.l1 > 0.0; }

    // Brings the sums that penalty() adds up to the weights, which other calls may have changed.
    void refresh_penalty(Team &team) const { refresh_all(false, team); }

    // Gives the penalty of all weights, before it is divided by the batch's weight.
    double penalty() const {
        double squares = 0.0;
        double sizes = 0.0;
        for (std::size_t i = 0; i < states_.size(); ++i) {
            const Index blocks = layers_[i].blocks();
            for (Index block = 0; block < blocks; ++block) {
                squares += states_[i].penalty[block];
                sizes += states_[i].penalty[blocks + block];
            }
        }
        return 0.5 * regularisation_.l2 * squares + regularisation_.l1 * sizes;
    }

  private:
    void limit(Team &team) const {
        if (regularisation_.max_norm > 0.0) {
            limit_norms(layers_, regularisation_.max_norm, team);
            refresh_all(true, team);
        }
    }

    // Brings the penalties, and with `transposed` the transposed copies, up to the weights.
    void refresh_all(bool transposed, Team &team) const {
        blocks_.share(team, [&](const BlockRange &range) {
            const Layer<T> &layer = layers_[range.l - 1];
            kernels_.update_weights(refresh(layer, states_[range.l - 1],
                                            transposed ? kept_transposed(layer, range.l) : nullptr,
                                            has_penalty()),
                                    range.begin, range.end);
        });
    }

    const std::vector<Layer<T>> &layers_;
    const std::vector<LayerState<T>> &states_;
    const Kernels<T> &kernels_;
    const Regularisation &regularisation_;
    const SharedBlocks &blocks_;
};

} // namespace densegrad
