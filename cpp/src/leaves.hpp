// The rows of a batch come in shards, and what is summed over them is added in one tree.
//
// Each shard has one leaf of the tree. The node of leaves [i, i + 2s) is [i, i + s) plus [i + s, i + 2s), s a
// power of two and i a multiple of 2s. What lies beyond the last leaf is left out. So the order of the
// additions belongs to the batch: it does not depend on who holds which leaves.
#pragma once

#include "../kernels/contract.hpp"
#include "densegrad/shards.hpp"

#include <algorithm>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <vector>

namespace densegrad {

// Leaves [begin, end) of a node. It has room for `size` leaves, of which those beyond the last one are
// missing.
struct Node {
    Index begin, size, end;
};

// A pass holds the rows of some leaves at once: those of one node.
struct Piece {
    Index begin, end; // leaves, numbered from the first one that is here
    Index n_merges;   // stored sums that are added to its own, to get that of a larger node
    Index buffer; // where the sum is stored then; those that it merges lie in this buffer and the next ones

    Index scratch() const { return buffer + n_merges; } // a free buffer, for a leaf of several passes
};

// The leaves that one process holds, as pieces in the order in which they are summed.
struct LeafPlan {
    std::vector<Piece> pieces;
    std::vector<Node> nodes; // whose sums are left at the end, node i in buffer i
    Index n_buffers = 0;

    // The leaves [first, last) of `total` ones, at most `most` in a piece; several_passes: for each leaf.
    LeafPlan(Index total, Index first, Index last, Index most, bool several_passes) {
        for (Index leaf = first; leaf < last;) {
            Index size = 1;
            while (2 * size <= most && leaf % (2 * size) == 0 && leaf + size < total &&
                   std::min(leaf + 2 * size, total) <= last)
                size *= 2;
            Node node{leaf, size, std::min(leaf + size, total)};
            Piece piece{leaf - first, node.end - first, 0, 0};
            while (node.begin > 0 || node.end < total) {
                if (node.begin / node.size % 2 == 1) {
                    if (nodes.empty() || nodes.back().begin != node.begin - node.size)
                        break; // the other half is elsewhere
                    node.begin = nodes.back().begin;
                    nodes.pop_back();
                    ++piece.n_merges;
                } else if (node.begin + node.size < total) {
                    break; // the other half comes later
                }
                node.size *= 2;
            }
            piece.buffer = static_cast<Index>(nodes.size());
            n_buffers = std::max(n_buffers, (several_passes ? piece.scratch() : piece.buffer) + 1);
            nodes.push_back(node);
            pieces.push_back(piece);
            leaf = first + piece.end;
        }
    }
};

// `n_order`: the rows of all steps that are here.
inline void check_shards(const Shards &shards, Index n_order) {
    if (!shards.ends) {
        if (shards.total != 1 || shards.first != 0 || shards.count != 1 || shards.exchange)
            throw std::invalid_argument("shards need the ends of their rows");
        return;
    }
    if (shards.first < 0 || shards.count < 1 || shards.count > shards.total - shards.first)
        throw std::invalid_argument("shards must be some of " + std::to_string(shards.total));
    if (!shards.exchange && shards.count != shards.total)
        throw std::invalid_argument("shards elsewhere need an exchange");
    if (!shards.batch_rows || !shards.first_rows || !shards.batch_weights || shards.n_steps < 1)
        throw std::invalid_argument("shards need the rows and the weight of each batch");
    Index before = 0;
    for (Index i = 0; i < shards.n_steps * shards.count; ++i) {
        if (shards.ends[i] < before || shards.ends[i] > n_order)
            throw std::invalid_argument("the ends of shards must ascend up to the number of rows");
        before = shards.ends[i];
    }
}

// Gives the sum of the leaves of one node.
inline double sum_of_node(const double *leaves, Index count) {
    if (count == 1)
        return leaves[0];
    Index half = 1;
    while (2 * half < count)
        half *= 2;
    return sum_of_node(leaves, half) + sum_of_node(leaves + half, count - half);
}

// Gives the sums of the nodes in `plan`, from those of the leaves that are here, the first one being `first`.
inline void sum_nodes(const LeafPlan &plan, const std::vector<double> &leaves, Index first,
                      std::vector<double> &sums) {
    for (std::size_t i = 0; i < plan.nodes.size(); ++i)
        sums[i] =
            sum_of_node(leaves.data() + plan.nodes[i].begin - first, plan.nodes[i].end - plan.nodes[i].begin);
}

} // namespace densegrad
