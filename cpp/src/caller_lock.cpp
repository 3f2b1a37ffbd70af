#include "densegrad/caller_lock.hpp"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <new>
#include <stdexcept>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

namespace densegrad {
namespace {

// There is one for all networks: it guards a few words for a few instructions. fork() takes it first, so that
// the child finds the words whole. Those who waited are not in the child, and their queue is made anew there.
struct Shared {
    std::mutex mutex;
    std::condition_variable ended;
    std::int64_t process = 1;
    std::thread::id forking; // the one thread of the process before that is in this one
};

Shared &shared() {
    alignas(Shared) static unsigned char memory[sizeof(Shared)]; // never destroyed: threads may outlive main
    static Shared *const made = [] {
        Shared *const here = new (memory) Shared;
#if defined(__unix__) || defined(__APPLE__)
        pthread_atfork([] { shared().mutex.lock(); }, [] { shared().mutex.unlock(); },
                       [] {
                           Shared &child = shared();
                           ++child.process;
                           child.forking = std::this_thread::get_id();
                           new (&child.ended) std::condition_variable;
                           child.mutex.unlock();
                       });
#endif
        return here;
    }();
    return *made;
}

} // namespace

bool CallerLock::reads(std::thread::id thread) const {
    return std::find(reading_.begin(), reading_.end(), thread) != reading_.end();
}

void CallerLock::forget_other_process() {
    if (process_ == shared().process)
        return;
    process_ = shared().process;
    const std::thread::id survivor = shared().forking;
    if (changing_ != survivor)
        changing_ = {};
    waiting_ = due_ = 0;
    reading_.erase(std::remove_if(reading_.begin(), reading_.end(), [&](auto id) { return id != survivor; }),
                   reading_.end());
}

void CallerLock::begin_change() {
    std::unique_lock guard(shared().mutex);
    forget_other_process();
    const std::thread::id me = std::this_thread::get_id();
    if (changing_ != std::thread::id() || reads(me))
        throw std::logic_error(
            "this network is in use by another call; only predict may run at the same time");
    changing_ = me; // from here on reads that come wait
    change_has_begun_ = false;
    shared().ended.wait(guard, [this] { return reading_.empty() && due_ == 0; });
    change_has_begun_ = true;
}

void CallerLock::end_change() noexcept {
    const std::lock_guard guard(shared().mutex);
    changing_ = {};
    ++changes_;
    due_ = waiting_;
    shared().ended.notify_all();
}

std::int64_t CallerLock::changes() const {
    const std::lock_guard guard(shared().mutex);
    return changes_;
}

bool CallerLock::begin_read(StopRequest stop) {
    const std::thread::id me = std::this_thread::get_id();
    std::unique_lock guard(shared().mutex);
    forget_other_process();
    const std::int64_t seen = changes_;
    const auto is_due = [&] { return changes_ != seen; };
    const auto may_begin = [&] {
        return changing_ == std::thread::id() || changing_ == me || reads(me) ||
               (is_due() && !change_has_begun_);
    };
    bool begins = may_begin();
    if (!begins) {
        ++waiting_;
        bool stopped = false;
        while (!begins && !stopped) {
            begins = shared().ended.wait_for(guard, std::chrono::milliseconds(50), may_begin);
            if (!begins && stop.asked) {
                guard.unlock();
                stopped = stop.asked(stop.context);
                guard.lock();
            }
        }
        --waiting_;
        if (is_due()) {
            --due_;
            shared().ended.notify_all();
        }
    }
    if (begins)
        reading_.push_back(me);
    return begins;
}

void CallerLock::end_read() noexcept {
    const std::lock_guard guard(shared().mutex);
    const auto mine = std::find(reading_.begin(), reading_.end(), std::this_thread::get_id());
    if (mine != reading_.end())
        reading_.erase(mine);
    shared().ended.notify_all();
}

} // namespace densegrad
