// Interface to the race detector: announces the running thread and CUDA's synchronisation to ThreadSanitizer. Empty
// without -DRRM_MODEL_TSAN. For machine.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <unordered_set>
#include <utility>
#include <vector>

namespace model {

#ifdef RRM_MODEL_TSAN
extern "C" {
void *__tsan_get_current_fiber();
void *__tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void *fiber);
void __tsan_switch_to_fiber(void *fiber, unsigned flags);
void __tsan_acquire(void *address);
void __tsan_release(void *address);
}

// Each CUDA thread is a ThreadSanitizer fiber. Switching fibers adds no happens-before edge; the edges that CUDA
// guarantees are added here, as release and acquire operations on addresses.
//
// A release merges the fiber's vector clock into the one at the address. To add no edge that CUDA does not guarantee,
// each address below belongs to one thread, whose own clock only grows. (The clock of an atomic variable collects all
// releases to it, as in C++.)
class Races {
  public:
    class Thread {
        friend class Races;
        void *fiber_ = nullptr, *release_relay_ = nullptr, *acquire_relay_ = nullptr;
        bool fenced_ = false, has_acquire_relay_ = false;
        char clock_ = 0, fence_clock_ = 0, observed_clock_ = 0; // only their addresses matter
    };

    void begin_launch() {
        host_ = __tsan_get_current_fiber();
        cleanup_ = __tsan_create_fiber(0);
    }
    void end_launch() {
        __tsan_destroy_fiber(cleanup_);
        destroy_all_but(0);
        published_.clear();
        __tsan_acquire(&exit_clock_);
    }

    // Called by the host: the new fiber starts with the host's clock.
    void create(Thread &thread) {
        thread.fiber_ = __tsan_create_fiber(0);
    }
    void switch_to(const Thread &thread) {
        switch_fiber(thread.fiber_);
    }
    void switch_to_host() {
        switch_fiber(host_);
    }
    void thread_exited(Thread &thread) {
        switch_fiber(thread.fiber_);
        __tsan_release(&exit_clock_);
    }
    // ThreadSanitizer reuses the ids of destroyed fibers, and confuses the two: exited fibers are destroyed late.
    void retire(Thread &thread) {
        for (void *relay : {thread.release_relay_, thread.acquire_relay_}) {
            if (relay != nullptr) {
                __tsan_destroy_fiber(relay);
            }
        }
        exited_.push_back(thread.fiber_);
        destroy_all_but(max_exited);
    }

    // Runs an allocation as if it had happened before the launch, for every thread that calls acquire_allocation.
    template <class Work> void run_as_host(Work work, const Thread &caller, void *allocation_clock) {
        switch_fiber(host_);
        work();
        __tsan_release(allocation_clock);
        switch_fiber(caller.fiber_);
    }
    void acquire_allocation(void *allocation_clock) {
        __tsan_acquire(allocation_clock);
    }
    // Frees memory of exited threads. Not on the host's fiber: blocks that it starts later would acquire their clocks.
    template <class Work> void run_as_cleanup(Work work) {
        switch_fiber(cleanup_);
        __tsan_acquire(&exit_clock_);
        work();
        switch_fiber(host_);
    }

    // A barrier of `count` threads: everything before it happens before everything after it. thread(i) is the i-th.
    template <class Get> void synchronize(unsigned count, Get thread, const Thread &running) {
        Thread &first = thread(0);
        for (unsigned i = 1; i < count; ++i) {
            release_clock(thread(i));
            switch_fiber(first.fiber_);
            __tsan_acquire(&thread(i).clock_);
        }
        release_clock(first);
        for (unsigned i = 1; i < count; ++i) {
            switch_fiber(thread(i).fiber_);
            __tsan_acquire(&first.clock_);
        }
        switch_fiber(running.fiber_);
    }

    // As in C++: an atomic write after a fence releases what precedes the fence, and an atomic read acquires at the
    // next fence. Relay fibers carry the clocks in between, because the thread itself must not acquire them yet.
    void fence(Thread &thread) {
        __tsan_release(&thread.fence_clock_);
        thread.fenced_ = true;
        if (thread.has_acquire_relay_) {
            __tsan_acquire(&thread.observed_clock_);
        }
    }
    void atomic_written(Thread &thread, void *address) {
        if (!thread.fenced_) {
            return;
        }
        switch_fiber(host_);
        published_.insert(address);
        relay_clock(thread.release_relay_, &thread.fence_clock_, address, thread);
    }
    void atomic_read(Thread &thread, void *address) {
        if (!published_.contains(address)) {
            return;
        }
        thread.has_acquire_relay_ = true;
        relay_clock(thread.acquire_relay_, address, &thread.observed_clock_, thread);
    }

  private:
    static constexpr std::size_t max_exited = 1024; // about half a megabyte each

    void *host_ = nullptr, *cleanup_ = nullptr;
    std::vector<void *> exited_;
    std::unordered_set<const void *> published_;
    char exit_clock_ = 0;

    static void switch_fiber(void *fiber) {
        constexpr unsigned no_sync = 1;
        __tsan_switch_to_fiber(fiber, no_sync);
    }
    static void release_clock(Thread &thread) {
        switch_fiber(thread.fiber_);
        __tsan_release(&thread.clock_);
    }
    void relay_clock(void *&relay, void *from, void *to, const Thread &running) {
        if (relay == nullptr) {
            switch_fiber(host_); // a new fiber starts with the clock of its creator
            relay = __tsan_create_fiber(0);
        }
        switch_fiber(relay);
        __tsan_acquire(from);
        __tsan_release(to);
        switch_fiber(running.fiber_);
    }
    void destroy_all_but(std::size_t kept) {
        if (kept == 0 || exited_.size() >= 2 * kept) {
            const auto end = exited_.end() - static_cast<std::ptrdiff_t>(kept);
            for (auto fiber = exited_.begin(); fiber != end; ++fiber) {
                __tsan_destroy_fiber(*fiber);
            }
            exited_.erase(exited_.begin(), end);
        }
    }
};
#else
class Races {
  public:
    class Thread {};

    void begin_launch() {}
    void end_launch() {}
    void create(Thread &) {}
    void switch_to(const Thread &) {}
    void switch_to_host() {}
    void thread_exited(Thread &) {}
    void retire(Thread &) {}
    template <class Work> void run_as_host(Work work, const Thread &, void *) {
        work();
    }
    void acquire_allocation(void *) {}
    template <class Work> void run_as_cleanup(Work work) {
        work();
    }
    template <class Get> void synchronize(unsigned, Get, const Thread &) {}
    void fence(Thread &) {}
    void atomic_written(Thread &, void *) {}
    void atomic_read(Thread &, void *) {}
};
#endif

} // namespace model
