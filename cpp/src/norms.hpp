// The norm of the whole gradient is clipped, and the norms of the weights into each unit are limited.
#pragma once

#include "blocks.hpp"
#include "updates.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

namespace densegrad {

// If float64 cannot hold the squares of numbers, they are multiplied by this first.
inline constexpr double kOfLargeNumbers = 0x1p-600;

// Gives the Euclidean norm of all stored weight gradients times `factor`. It overwrites each state's
// squared_norm, which stays zero for a layer that has no blocks here.
template <class T>
double gradient_norm(const std::vector<Layer<T>> &layers, const std::vector<LayerState<T>> &states,
                     double factor, const SharedBlocks &blocks, Team &team) {
    blocks.share(team, [&](const BlockRange &range) {
        const Layer<T> &layer = layers[range.l - 1];
        BlockPosition<T> position = layer.block(range.begin);
        for (Index block = range.begin; block < range.end; ++block, position.next()) {
            const BlockPlace<T> place(layer, position);
            double sum = 0.0;
            for (Index i = 0; i < place.lines; ++i)
                for (Index j = 0; j < place.lanes; ++j) {
                    const double g =
                        factor * static_cast<double>(layer.gradient[place.at + i * kLanes<T> + j]);
                    sum += g * g;
                }
            states[range.l - 1].squared_norm[position.in_panels()] = sum;
        }
    });
    double squares = 0.0;
    for (std::size_t i = 0; i < states.size(); ++i)
        for (Index block = 0; block < layers[i].blocks(); ++block)
            squares += states[i].squared_norm[block];
    return std::sqrt(squares);
}

// Gives the factor for the gradient, so that its norm is at most `limit`.
template <class T>
T clipping_factor(const std::vector<Layer<T>> &layers, const std::vector<LayerState<T>> &states, double limit,
                  const SharedBlocks &blocks, Team &team) {
    double factor = 1.0;
    double norm = gradient_norm(layers, states, factor, blocks, team);
    if (std::isinf(norm)) { // the squares are too large
        factor = kOfLargeNumbers;
        norm = gradient_norm(layers, states, factor, blocks, team);
    }
    return static_cast<T>(norm > limit * factor ? limit * factor / norm : 1.0);
}

// Gives the Euclidean norm of `count` weights into a unit times `factor`.
template <class T> double norm_of_unit(const T *weights, Index count, double factor) {
    double sum = 0.0;
    for (Index i = 0; i < count; ++i) {
        const double w = factor * static_cast<double>(weights[i * kLanes<T>]);
        sum += w * w;
    }
    return std::sqrt(sum);
}

// Scales the weights into each unit whose norm is above `limit` (Srivastava et al. 2014, section 5.1). It
// leaves out the bias. The transposed copies and penalties must be refreshed afterwards.
template <class T> void limit_norms(const std::vector<Layer<T>> &layers, double limit, Team &team) {
    for (const Layer<T> &layer : layers) {
        if (!layer.trainable)
            continue;
        team.share(line_count<T>(layer.n_out), [&](Index panel, int) {
            T *weights = layer.weights + panel * layer.panel();
            for (Index j = 0; j < std::min<Index>(kLanes<T>, layer.n_out - panel * kLanes<T>); ++j) {
                double factor = 1.0;
                double norm = norm_of_unit(weights + j, layer.weights_in(), factor);
                if (std::isinf(norm)) { // the squares are too large
                    factor = kOfLargeNumbers;
                    norm = norm_of_unit(weights + j, layer.weights_in(), factor);
                }
                if (norm > limit * factor)
                    for (Index i = 0; i < layer.weights_in(); ++i)
                        weights[i * kLanes<T> + j] *= static_cast<T>(limit / norm * factor);
            }
        });
    }
}

} // namespace densegrad
