// A thread works on blocks of weights if the work is not by rows.
//
// A block is the kLanes lines of a panel that belong to one line of inputs. The last block of a panel has
// what is left of the inputs, and the bias row. BlockPosition tells how blocks are numbered.
#pragma once

#include "layer.hpp"
#include "team.hpp"

#include <algorithm>
#include <cstddef>
#include <vector>

namespace densegrad {

// BlockPlace says which numbers a block has.
template <class T> struct BlockPlace {
    Index at;    // its first number in the weights
    Index lines; // the bias row included
    Index lanes; // that are no padding

    BlockPlace(const Layer<T> &layer, const BlockPosition<T> &position) {
        const Index first = position.column * kLanes<T>;
        at = position.panel * layer.panel() + first * kLanes<T>;
        lines = position.column == position.columns - 1 ? layer.rows() - first : kLanes<T>;
        lanes = std::min<Index>(kLanes<T>, layer.n_out - position.panel * kLanes<T>);
    }
};

// Multiplications of the weight gradient of one block.
template <class T> double block_work(Index rows) { return static_cast<double>(kLanes<T> * kLanes<T> * rows); }

// Some blocks of layer l.
struct BlockRange {
    std::size_t l;
    Index begin, end;
};

// The blocks of all layers go in chunks of about the same number of lines, a few for each member of a team.
// Two blocks that share their inputs stay together.
class SharedBlocks {
  public:
    // trainable_only: leave out the layers whose weights are not updated.
    template <class T>
    SharedBlocks(const std::vector<Layer<T>> &layers, int team_size, bool trainable_only = false) {
        const auto has_blocks = [=](const Layer<T> &layer) { return layer.trainable || !trainable_only; };
        const Index n_chunks = team_size == 1 ? 1 : 4 * team_size;
        chunks_.resize(static_cast<std::size_t>(n_chunks));
        // A block costs its lines, and a little that is the same for each.
        constexpr Index kBlockCost = 2;
        Index total = 0;
        for (const Layer<T> &layer : layers)
            if (has_blocks(layer))
                total += line_count<T>(layer.n_out) * layer.rows() + kBlockCost * layer.blocks();
        Index before = 0;
        for (std::size_t l = 1; l <= layers.size(); ++l) {
            const Layer<T> &layer = layers[l - 1];
            if (!has_blocks(layer))
                continue;
            std::size_t number = 0;
            BlockPosition<T> position = layer.block(0);
            for (Index block = 0; block < layer.blocks(); ++block, position.next()) {
                if (position.panel % 2 == 0)
                    number = static_cast<std::size_t>(before * n_chunks / total);
                std::vector<BlockRange> &chunk = chunks_[number];
                if (chunk.empty() || chunk.back().l != l)
                    chunk.push_back({l, block, block});
                chunk.back().end = block + 1;
                before += kBlockCost + BlockPlace<T>(layer, position).lines;
            }
        }
    }

    // Calls visit(range) for all of them, shared among the team.
    template <class Visit> void share(Team &team, Visit visit) const {
        team.share(static_cast<Index>(chunks_.size()), [&](Index chunk, int) {
            for (const BlockRange &range : chunks_[static_cast<std::size_t>(chunk)])
                visit(range);
        });
    }

  private:
    std::vector<std::vector<BlockRange>> chunks_;
};

} // namespace densegrad
