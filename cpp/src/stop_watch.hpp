// Asks a StopRequest, but no more often than is good. It cuts long work into parts between which it can ask.
#pragma once

#include "densegrad/data.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>

namespace densegrad {

// The calling thread makes it, and it alone asks. The other members of its team see the answer.
class StopWatch {
  public:
    explicit StopWatch(StopRequest request) : request_(request) {}

    // Also without being asked: what was to be done has failed.
    void stop() { stopped_.store(true, std::memory_order_relaxed); }
    bool stopped() const { return stopped_.load(std::memory_order_relaxed); }

    bool ask() {
        if (!request_.asked || stopped() || std::this_thread::get_id() != caller_)
            return stopped();
        const auto now = std::chrono::steady_clock::now();
        if (now - asked_ < std::chrono::milliseconds(50))
            return false;
        asked_ = now;
        stopped_.store(request_.asked(request_.context), std::memory_order_relaxed);
        return stopped();
    }

    // Calls work(begin, end) for parts of a range of rows or blocks that cost `multiplications` each. Returns
    // false if it was stopped on the way.
    template <class Work> bool run(std::int64_t begin, std::int64_t end, double multiplications, Work work) {
        constexpr double kLongest = 1e9;     // some 15 ms
        constexpr double kShort = 5e7;       // in less, a look at the clock would count
        constexpr std::int64_t kFewest = 48; // in fewer rows, the weights would be read too often
        if (multiplications * static_cast<double>(end - begin) <= kShort) {
            work(begin, end);
            return true;
        }
        const std::int64_t longest =
            std::max(kFewest, static_cast<std::int64_t>(kLongest / multiplications) / kFewest * kFewest);
        for (std::int64_t part = begin; part < end; part += longest) {
            if (ask())
                return false;
            work(part, std::min(end, part + longest));
        }
        return true;
    }

  private:
    StopRequest request_;
    std::thread::id caller_ = std::this_thread::get_id();
    std::atomic<bool> stopped_{false};
    std::chrono::steady_clock::time_point asked_ = std::chrono::steady_clock::now();
};

} // namespace densegrad
