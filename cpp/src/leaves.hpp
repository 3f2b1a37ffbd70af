// The rows of a batch come in shards, and what is summed over them is added in one tree.
//
// Each shard has one leaf of the tree. The node of leaves [i, i + 2s) is [i, i + s) plus [i + s, i + 2s), s a
// power of two and i a multiple of 2s. What lies beyond the last leaf is left out. So the order of the
// additions belongs to the batch: it does not depend on who holds which leaves.
#pragma once

#include "../kernels/contract.hpp"

#include <algorithm>
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

// Gives the sum of the leaves of one node.
inline double sum_of_node(const double *leaves, Index count) {
    if (count == 1)
        return leaves[0];
    Index half = 1;
    while (2 * half < count)
        half *= 2;
    return sum_of_node(leaves, half) + sum_of_node(leaves + half, count - half);
}

} // namespace densegrad
